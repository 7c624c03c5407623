"""How good is the verdict of `pocketseek device --models`? Expected against measured, for packages that are here.

    python benchmarks/verdict_error.py PACKAGE... [--tokens 64] [--repeats 2] [--memory-mb 3000]

The device is measured first, as `pocketseek device --measure` does; then each package is run as `pocketseek bench`
does, with a prompt of 512 tokens. Loading is timed cold: the package's files are put out of the page cache before.
--memory-mb keeps to so much memory, so that larger models are streamed. Prints a table of expected, measured and their
difference, and ends in one JSON line. For an otherwise idle machine: what other programs took of the processors
meanwhile is told with each model, and above a few percent the differences say little.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pocketseek import load
from pocketseek.apps.bench import BenchReport, bench_model
from pocketseek.apps.catalogue import needs_of_installed
from pocketseek.apps.energy import model_work
from pocketseek.apps.measure_device import measure_device
from pocketseek.apps.page_cache import drop_cached_pages
from pocketseek.device.probe import check_device
from pocketseek.govern.budget import default_kv_budget_bytes
from pocketseek.govern.expected_speed import MachineFigures
from pocketseek.govern.model_verdict import ModelVerdict, Room, judge_model
from pocketseek.package.manifest import Manifest, read_manifest
from pocketseek.runtime.opening import available_bytes
from pocketseek.settings import read_settings


@dataclass
class Others:
    """busy_share: of all processors' time, what was taken that was not ours."""

    busy_share: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, nargs="+")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--memory-mb", type=int, default=None)
    arguments = parser.parse_args()
    settings = read_settings()
    facts = check_device(data_dir=settings.home)
    with others() as meanwhile:
        figures = measure_device(settings, facts)
    print_figures(figures, meanwhile)
    memory_bytes = available_bytes(facts) if arguments.memory_mb is None else arguments.memory_mb * 10**6
    room = Room(memory_bytes, None, default_kv_budget_bytes(available_bytes(facts)))
    rows = {path.name: row(path, room, figures, arguments) for path in arguments.packages}
    print(json.dumps({"benchmark": "verdict_error", "figures": asdict(figures), "models": rows}))


def row(path: Path, room: Room, figures: MachineFigures, arguments: argparse.Namespace) -> dict[str, object]:
    manifest = read_manifest(path)
    verdict = judge_model(needs_of_installed(manifest), room, figures)
    if not verdict.runs:
        raise SystemExit(f"{path.name} is not expected to run here: {verdict.fit}")
    with others() as meanwhile:
        report = measured(path, manifest, room, arguments)
    found = pairs(verdict, report)
    for kind, (expected, got) in found.items():
        error = expected / got - 1
        print(f"{path.name:<22} {kind:<11} expected {expected:9.3f}  measured {got:9.3f}  {100 * error:+6.1f} %")
    print(
        f"{path.name:<22} {verdict.fit}; others took {100 * meanwhile.busy_share:.0f} % of the processors", flush=True
    )
    return {"fit": verdict.fit, "others_busy_share": round(meanwhile.busy_share, 3), **found}


def measured(path: Path, manifest: Manifest, room: Room, arguments: argparse.Namespace) -> BenchReport:
    limit = None if arguments.memory_mb is None else room.memory_bytes
    drop_cached_pages(path)
    return bench_model(
        lambda: load(path, memory_bytes=limit, prefix_cache=False, speculation=False),
        model_work(manifest),
        prompt_tokens=512,
        new_tokens=arguments.tokens,
        repeats=arguments.repeats,
    )


def pairs(verdict: ModelVerdict, report: BenchReport) -> dict[str, tuple[float, float]]:
    """Expected and measured."""
    found = {
        "load_s": (verdict.load_s, report.load_to_first_token_s),
        "prefill_per_s": (verdict.prefill_tokens_per_s, report.prefill_tokens_per_s),
        "decode_per_s": (verdict.decode_tokens_per_s, report.decode_tokens_per_s),
    }
    return {kind: (expected, got) for kind, (expected, got) in found.items() if expected is not None}


def print_figures(figures: MachineFigures, meanwhile: Others) -> None:
    print(
        f"machine: {figures.read_bandwidth_bytes_per_s / 1e9:.1f} GB/s memory, "
        f"{(figures.int8_multiply_adds_per_s or 0) / 1e9:.0f} G int8 multiply-adds/s, "
        f"{figures.flash_bytes_per_s / 1e9:.2f} GB/s storage; {figures.kernels}, {figures.num_threads} threads; "
        f"others took {100 * meanwhile.busy_share:.0f} %",
        flush=True,
    )


@contextmanager
def others() -> Iterator[Others]:
    """Filled in when the block ends."""
    found = Others()
    start_s, start_own_s, start_all_s = time.monotonic(), own_s(), all_s()
    yield found
    elapsed_s = (time.monotonic() - start_s) * (os.cpu_count() or 1)
    found.busy_share = max(0.0, (all_s() - start_all_s) - (own_s() - start_own_s)) / elapsed_s


def own_s() -> float:
    times = os.times()
    return times.user + times.system


def all_s() -> float:
    """Processor time of everything, the host's theft included: user, nice, system, irq, softirq, steal."""
    fields = [int(field) for field in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    return sum(fields[index] for index in (0, 1, 2, 5, 6, 7)) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
