"""The figures of a report, one by one: where each is in a record, its unit, which way is better, what is claimed.

One list, so that the table on a terminal, the page and a comparison of two reports show the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pocketseek.apps.report.claims import REFERENCE
from pocketseek.apps.report.record import HeatKind, Power, Record, Speed, Sustained

Unit = Literal["seconds", "bytes", "share", "tokens/s", "celsius", "watts", "tokens/J"]
Gap = Literal["no sensor", "charging", "no sustained load", "cut short", "not at batch 1", "no system figure"]
Key = Literal[
    "load",
    "load_to_first_token",
    "short_answer",
    "long_answer",
    "first_token",
    "prefill",
    "decode",
    "package",
    "saved",
    "peak_rss",
    "skin",
    "battery",
    "soc",
    "idle_power",
    "busy_power",
    "added_power",
    "tokens_per_joule",
    "tokens_per_added_joule",
    "sustained",
    "sustained_last",
    "kept",
]


@dataclass(frozen=True)
class Figure:
    """get: None if it was not measured. claim: of `claims.REFERENCE`, in the same unit."""

    key: Key
    unit: Unit
    more_is_better: bool
    get: Callable[[Record], float | None]
    claim: float | None = None


def _speed(get: Callable[[Speed], float]) -> Callable[[Record], float | None]:
    return lambda record: None if record.speed is None else get(record.speed)


def _power(get: Callable[[Power], float | None]) -> Callable[[Record], float | None]:
    return lambda record: None if record.power is None else get(record.power)


def _sustained(get: Callable[[Sustained], float | None]) -> Callable[[Record], float | None]:
    return lambda record: None if record.sustained is None else get(record.sustained)


def _peak(kind: HeatKind) -> Callable[[Record], float | None]:
    def peak_c(record: Record) -> float | None:
        heat = record.heat_of(kind)
        return None if heat is None else heat.peak_c

    return peak_c


def _saved(record: Record) -> float | None:
    return 1 - record.model.package_bytes / record.model.f16_bytes if record.model.f16_bytes > 0 else None


def _kept(sustained: Sustained) -> float | None:
    first = sustained.first_tokens_per_s
    return sustained.last_tokens_per_s / first if first > 0 else None


FIGURES = (
    Figure("load", "seconds", False, lambda record: record.load_s, REFERENCE.load_s),
    Figure("load_to_first_token", "seconds", False, lambda record: record.load_to_first_token_s),
    Figure(
        "short_answer",
        "seconds",
        False,
        lambda record: record.short_answer.median_s if record.short_answer else None,
        REFERENCE.short_answer_s,
    ),
    Figure("long_answer", "seconds", False, lambda record: record.long_answer.median_s if record.long_answer else None),
    Figure("first_token", "seconds", False, _speed(lambda speed: speed.first_token_s)),
    Figure("prefill", "tokens/s", True, _speed(lambda speed: speed.prefill_tokens_per_s)),
    Figure("decode", "tokens/s", True, _speed(lambda speed: speed.decode_tokens_per_s)),
    Figure("sustained", "tokens/s", True, _sustained(lambda sustained: sustained.tokens_per_s)),
    Figure("sustained_last", "tokens/s", True, _sustained(lambda sustained: sustained.last_tokens_per_s)),
    Figure("kept", "share", True, _sustained(_kept)),
    Figure("skin", "celsius", False, _peak("skin")),
    Figure("battery", "celsius", False, _peak("battery")),
    Figure("soc", "celsius", False, _peak("soc")),
    Figure("idle_power", "watts", False, _power(lambda power: power.idle_w)),
    Figure("busy_power", "watts", False, _power(lambda power: power.busy_w)),
    Figure("added_power", "watts", False, _power(lambda power: power.added_w), REFERENCE.added_w),
    Figure("tokens_per_joule", "tokens/J", True, _power(lambda power: power.tokens_per_joule)),
    Figure("tokens_per_added_joule", "tokens/J", True, _power(lambda power: power.tokens_per_added_joule)),
    Figure("package", "bytes", False, lambda record: record.model.package_bytes),
    Figure("saved", "share", True, _saved, REFERENCE.saved_share),
    Figure("peak_rss", "bytes", False, lambda record: record.peak_rss_bytes),
)
_POWER = {"idle_power", "busy_power", "added_power", "tokens_per_joule", "tokens_per_added_joule"}
_SUSTAINED = {"sustained", "sustained_last", "kept"}


def figure(key: Key) -> Figure:
    return next(one for one in FIGURES if one.key == key)


def gap_of(record: Record, key: Key) -> Gap:
    """Why a figure that is None was not measured."""
    if key in _POWER:
        return record.power_gap or "no sensor"
    if key in ("skin", "battery", "soc"):
        return "no sensor"
    if key == "peak_rss":
        return "no system figure"
    if key in _SUSTAINED and not record.conditions.sustained_s:
        return "no sustained load"
    if key == "long_answer" and record.conditions.concurrency != 1:
        return "not at batch 1"
    return "cut short"
