"""The lines of a comparison's table: what is read from each process, the best peer, and our ratio to it.

Ratios are written so that above 1 is better for pocketseek: speeds ours / theirs, times and memory theirs / ours. What
an engine cannot do or does not tell is None, and "-" in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from engines import OURS
from process_monitor import Outcome
from workload import Job

MB = 1e6
Read = Callable[[Outcome], float | None]


@dataclass(frozen=True)
class Metric:
    """One line of the table. `read`: the value of one process; `higher_is_better` decides which way the ratio is."""

    name: str
    unit: str
    read: Read
    higher_is_better: bool = False


@dataclass(frozen=True)
class Line:
    """A metric over all rounds. medians: one value per engine; ratio: ours to the best peer's, if there are both."""

    unit: str
    medians: dict[str, float | None]
    best_peer: str | None
    ratio: float | None
    values: dict[str, list[float]]


def metrics_of(job: Job) -> list[Metric]:
    prefills = [Metric(f"prefill_{n}", "tokens/s", _prefill(n), higher_is_better=True) for n in job.contexts]
    decodes = [Metric(f"decode_at_{n}", "ms", _decode_ms(n)) for n in job.contexts if job.decode_tokens]
    passes = [Metric(f"pass_{n}", "ms", _pass_ms(n)) for n in job.pass_tokens]
    aggregate = Metric(f"{job.num_sequences}_sequences", "tokens/s", _sequences(job), higher_is_better=True)
    return [
        *prefills,
        *decodes,
        *passes,
        *([aggregate] if job.num_sequences and job.decode_tokens else []),
        Metric("load_to_first_token", "s", lambda o: float(o.result["load_to_first_token_s"])),
        Metric("start_to_first_token", "s", lambda o: o.start_to_first_token_s),
        Metric("peak_rss", "MB", lambda o: o.peak_rss_bytes / MB),
        Metric("peak_anonymous", "MB", lambda o: o.peak_anonymous_bytes / MB),
        Metric("peak_anonymous_without_kv", "MB", _anonymous_without_kv_mb),
    ]


def summarise(metrics: Sequence[Metric], outcomes: Mapping[str, Sequence[Outcome]]) -> dict[str, Line]:
    """For each metric the medians, the best peer, and every single value."""
    lines = {}
    for metric in metrics:
        values = {
            engine: [value for outcome in runs if (value := metric.read(outcome)) is not None]
            for engine, runs in outcomes.items()
        }
        lines[metric.name] = compared(metric, values)
    return lines


def compared(metric: Metric, values: dict[str, list[float]]) -> Line:
    medians = {engine: median(each) if each else None for engine, each in values.items()}
    peers = {engine: value for engine, value in medians.items() if engine != OURS and value is not None}
    own = medians.get(OURS)
    if not peers:
        return Line(metric.unit, medians, None, None, values)
    choose = max if metric.higher_is_better else min
    best = choose(peers, key=peers.__getitem__)
    ratio = None
    if own is not None:
        ratio = own / peers[best] if metric.higher_is_better else peers[best] / own
    return Line(metric.unit, medians, best, ratio, values)


def print_table(model: str, engines: Sequence[str], lines: Mapping[str, Line]) -> None:
    heads = "".join(f"{engine:>12}" for engine in engines)
    print(f"\n{model:32}{heads}{'best peer':>13}{'ratio':>8}   (ratio above 1: {OURS} is better)")
    for name, line in lines.items():
        figures = "".join(_cell(line.medians[engine], 12) for engine in engines)
        print(f"{f'{name}, {line.unit}':32}{figures}{line.best_peer or '-':>13}{_cell(line.ratio, 8)}")


def _cell(value: float | None, width: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.2f}"


def _prefill(context: int) -> Read:
    return lambda outcome: context / median(outcome.result["prefill_s"][str(context)])


def _decode_ms(context: int) -> Read:
    return lambda outcome: 1e3 * median(outcome.result["decode_token_s"][str(context)])


def _pass_ms(num_tokens: int) -> Read:
    return lambda outcome: 1e3 * median(outcome.result["pass_s"][str(num_tokens)])


def _sequences(job: Job) -> Read:
    return lambda outcome: job.num_sequences / median(outcome.result["sequences_pass_s"])


def _anonymous_without_kv_mb(outcome: Outcome) -> float | None:
    kv_bytes = outcome.result["kv_bytes"]
    return None if kv_bytes is None else (outcome.peak_anonymous_bytes - int(kv_bytes)) / MB
