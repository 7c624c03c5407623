"""Run pocketseek and its peers in turn on the same models: a table with our ratio to the best peer, and a JSON line.

    python benchmarks/compare.py --peer llama.cpp=PYTHON --peer openvino=PYTHON --peer onnxruntime=PYTHON
        [--model demo] [--model 1.5b] [--rounds 3] [--metrics contexts passes sequences]

Every round starts one fresh process for each engine, one at a time, the order alternating; each process loads the
model from a warm page cache and does what `workload.py` says. Figures are medians over the rounds. An engine that fails
is said to and left out of what is still to come. docs/benchmarks.md says how to make the peers' interpreters, and what
the figures do and do not compare.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import engines
import models_on_disk
from engines import Engine
from metrics import MB, metrics_of, print_table, summarise
from process_monitor import Outcome, WorkerError, run_worker
from workload import Job

from pocketseek.convert.recipe import QUANTS

HERE = Path(__file__).resolve().parent
MACHINE_LIMITS = HERE / "machine_limits.py"
MAX_OTHER_CORES = 0.1  # more than this busy with other things, and a figure is not worth much
PARTS = ("contexts", "passes", "sequences")


def run_rounds(jobs: Mapping[Engine, Job], num_rounds: int) -> dict[str, list[Outcome]]:
    """One process per engine and round, never two at a time; every other round in reverse order."""
    outcomes: dict[str, list[Outcome]] = {engine.name: [] for engine in jobs}
    failed: set[Engine] = set()
    for index in range(num_rounds):
        order = list(jobs) if index % 2 == 0 else list(jobs)[::-1]
        for engine in order:
            if engine in failed:
                continue
            print(f"round {index + 1} of {num_rounds}: {engine.name}", file=sys.stderr, flush=True)
            command = [engine.python, str(engine.script), json.dumps(asdict(jobs[engine]))]
            try:
                outcomes[engine.name].append(run_worker(command, engine.environment))
            except WorkerError as error:
                failed.add(engine)
                print(f"{engine.name} is left out from here on: {error}", file=sys.stderr)
    return outcomes


def compare_model(model: str, arguments: argparse.Namespace) -> dict[str, object]:
    gguf = models_on_disk.gguf_for(model, arguments.cache)
    job = job_for(arguments)
    paths = {engine: engine.model_for(gguf, arguments.cache, arguments.quant) for engine in arguments.engines}
    for path in paths.values():
        models_on_disk.read_into_page_cache(path)
    outcomes = run_rounds({engine: replace(job, model=str(path)) for engine, path in paths.items()}, arguments.rounds)
    lines = summarise(metrics_of(job), outcomes)
    print_table(model, list(outcomes), lines)
    weight_bytes = {engine.name: models_on_disk.weight_bytes(path) for engine, path in paths.items()}
    print("weights on disk, MB: " + ", ".join(f"{name} {size / MB:.0f}" for name, size in weight_bytes.items()))
    other_cores = {engine: [run.other_cores for run in runs] for engine, runs in outcomes.items()}
    busiest = max((max(values) for values in other_cores.values() if values), default=0.0)
    if busiest > MAX_OTHER_CORES:
        print(f"up to {busiest:.2f} cores were busy with something else: do not trust these figures")
    return {
        "model": model,
        "weight_bytes": weight_bytes,
        "systems": {engine: runs[0].result["system"] for engine, runs in outcomes.items() if runs},
        "other_cores": other_cores,
        "metrics": {name: asdict(line) for name, line in lines.items()},
    }


def job_for(arguments: argparse.Namespace) -> Job:
    parts = arguments.metrics
    return Job(
        model="",
        threads=arguments.threads,
        contexts=tuple(arguments.contexts) if "contexts" in parts else (),
        decode_tokens=arguments.decode_tokens,
        pass_tokens=tuple(arguments.pass_tokens) if "passes" in parts else (),
        num_sequences=arguments.sequences if "sequences" in parts else 0,
    )


def measure_limits(threads: int) -> dict[str, Any] | None:
    """What the machine could do at best, measured in the same run: memory bandwidth and int8 multiply-adds."""
    if not MACHINE_LIMITS.is_file():
        return None
    print("measuring the machine's limits", file=sys.stderr, flush=True)
    command = [sys.executable, str(MACHINE_LIMITS), "--threads", str(threads)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if answer.returncode != 0:
        raise SystemExit("machine_limits.py failed; its message stands above")
    limits: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    print(
        f"limits of this machine: {limits['read_bandwidth_bytes_per_s'] / 1e9:.1f} GB/s read, "
        f"{limits['int8_multiply_adds_per_s'] / 1e9:.0f} G int8 multiply-adds/s"
    )
    return limits


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
    parser.add_argument(
        "--peer",
        type=engines.parse_peer,
        action="append",
        dest="peers",
        metavar="NAME=PYTHON",
        help=f"an engine to compare with ({', '.join(engines.PEERS)}) and the interpreter that has it; may be repeated",
    )
    parser.add_argument("--model", action="append", help="demo, 1.5b or a GGUF file; may be repeated (default: both)")
    parser.add_argument("--metrics", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="processes per engine and model (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=defaults.threads)
    parser.add_argument(
        "--quant", choices=QUANTS, default="q4", help="what ours is converted to (default: %(default)s)"
    )
    parser.add_argument("--contexts", type=int, nargs="+", default=list(defaults.contexts), help="prompt lengths")
    parser.add_argument("--decode-tokens", type=int, default=defaults.decode_tokens, help="single tokens behind each")
    parser.add_argument("--pass-tokens", type=int, nargs="+", default=list(defaults.pass_tokens))
    parser.add_argument("--sequences", type=int, default=defaults.num_sequences)
    parser.add_argument("--cache", type=Path, default=models_on_disk.DEFAULT_CACHE, help="where model files are kept")
    arguments = parser.parse_args()
    arguments.engines = [engines.ours(), *(arguments.peers or [])]
    return arguments


def main() -> None:
    arguments = parse_arguments()
    before, limits = machine(), measure_limits(arguments.threads)
    models = [compare_model(model, arguments) for model in arguments.model or ["demo", "1.5b"]]
    run = {"machine": before, "limits": limits, "threads": arguments.threads, "rounds": arguments.rounds}
    print(json.dumps({**run, "quant": arguments.quant, "models": models}))


if __name__ == "__main__":
    main()
