"""How good is the verdict of `pocketseek device --models`? Expected against measured, for packages that are here.

    python benchmarks/verdict_error.py PACKAGE... [--tokens 64] [--repeats 2]

The device is measured first, as `pocketseek device --measure` does; then each package is run as `pocketseek bench`
does, with a prompt of 512 tokens. Loading is timed cold: the package's files are put out of the page cache before.
Prints a table of expected, measured and their difference, and ends in one JSON line. For an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pocketseek import load
from pocketseek.apps.bench import bench_model
from pocketseek.apps.catalogue import needs_of_installed
from pocketseek.apps.energy import model_work
from pocketseek.apps.measure_device import measure_device
from pocketseek.apps.page_cache import drop_cached_pages
from pocketseek.device.probe import check_device
from pocketseek.govern.budget import default_kv_budget_bytes
from pocketseek.govern.model_verdict import MachineFigures, Room, judge_model
from pocketseek.package.manifest import read_manifest
from pocketseek.settings import read_settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, nargs="+")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    settings = read_settings()
    facts = check_device(data_dir=settings.home)
    figures = measure_device(settings, facts)
    room = Room(facts.memory_available_bytes, None, default_kv_budget_bytes(facts.memory_available_bytes))
    rows = {path.name: row(path, room, figures, arguments.tokens, arguments.repeats) for path in arguments.packages}
    for name, values in rows.items():
        for kind, (expected, measured) in values.items():
            error = expected / measured - 1
            print(f"{name:<24} {kind:<22} expected {expected:9.2f}  measured {measured:9.2f}  {100 * error:+6.1f} %")
    print(json.dumps({"benchmark": "verdict_error", "models": rows}))


def row(
    path: Path, room: Room, figures: MachineFigures, num_tokens: int, repeats: int
) -> dict[str, tuple[float, float]]:
    manifest = read_manifest(path)
    verdict = judge_model(needs_of_installed(manifest), room, figures)
    if verdict.load_s is None or verdict.decode_tokens_per_s is None or verdict.prefill_tokens_per_s is None:
        raise SystemExit(f"{path.name} is not expected to run here: {verdict.fit}")
    drop_cached_pages(path)
    report = bench_model(
        lambda: load(path, prefix_cache=False, speculation=False),
        model_work(manifest),
        prompt_tokens=512,
        new_tokens=num_tokens,
        repeats=repeats,
    )
    return {
        "load to first token, s": (verdict.load_s, report.load_to_first_token_s),
        "prefill, tokens/s": (verdict.prefill_tokens_per_s, report.prefill_tokens_per_s),
        "decode, tokens/s": (verdict.decode_tokens_per_s, report.decode_tokens_per_s),
    }


if __name__ == "__main__":
    main()
