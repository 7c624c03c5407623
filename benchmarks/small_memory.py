"""A model that does not fit: ours, llama.cpp without repacking, MNN with mapped weights, in memory groups, in turn.

    python benchmarks/small_memory.py --peer llama.cpp=PYTHON [--memory 600MB 800MB] [--rounds 3] [--passes 6]
        [--peer mnn=PYTHON --mnn-model DIRECTORY]

Every round starts one fresh process for each engine, never two at a time, the order alternating; the page cache is
dropped before each (of the whole machine where that is allowed, otherwise of the models' files). Measured: seconds for
a token of one sequence, tokens per second of eight, bytes from storage for each pass, the group's peak, and who was
killed. The same storage is read plainly in the same round; `busy` is an engine's bytes per second over the best of
those. An engine without a token after --patience seconds is said to, and left out of the rest. Medians over rounds,
ratios above 1 are better for pocketseek, JSON on the last line. Needs the right to make a memory control group.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import compare
import engines
import models_on_disk
import plain_read
from engines import LLAMA_CPP, OURS, Engine
from group_worker import Outcome, median_of, run_worker
from small_workload import SmallJob

from pocketseek.apps.memory_group import MemoryGroup, unavailable
from pocketseek.apps.page_cache import drop_cached_pages
from pocketseek.cli.sizes import parse_size
from pocketseek.errors import UsageError

HERE = Path(__file__).resolve().parent
MNN = "mnn"
SCRIPTS = {OURS: "own_small_memory.py", LLAMA_CPP: "peer_small_llama_cpp.py", MNN: "peer_small_mnn.py"}
SMALL_PEERS = (LLAMA_CPP, MNN)
DROP_CACHES = Path("/proc/sys/vm/drop_caches")
REPACK, PREPARE = "--repack", "--prepare"
PLAIN_WAYS = 3  # measured again in every round


@dataclass(frozen=True)
class Summary:
    """Medians over the rounds of one engine in one size; None: never measured."""

    token_s: float | None
    many_tokens_per_s: float | None
    token_bytes: float | None
    busy: float | None
    peak_bytes: int | None
    ended: list[str]


def drop_page_cache(models: Sequence[Path]) -> str:
    """Says what was dropped."""
    os.sync()
    try:
        DROP_CACHES.write_text("3")
    except OSError:
        for model in models:
            drop_cached_pages(model)
        return "of the models' files"
    return "of the machine"


def run_rounds(arguments: argparse.Namespace, models: Mapping[Engine, Path]) -> dict[str, Any]:
    """For each size and engine the summary; rates of plain reads; what was dropped before each."""
    folder = next(path for engine, path in models.items() if engine.name == OURS)
    dropped = drop_page_cache(list(models.values()))
    print("reading plainly", file=sys.stderr, flush=True)
    best_ways = list(plain_read.survey(folder, arguments.plain_mb * 1_000_000))[:PLAIN_WAYS]
    plain: dict[plain_read.Way, list[float]] = {way: [] for way in best_ways}
    outcomes: dict[tuple[int, str], list[Outcome]] = {}
    for number in range(arguments.rounds):
        for way in best_ways:
            if (rate := plain_read.read_rate(folder, way, arguments.plain_mb * 1_000_000)) is not None:
                plain[way].append(rate)
        for limit_bytes in arguments.memory:
            for engine in list(models) if number % 2 == 0 else list(models)[::-1]:
                runs = outcomes.setdefault((limit_bytes, engine.name), [])
                if runs and runs[-1].ended:
                    continue  # it will not get better
                print(f"round {number + 1}, {limit_bytes / 1e6:.0f} MB: {engine.name}", file=sys.stderr, flush=True)
                drop_page_cache(list(models.values()))
                runs.append(run_engine(engine, models[engine], limit_bytes, arguments))
    best_plain = max(median(rates) for rates in plain.values() if rates)
    every_run = {f"{name} in {size}": [asdict(one) for one in ones] for (size, name), ones in outcomes.items()}
    return {
        "dropped": dropped,
        "plain_read_bytes_per_s": {str(way): rates for way, rates in plain.items()},
        "best_plain_read_bytes_per_s": best_plain,
        "sizes": {
            limit_bytes: {engine.name: summarise(outcomes[limit_bytes, engine.name], best_plain) for engine in models}
            for limit_bytes in arguments.memory
        },
        "runs": every_run,
    }


def run_engine(engine: Engine, model: Path, limit_bytes: int, arguments: argparse.Namespace) -> Outcome:
    job = SmallJob(str(model), limit_bytes, arguments.threads, arguments.passes, num_sequences=arguments.sequences)
    return run_job(engine, job, limit_bytes, arguments.patience, repack=arguments.repack)


def run_job(engine: Engine, job: SmallJob, limit_bytes: int, patience_s: float, *, repack: bool) -> Outcome:
    """In a process and a group of its own. repack: if the engine is llama.cpp."""
    command = [engine.python, str(HERE / SCRIPTS[engine.name]), json.dumps(asdict(job))]
    if repack and engine.name == LLAMA_CPP:
        command.append(REPACK)
    with MemoryGroup(limit_bytes) as group:
        return run_worker(command, group, patience_s)


def summarise(outcomes: Sequence[Outcome], best_plain: float) -> Summary:
    rate = median_of([value for one in outcomes if (value := one.bytes_per_s) is not None])
    return Summary(
        token_s=median_of([value for one in outcomes if (value := one.token_s) is not None]),
        many_tokens_per_s=median_of([value for one in outcomes if (value := one.many_tokens_per_s) is not None]),
        token_bytes=median_of([value for one in outcomes if (value := one.token_bytes) is not None]),
        busy=None if rate is None else rate / best_plain,
        peak_bytes=max((one.peak_bytes for one in outcomes if one.peak_bytes is not None), default=None),
        ended=[one.ended for one in outcomes if one.ended],
    )


def ratios(by_engine: Mapping[str, Summary]) -> dict[str, float | None]:
    """Ours to the best peer, above 1: ours is better."""
    own = by_engine[OURS]
    peers = [summary for name, summary in by_engine.items() if name != OURS]
    token_s = min((peer.token_s for peer in peers if peer.token_s is not None), default=None)
    many = max((peer.many_tokens_per_s for peer in peers if peer.many_tokens_per_s is not None), default=None)
    return {
        "single": token_s / own.token_s if token_s is not None and own.token_s else None,
        "many": own.many_tokens_per_s / many if many is not None and own.many_tokens_per_s else None,
    }


def print_tables(result: Mapping[str, Any], sequences: int) -> None:
    print(
        f"best plain read: {result['best_plain_read_bytes_per_s'] / 1e9:.2f} GB/s; dropped before each: the page cache",
        end=" ",
    )
    print(result["dropped"])
    for limit_bytes, by_engine in result["sizes"].items():
        print(f"\n{limit_bytes / 1e6:.0f} MB{'':16}s/token{sequences:>4} seq. tokens/s   MB/token    busy   peak MB")
        for name, one in by_engine.items():
            cells = (
                _cell(one.token_s, 11, 3),
                _cell(one.many_tokens_per_s, 18, 2),
                _cell(one.token_bytes and one.token_bytes / 1e6, 11, 0),
                _cell(one.busy and 100 * one.busy, 7, 0) + "%",
                _cell(one.peak_bytes and one.peak_bytes / 1e6, 10, 0),
            )
            print(f"{name:16}" + "".join(cells) + "".join(f"  {reason}" for reason in one.ended[:1]))
        single, many = ratios(by_engine).values()
        print(f"ratio to the best peer: one sequence{_cell(single, 6, 2)}, {sequences} sequences{_cell(many, 6, 2)}")


def _cell(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"


def parse_memory(text: str) -> int:
    try:
        return parse_size(text)
    except UsageError as error:
        raise ArgumentTypeError(str(error)) from error


def parse_arguments() -> argparse.Namespace:
    defaults = SmallJob("", 0)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--peer",
        type=lambda text: engines.parse_peer(text, SMALL_PEERS),
        action="append",
        dest="peers",
        default=[],
        metavar="NAME=PYTHON",
        help=f"an engine to compare with ({', '.join(SMALL_PEERS)}); may be repeated",
    )
    parser.add_argument("--repack", action="store_true", help="llama.cpp as it is by default, to see it killed")
    parser.add_argument(
        "--memory", type=parse_memory, nargs="+", default=[600_000_000, 800_000_000], help="sizes of the group"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--passes", type=int, default=defaults.passes, help="measured passes of each kind")
    parser.add_argument("--sequences", type=int, default=defaults.num_sequences)
    parser.add_argument("--threads", type=int, default=defaults.threads)
    parser.add_argument("--patience", type=float, default=60.0, help="seconds for a first token (default: %(default)s)")
    parser.add_argument("--plain-mb", type=int, default=600, help="what every plain read reads (default: %(default)s)")
    parser.add_argument("--package", type=Path, help="ours (default: the 1.5B shape, q4-pure)")
    parser.add_argument("--gguf", type=Path, help="llama.cpp's (default: the 1.5B shape, Q4_0)")
    parser.add_argument("--mnn-model", type=Path, help="MNN's: a directory that its llmexport made")
    parser.add_argument("--cache", type=Path, default=models_on_disk.DEFAULT_CACHE, help="where model files are kept")
    return parser.parse_args()


def model_files(arguments: argparse.Namespace) -> dict[Engine, Path]:
    package = arguments.package or arguments.cache / "models" / "random-1.5b-q4-pure"
    if not package.exists():
        gguf = models_on_disk.gguf_for("1.5b", arguments.cache)
        package = engines.ours().model_for(gguf, arguments.cache, "q4-pure")
    models = {engines.ours(): package}
    for engine in arguments.peers:
        if engine.name == LLAMA_CPP:
            models[engine] = arguments.gguf or models_on_disk.gguf_for("1.5b", arguments.cache)
        elif arguments.mnn_model is None:
            raise SystemExit("MNN runs what its own exporter made; name the directory with --mnn-model")
        else:
            models[engine] = arguments.mnn_model
            prepare(engine, arguments.mnn_model)
    return models


def prepare(engine: Engine, model: Path) -> None:
    """Have the engine write its repacked weights, without a limit."""
    job = json.dumps(asdict(SmallJob(str(model), 0)))
    if subprocess.run([engine.python, str(HERE / SCRIPTS[engine.name]), job, PREPARE], check=False).returncode != 0:
        raise SystemExit(f"{engine.name} cannot run {model}; its message stands above")


def main() -> None:
    arguments = parse_arguments()
    if reason := unavailable():
        raise SystemExit(f"the comparison needs a memory limit that the kernel keeps: {reason}")
    machine = compare.machine()
    models = model_files(arguments)
    result = run_rounds(arguments, models)
    print_tables(result, arguments.sequences)
    weight_bytes = {engine.name: models_on_disk.weight_bytes(path) for engine, path in models.items()}
    print("weights on disk, MB: " + ", ".join(f"{name} {num / 1e6:.0f}" for name, num in weight_bytes.items()))
    sizes = {
        str(limit_bytes): {
            "engines": {name: asdict(summary) for name, summary in by_engine.items()},
            "ratios": ratios(by_engine),
        }
        for limit_bytes, by_engine in result["sizes"].items()
    }
    print(json.dumps({"benchmark": "small_memory", "machine": machine, **result, "sizes": sizes}))


if __name__ == "__main__":
    main()
