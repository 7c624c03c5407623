"""A model with experts, all in memory and in less: ours and llama.cpp with mapped weights, in memory groups, in turn.

    python benchmarks/sparse.py DIR --package P [--peer llama.cpp=PYTHON --gguf G] [--sizes resident 6GB 4GB 3GB]
        [--sequences 1 8] [--rounds 3] [--tokens 48] [--peer-tokens 6]

Every round starts one fresh process for each engine and size, never two at a time, the order alternating, after the
models' files were dropped from the page cache. Ours writes texts through its whole engine, sampled at temperature 1
with seeds; llama.cpp is given the same tokens, so both choose the same experts but for rounding. `resident`: everything
in memory and warm; llama.cpp repacks its weights then, as it does by default. In less it maps them, as repacked copies
would be anonymous memory. What ours has learnt of experts in one process is not there in the next.

Told: tokens per second; processor seconds of a token of one sequence (with --threads 1 a fair measure where others use
the machine, too: threads that wait for each other burn more); what is read from storage for a token; the group's peak;
whether ours wrote the same text in every size, alone and with others. Then, for ours in less memory, experts read for
a token with one and with more sequences, what a replay of the trace expected of the best plain read of the same
storage, and the bound of that trace.
Medians over rounds, ratios above 1 are better for pocketseek, JSON on the last line. Traces and texts stay in DIR.
Needs the right to make a memory control group.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import compare
import engines
import plain_read
from engines import LLAMA_CPP, OURS, Engine
from group_worker import Outcome, median_of
from small_memory import Summary, parse_memory, ratios, run_job, summarise
from small_workload import SmallJob

from pocketseek.apps.memory_group import unavailable
from pocketseek.apps.page_cache import drop_cached_pages
from pocketseek.apps.routing_replay import misses, replay_sizes
from pocketseek.errors import MemoryLimitError
from pocketseek.runtime.residency.expert_policies import DEFAULT_POLICY
from pocketseek.runtime.residency.routing_trace import TraceHeader, TracePass, read_trace

RESIDENT, HOME = "resident", "home"
PROMPT_TOKENS = 8


@dataclass(frozen=True)
class TraceFigures:
    """Of one traced run of ours in one size. memory_slots: as many as the trace's header has for the size.
    experts_read, experts_used: for a token that is written, by rows of a pass. replayed_misses: of a replay with as
    many slots, filled beforehand. expected_tokens_per_s, bound_tokens_per_s: of one sequence, by replay."""

    num_slots: int | None
    memory_slots: int | None
    experts_read: dict[int, float]
    experts_used: dict[int, float]
    misses: int
    replayed_misses: int | None
    compute_s: float
    waited_s: float
    expected_tokens_per_s: float | None
    bound_tokens_per_s: float | None


def run_rounds(arguments: argparse.Namespace, models: Mapping[Engine, Path]) -> dict[str, Any]:
    """Outcomes by size, number of sequences and engine; plain reads."""
    outcomes: dict[tuple[str, int], dict[str, list[Outcome]]] = {}
    plain: list[float] = []
    package = models[engines.ours()]
    ways = list(plain_read.survey(package, arguments.plain_mb * 1_000_000))[:2]
    for number in range(arguments.rounds):
        rates = [plain_read.read_rate(package, way, arguments.plain_mb * 1_000_000) for way in ways]
        plain.extend(rate for rate in rates if rate is not None)
        for size in arguments.sizes:
            for sequences in arguments.sequences:
                for engine in in_turn(models, arguments.folder, sequences, number):
                    runs = outcomes.setdefault((size, sequences), {}).setdefault(engine.name, [])
                    if runs and runs[-1].ended:
                        continue  # it will not get better
                    print(f"round {number + 1}, {size}, {sequences}: {engine.name}", file=sys.stderr, flush=True)
                    drop_models(models)
                    runs.append(run_one(engine, models[engine], size, sequences, arguments))
                    if engine.name == OURS and not (path := texts_path(arguments.folder, sequences)).exists():
                        path.write_text(json.dumps(runs[-1].facts.get("texts", [])))
    return {"outcomes": outcomes, "plain_read_bytes_per_s": plain, "ways": [str(way) for way in ways]}


def in_turn(models: Mapping[Engine, Path], folder: Path, sequences: int, number: int) -> list[Engine]:
    """Ours first as long as there is no text to give to others."""
    is_first = number % 2 == 0 or not texts_path(folder, sequences).exists()
    return list(models) if is_first else list(models)[::-1]


def texts_path(folder: Path, sequences: int) -> Path:
    return folder / f"texts-{sequences}.json"


def drop_models(models: Mapping[Engine, Path]) -> None:
    for path in models.values():
        drop_cached_pages(path)


def run_one(engine: Engine, model: Path, size: str, sequences: int, arguments: argparse.Namespace) -> Outcome:
    is_resident, texts = size == RESIDENT, texts_path(arguments.folder, sequences)
    limit_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if is_resident else parse_memory(size)
    trace = "" if is_resident else str(trace_path(arguments.folder, size, sequences))
    job = SmallJob(
        model=str(model),
        memory_bytes=0 if is_resident else limit_bytes,
        threads=arguments.threads,
        passes=arguments.tokens if engine.name == OURS or is_resident else arguments.peer_tokens,
        prompt_tokens=PROMPT_TOKENS,
        num_sequences=sequences,
        texts=str(texts) if texts.exists() else "",
        temperature=1.0,
        trace=trace,
    )
    if engine.name == OURS:
        shutil.rmtree(arguments.folder / HOME / "experts", ignore_errors=True)
    return run_job(engine, job, limit_bytes, arguments.patience, repack=is_resident)


def trace_path(folder: Path, size: str, sequences: int) -> Path:
    return folder / f"{size}-{sequences}.trace"


def trace_figures(path: Path, size: str, outcome: Outcome, storage_bytes_per_s: float) -> TraceFigures:
    header, passes = read_trace(path)
    writing = [one for one in passes if one.answered == one.num_rows]
    alone = [one for one in writing if one.num_rows == 1]
    num_slots = outcome.facts.get("num_slots")
    replayed = None
    if num_slots is not None:
        steps = [list(one.distinct()) for one in passes]
        replayed = sum(map(sum, misses(header, steps, num_slots, DEFAULT_POLICY)))
    try:
        (expected,) = replay_sizes(
            header,
            passes_alone(passes),
            [header.beside_bytes + (num_slots or 0) * header.slot_bytes],
            storage_bytes_per_s=storage_bytes_per_s,
            policies=(DEFAULT_POLICY,),
        )
    except MemoryLimitError:
        expected = None
    return TraceFigures(
        num_slots=num_slots,
        memory_slots=max(0, (parse_memory(size) - header.beside_bytes) // header.slot_bytes),
        experts_read=per_token(writing, lambda one: one.misses),
        experts_used=per_token(writing, lambda one: sum(map(len, one.distinct()))),
        misses=sum(one.misses for one in passes),
        replayed_misses=replayed,
        compute_s=median(one.compute_s for one in alone),
        waited_s=median(one.waited_s for one in alone),
        expected_tokens_per_s=None if expected is None else expected.replays[0].tokens_per_s,
        bound_tokens_per_s=None if expected is None else expected.bound_tokens_per_s,
    )


def passes_alone(passes: Sequence[TracePass]) -> list[TracePass]:
    """Those before the passes with several sequences: the prompt and the text of the one."""
    first = next((index for index, one in enumerate(passes) if one.answered > 1), len(passes))
    return list(passes[:first])


def per_token(passes: Sequence[TracePass], count: Any) -> dict[int, float]:
    """By rows of a pass."""
    found = {}
    for rows in sorted({one.num_rows for one in passes}):
        of_rows = [one for one in passes if one.num_rows == rows]
        found[rows] = sum(count(one) for one in of_rows) / (rows * len(of_rows))
    return found


def header_of(path: Path) -> TraceHeader:
    return read_trace(path)[0]


def summaries(outcomes: Mapping[str, Sequence[Outcome]], best_plain: float) -> dict[str, Summary]:
    return {name: summarise(runs, best_plain) for name, runs in outcomes.items()}


def same_texts(outcomes: Mapping[tuple[str, int], Mapping[str, Sequence[Outcome]]]) -> bool:
    """Of ours: in every size, every round, alone and with others."""
    by_sequences: dict[int, list[Any]] = {}
    for (_, sequences), by_engine in outcomes.items():
        for outcome in by_engine.get(OURS, ()):
            if "texts" in outcome.facts:
                by_sequences.setdefault(sequences, []).append(outcome.facts["texts"])
                if not outcome.facts["same_alone"]:
                    return False
    return all(texts == found[0] for found in by_sequences.values() for texts in found)


def cpu_s(outcomes: Sequence[Outcome]) -> float | None:
    """Of a token of one sequence; the median over rounds."""
    return median_of([one.facts["single_cpu_s"] for one in outcomes if "single_cpu_s" in one.facts])


def print_size(
    size: str,
    sequences: int,
    by_engine: Mapping[str, Summary],
    cpu: Mapping[str, float | None],
    figures: TraceFigures | None,
) -> None:
    title = f"{size}, {sequences} sequences"
    print(f"\n{title:18}    tokens/s    together  CPU s/token    MB/token    peak MB")
    for name, one in by_engine.items():
        alone = None if not one.token_s else 1 / one.token_s
        cells = (alone, one.many_tokens_per_s, cpu[name], one.token_bytes and one.token_bytes / 1e6)
        text = "".join("           -" if cell is None else f"{cell:12.3f}" for cell in cells)
        peak = "-" if one.peak_bytes is None else f"{one.peak_bytes / 1e6:.0f}"
        print(f"{name:18}{text}{peak:>11}" + "".join(f"  {reason}" for reason in one.ended[:1]))
    if len(by_engine) > 1:
        single, many = ratios(by_engine).values()
        told = ["-" if value is None else f"{value:.2f}" for value in (single, many)]
        print(f"ratio to the best peer: one sequence {told[0]}, {sequences} together {told[1]}")
    if figures is not None:
        slots = f"{figures.num_slots} experts in memory ({figures.memory_slots} by the trace's header)"
        read = ", ".join(f"{rows}: {number:.1f}" for rows, number in figures.experts_read.items())
        used = ", ".join(f"{rows}: {number:.1f}" for rows, number in figures.experts_used.items())
        print(f"{slots}; read for a token by sequences {read}; used {used}")
        rates = [
            "-" if value is None else f"{value:.2f}"
            for value in (figures.expected_tokens_per_s, figures.bound_tokens_per_s)
        ]
        print(
            f"misses {figures.misses}, replayed {figures.replayed_misses}; expected {rates[0]} tokens/s, "
            f"bound of the trace {rates[1]}"
        )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, metavar="DIR", help="for texts and traces; made if it is not there")
    parser.add_argument("--package", type=Path, required=True, help="ours")
    parser.add_argument(
        "--peer",
        type=lambda text: engines.parse_peer(text, (LLAMA_CPP,)),
        action="append",
        dest="peers",
        default=[],
        metavar="NAME=PYTHON",
    )
    parser.add_argument("--gguf", type=Path, help="llama.cpp's")
    parser.add_argument("--sizes", nargs="+", default=[RESIDENT, "6GB", "4GB", "3GB"], help="of the group, or resident")
    parser.add_argument("--sequences", type=int, nargs="+", default=[8], help="that write at once, besides one alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=48, help="that are measured, of each sequence")
    parser.add_argument(
        "--peer-tokens", type=int, default=6, help="of a peer in less memory, where it takes seconds each"
    )
    parser.add_argument("--threads", type=int, default=SmallJob("", 0).threads)
    parser.add_argument(
        "--patience", type=float, default=240.0, help="seconds for a first token (default: %(default)s)"
    )
    parser.add_argument("--plain-mb", type=int, default=600, help="what every plain read reads (default: %(default)s)")
    arguments = parser.parse_args()
    for size in arguments.sizes:
        if size != RESIDENT:
            parse_memory(size)
    if arguments.peers and arguments.gguf is None:
        parser.error("name llama.cpp's file with --gguf")
    if min(*arguments.sequences, arguments.rounds, arguments.peer_tokens, arguments.tokens - 1) < 1:
        parser.error("sequences, rounds and peer tokens must be 1 or more, tokens 2 or more")
    arguments.sequences = [one for one in arguments.sequences if one > 1] or [1]
    return arguments


def main() -> None:
    arguments = parse_arguments()
    if reason := unavailable():
        raise SystemExit(f"the comparison needs a memory limit that the kernel keeps: {reason}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    os.environ["POCKETSEEK_HOME"] = str((arguments.folder / HOME).resolve())
    for old in arguments.folder.glob("texts-*.json"):
        old.unlink()
    models = {engines.ours(): arguments.package} | dict.fromkeys(arguments.peers, arguments.gguf)
    result = run_rounds(arguments, models)
    outcomes = result.pop("outcomes")
    best_plain = max(result["plain_read_bytes_per_s"])
    print(f"best plain read: {best_plain / 1e9:.2f} GB/s")
    sizes = []
    for (size, sequences), by_engine in outcomes.items():
        summed = summaries(by_engine, best_plain)
        path = trace_path(arguments.folder, size, sequences)
        ours = by_engine[OURS][-1]
        figures = trace_figures(path, size, ours, best_plain) if size != RESIDENT and not ours.ended else None
        cpu = {name: cpu_s(runs) for name, runs in by_engine.items()}
        print_size(size, sequences, summed, cpu, figures)
        sizes.append(
            {
                "size": size,
                "sequences": sequences,
                "engines": {name: asdict(one) for name, one in summed.items()},
                "single_cpu_s": cpu,
                "ratios": ratios(summed) if len(summed) > 1 else None,
                "trace": None if figures is None else asdict(figures),
                "runs": {name: [without_texts(one) for one in runs] for name, runs in by_engine.items()},
            }
        )
    is_same = same_texts(outcomes)
    print(f"\nthe same text in every size, alone and with others: {'yes' if is_same else 'NO'}")
    print(
        json.dumps(
            {"benchmark": "sparse", "machine": compare.machine(), "same_texts": is_same, **result, "sizes": sizes}
        )
    )


def without_texts(outcome: Outcome) -> dict[str, Any]:
    fields = asdict(outcome)
    fields["facts"].pop("texts", None)
    return fields


if __name__ == "__main__":
    main()
