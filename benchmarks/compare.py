"""Run llama.cpp and pocketseek in turn on the same models and print both, their ratios, and one JSON line at the end.

    python benchmarks/compare.py --peer-python PATH [--model demo] [--model 1.5b] [--rounds 5]

Every round starts one fresh process for each engine, one at a time, the order alternating; each process loads the
model from a warm page cache and does what `workload.py` says. Figures are medians over the rounds. Ratios are written
so that above 1 is better for pocketseek: speeds ours / theirs, times and memory theirs / ours.
docs/benchmarks.md says how to make the peer's interpreter, and what the figures do and do not compare.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import models_on_disk
from process_monitor import Outcome, run_worker
from workload import Job

HERE = Path(__file__).resolve().parent
PEER, OURS = "llama.cpp", "pocketseek"
MB = 1e6
MAX_OTHER_CORES = 0.1  # more than this busy with other things, and a figure is not worth much


@dataclass(frozen=True)
class Metric:
    """One line of the table. `read`: the value of one process; `higher_is_better` decides which way the ratio is."""

    name: str
    unit: str
    read: Callable[[Outcome], float]
    higher_is_better: bool


def prefill_tokens_per_s(outcome: Outcome) -> float:
    times_s: list[float] = outcome.result["prefill_s"]
    return int(outcome.result["prefill_tokens"]) / median(times_s)


def decode_tokens_per_s(context: int) -> Callable[[Outcome], float]:
    return lambda outcome: 1.0 / median(outcome.result["decode_token_s"][str(context)])


def metrics_of(job: Job) -> list[Metric]:
    decodes = [
        Metric(f"decode_at_{context}", "tokens/s", decode_tokens_per_s(context), higher_is_better=True)
        for context in job.decode_contexts
    ]
    prefill = Metric(f"prefill_{job.prefill_tokens}", "tokens/s", prefill_tokens_per_s, higher_is_better=True)
    return [
        *decodes,
        prefill,
        Metric("load_to_first_token", "s", lambda o: o.result["load_to_first_token_s"], higher_is_better=False),
        Metric("start_to_first_token", "s", lambda o: o.start_to_first_token_s, higher_is_better=False),
        Metric("peak_rss", "MB", lambda o: o.peak_rss_bytes / MB, higher_is_better=False),
        Metric("peak_anonymous", "MB", lambda o: o.peak_anonymous_bytes / MB, higher_is_better=False),
        Metric("peak_anonymous_without_kv", "MB", anonymous_without_kv_mb, higher_is_better=False),
    ]


def anonymous_without_kv_mb(outcome: Outcome) -> float:
    return (outcome.peak_anonymous_bytes - int(outcome.result["kv_bytes"])) / MB


def run_rounds(commands: Mapping[str, list[str]], num_rounds: int) -> dict[str, list[Outcome]]:
    """One process per engine and round, never two at a time; every other round in reverse order."""
    outcomes: dict[str, list[Outcome]] = {engine: [] for engine in commands}
    for index in range(num_rounds):
        order = list(commands) if index % 2 == 0 else list(commands)[::-1]
        for engine in order:
            print(f"round {index + 1} of {num_rounds}: {engine}", file=sys.stderr, flush=True)
            outcomes[engine].append(run_worker(commands[engine]))
    return outcomes


def summarise(metrics: Sequence[Metric], outcomes: Mapping[str, Sequence[Outcome]]) -> dict[str, dict[str, object]]:
    """For each metric: the medians, the ratio, and every single value."""
    summary: dict[str, dict[str, object]] = {}
    for metric in metrics:
        values = {engine: [metric.read(outcome) for outcome in runs] for engine, runs in outcomes.items()}
        ours, peer = median(values[OURS]), median(values[PEER])
        ratio = ours / peer if metric.higher_is_better else peer / ours
        summary[metric.name] = {"unit": metric.unit, PEER: peer, OURS: ours, "ratio": ratio, "values": values}
    return summary


def print_table(model: str, summary: Mapping[str, Mapping[str, object]]) -> None:
    print(f"\n{model:34} {PEER:>12} {OURS:>12} {'ratio':>8}   (ratio above 1: {OURS} is better)")
    for name, line in summary.items():
        label = f"{name}, {line['unit']}"
        print(f"{label:34} {line[PEER]:12.2f} {line[OURS]:12.2f} {line['ratio']:8.2f}")


def compare_model(model: str, arguments: argparse.Namespace) -> dict[str, object]:
    gguf = models_on_disk.gguf_for(model, arguments.cache)
    package = models_on_disk.package_for(gguf, arguments.cache)
    commands, jobs = {}, {}
    for engine, python, script, path in (
        (PEER, arguments.peer_python, "peer_llama_cpp.py", gguf),
        (OURS, sys.executable, "own_pocketseek.py", package),
    ):
        models_on_disk.read_into_page_cache(path)
        jobs[engine] = job_for(path, arguments)
        commands[engine] = [python, str(HERE / script), json.dumps(asdict(jobs[engine]))]
    outcomes = run_rounds(commands, arguments.rounds)
    summary = summarise(metrics_of(jobs[OURS]), outcomes)
    print_table(model, summary)
    systems = {engine: runs[0].result["system"] for engine, runs in outcomes.items()}
    other_cores = {engine: [run.other_cores for run in runs] for engine, runs in outcomes.items()}
    busiest = max(max(values) for values in other_cores.values())
    if busiest > MAX_OTHER_CORES:
        print(f"up to {busiest:.2f} cores were busy with something else: do not trust these figures")
    return {
        "model": model,
        "gguf_bytes": gguf.stat().st_size,
        "systems": systems,
        "other_cores": other_cores,
        "metrics": summary,
    }


def job_for(path: Path, arguments: argparse.Namespace) -> Job:
    return Job(
        model=str(path),
        threads=arguments.threads,
        prefill_tokens=arguments.prefill_tokens,
        decode_contexts=tuple(arguments.decode_contexts),
        decode_tokens=arguments.decode_tokens,
    )


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Hardware"))]
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": names[0] if names else platform.machine(),
        "cpus": os.cpu_count(),
        "memory_bytes": memory_bytes,
        "kernel": platform.release(),
        "load_average": os.getloadavg()[0],
    }


def parse_arguments() -> argparse.Namespace:
    defaults = Job(model="")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--peer-python", required=True, help="interpreter that has llama-cpp-python")
    parser.add_argument("--model", action="append", help="demo, 1.5b or a GGUF file; may be repeated (default: both)")
    parser.add_argument("--rounds", type=int, default=5, help="processes per engine and model (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=defaults.threads)
    parser.add_argument("--prefill-tokens", type=int, default=defaults.prefill_tokens)
    parser.add_argument("--decode-contexts", type=int, nargs="+", default=list(defaults.decode_contexts))
    parser.add_argument("--decode-tokens", type=int, default=defaults.decode_tokens)
    parser.add_argument("--cache", type=Path, default=models_on_disk.DEFAULT_CACHE, help="where model files are kept")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    before = machine()
    models = [compare_model(model, arguments) for model in arguments.model or ["demo", "1.5b"]]
    print(json.dumps({"machine": before, "threads": arguments.threads, "rounds": arguments.rounds, "models": models}))


if __name__ == "__main__":
    main()
