"""What sealing costs: one model plain and sealed, in turn, each measurement in a process of its own.

    python benchmarks/sealed.py PACKAGE [--rounds 5] [--memory 600MB] [--new-tokens 64] [--work DIR] [--cold]

Copies the package twice into --work (on the file system that is to be measured), seals one copy with a key file
(timed), checks that both write the same text, and runs `pocketseek bench --json` on them alternately, the first one
changing from round to round: with all weights in memory, and with --memory in so much (enforced by the kernel where
that is allowed), where they stream. Before each run the copies are put out of the page cache, but without --cold only
if memory is limited. Prints a table of medians with the least and most of each, and ends in a JSON line. Ratios are
sealed / plain.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FIGURES = {
    "load_s": "opening, s",
    "load_to_first_token_s": "from nothing to the first token, s",
    "prefill_tokens_per_s": "reading, tokens/s",
    "decode_tokens_per_s": "writing, tokens/s",
    "peak_rss_bytes": "most memory, bytes",
    "peak_anonymous_bytes": "most memory without a file behind it, bytes",
}


def pocketseek(*arguments: object) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "pocketseek", *map(str, arguments), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr.strip() or f"pocketseek {arguments[0]} ended with {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@contextmanager
def copies(package: Path, work: Path | None) -> Iterator[tuple[Path, Path, Path]]:
    """(plain, the same to be sealed, key file)"""
    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work, prefix="sealed-") as folder:
        plain, sealed = Path(folder) / "plain", Path(folder) / "sealed"
        shutil.copytree(package, plain)
        shutil.copytree(package, sealed)
        os.sync()
        yield plain, sealed, Path(folder) / "key"


def text_of(path: Path, *options: object) -> str:
    ended = pocketseek("generate", path, "The capital of France is", "--raw", "--max-tokens", 48, "--seed", 1, *options)
    return str(ended["text"])


def one_run(path: Path, key: Path | None, arguments: argparse.Namespace, memory: str | None) -> dict[str, float]:
    options: list[object] = ["--prompt-tokens", arguments.prompt_tokens, "--new-tokens", arguments.new_tokens]
    options += ["--repeats", 2]
    if key is not None:
        options += ["--key-file", key]
    if memory is not None:
        options += ["--memory", memory]
    elif arguments.cold:
        options += ["--drop-caches"]
    found = pocketseek("bench", path, *options)
    return {name: float(found[name]) for name in FIGURES if found[name] is not None}


def compare(
    plain: Path, sealed: Path, key: Path, arguments: argparse.Namespace, memory: str | None
) -> dict[str, dict[str, Any]]:
    runs: dict[str, list[dict[str, float]]] = {"plain": [], "sealed": []}
    for number in range(arguments.rounds + 1):  # the first is not counted
        order = ("plain", "sealed") if number % 2 else ("sealed", "plain")
        for which in order:
            path, with_key = (sealed, key) if which == "sealed" else (plain, None)
            found = one_run(path, with_key, arguments, memory)
            if number:
                runs[which].append(found)
    return {name: _figure(name, runs) for name in FIGURES if name in runs["plain"][0]}


def _figure(name: str, runs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    values = {which: [run[name] for run in found] for which, found in runs.items()}
    ratios = [ours / theirs for ours, theirs in zip(values["sealed"], values["plain"], strict=True)]
    return {
        **{which: [statistics.median(found), min(found), max(found)] for which, found in values.items()},
        "ratio": [statistics.median(ratios), min(ratios), max(ratios)],
    }


def show(title: str, figures: dict[str, dict[str, Any]]) -> None:
    print(f"\n{title}\n")
    print("| | plain | sealed | ratio |\n| --- | --- | --- | --- |")
    for name, found in figures.items():
        cells = ["{:.4g} ({:.4g} to {:.4g})".format(*found[which]) for which in ("plain", "sealed", "ratio")]
        print(f"| {FIGURES[name]} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", help="as of `pocketseek bench`: weights stream in so much")
    parser.add_argument("--prompt-tokens", type=int, default=64)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--work", type=Path, help="where the copies go; by default the temporary directory")
    parser.add_argument("--cold", action="store_true", help="from storage, with all weights in memory afterwards")
    arguments = parser.parse_args()
    with copies(arguments.package, arguments.work) as (plain, sealed, key):
        start_s = time.perf_counter()
        report = pocketseek("seal", sealed, "--new-key-file", key)
        seal_s = time.perf_counter() - start_s
        same_text = text_of(plain) == text_of(sealed, "--key-file", key)
        rate = report["num_bytes"] / report["duration_s"] / 1e6
        print(f"sealed {report['num_bytes'] / 1e6:.0f} MB with {report['cipher']} in {seal_s:.1f} s ({rate:.0f} MB/s)")
        print(f"the same text: {'yes' if same_text else 'NO'}")
        results: dict[str, Any] = {"resident": compare(plain, sealed, key, arguments, None)}
        show("all weights in memory", results["resident"])
        if arguments.memory is not None:
            results["streaming"] = compare(plain, sealed, key, arguments, arguments.memory)
            show(f"in {arguments.memory}", results["streaming"])
    facts = {"cipher": report["cipher"], "seal_s": seal_s, "num_bytes": report["num_bytes"], "same_text": same_text}
    print(json.dumps({**facts, "rounds": arguments.rounds, "memory": arguments.memory, **results}))


if __name__ == "__main__":
    main()
