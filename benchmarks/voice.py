"""What partial-transcript prefill, early answers and clause-wise speech are each worth: a table and one JSON line.

    python benchmarks/voice.py DIR [--model demo] [--rounds 3]

Runs `pocketseek voice bench --wav DIR` in real time with everything on, and with each of them off, in turn, each time
in a new process (so that nothing computed in one run helps the next), --rounds times. Told is, over all turns of all
rounds, the time from the end of speech to the first sound: p50, p95, and the difference to everything on.
DIR: see voice_dialogues.py; recordings of one language are told apart by that.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from pocketseek.apps.voice.bench.report import spread_of

CONFIGURATIONS: dict[str, list[str]] = {
    "everything on": [],
    "no partial prefill": ["--no-partial-prefill"],
    "no early answers": ["--no-early-answers"],
    "neither of both": ["--no-partial-prefill", "--no-early-answers"],
    "whole answer before speech": ["--whole-answer-tts"],
    "nothing of it": ["--no-partial-prefill", "--no-early-answers", "--whole-answer-tts"],
}
STAGES = ("endpoint_s", "transcript_s", "first_token_s", "first_clause_s", "first_audio_s")


def run(folder: Path, model: str, options: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "pocketseek", "voice", "bench", model, "--wav", str(folder), "--json", "--yes"]
    done = subprocess.run([*command, *options], check=True, stdout=subprocess.PIPE)
    return dict(json.loads(done.stdout))


def waits_s(report: dict[str, Any], stage: str) -> list[float]:
    """From the end of speech to a stage, of every turn that got so far."""
    return [
        max(0.0, turn["timings"][stage] - turn["speech_end_s"])
        for turn in report["turns"]
        if turn["failure"] is None and turn["timings"]["first_audio_s"] is not None
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONFIGURATIONS}
    for _ in range(options.rounds):
        for name, arguments in CONFIGURATIONS.items():
            runs[name].append(run(options.folder, options.model, arguments))
    table = {
        name: {stage: sorted(wait for report in reports for wait in waits_s(report, stage)) for stage in STAGES}
        for name, reports in runs.items()
    }
    first = next(iter(table.values()))["first_audio_s"]
    print(f"{options.model}, {options.folder.name}: seconds from the end of speech; {len(first)} turns each")
    print(f"{'':28}{'endpoint':>10}{'text':>8}{'token':>8}{'clause':>8}{'sound p50':>11}{'p95':>8}{'p50 more':>10}")
    for name, stages in table.items():
        medians = [statistics.median(stages[stage]) for stage in STAGES]
        more = medians[-1] - statistics.median(first)
        figures = f"{medians[0]:>10.2f}" + "".join(f"{value:>8.2f}" for value in medians[1:4])
        print(f"{name:28}{figures}{medians[4]:>11.2f}{spread_of(stages['first_audio_s']).p95_s:>8.2f}{more:>+10.2f}")
    facts = {"benchmark": "voice", "model": options.model, "files": options.folder.name, "rounds": options.rounds}
    print(json.dumps({**facts, "parts": runs["everything on"][0]["parts"], "waits_s": table}))


if __name__ == "__main__":
    main()
