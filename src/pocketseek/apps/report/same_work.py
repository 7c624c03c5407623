"""Whether two reports did the same work for a figure: only then is one of them better. Pure.

Devices, kernels, threads, formats of weights and of keys and values are what people compare, so they may differ. What
was asked of them may not: a short prompt is read sooner than a long one, whatever reads it. Models are the same work if
they have the same number of parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pocketseek.apps.report.figures import Key
from pocketseek.apps.report.record import Record

Basis = Literal[
    "num_parameters",
    "prompt_tokens",
    "new_tokens",
    "concurrency",
    "speculation",
    "from_storage",
    "memory_limit_bytes",
    "measured_s",
    "load_answer_tokens",
    "power_source",
]
_SAME_TIME_WITHIN = 0.02  # a load ends with a pass, a little later than asked for

_VALUES: dict[Basis, Callable[[Record], object]] = {
    "num_parameters": lambda record: record.model.num_parameters,
    "prompt_tokens": lambda record: record.conditions.prompt_tokens,
    "new_tokens": lambda record: record.conditions.new_tokens,
    "concurrency": lambda record: record.conditions.concurrency,
    "speculation": lambda record: record.conditions.speculation,
    "from_storage": lambda record: record.conditions.from_storage,
    "memory_limit_bytes": lambda record: record.conditions.memory_limit_bytes,
    "measured_s": lambda record: record.sustained.measured_s if record.sustained else 0.0,
    "load_answer_tokens": lambda record: record.sustained.answer_new_tokens if record.sustained else None,
    "power_source": lambda record: record.power.source if record.power else None,
}
_LOAD: tuple[Basis, ...] = ("num_parameters", "concurrency", "measured_s", "load_answer_tokens")
_POWER: tuple[Basis, ...] = ("power_source", *_LOAD)
_NEEDS: dict[Key, tuple[Basis, ...]] = {
    "load": ("num_parameters", "from_storage"),
    "load_to_first_token": ("num_parameters", "from_storage"),
    "short_answer": ("num_parameters", "speculation"),
    "long_answer": ("num_parameters", "prompt_tokens", "new_tokens", "speculation"),
    "first_token": ("num_parameters", "prompt_tokens", "concurrency"),
    "prefill": ("num_parameters", "prompt_tokens", "concurrency"),
    "decode": ("num_parameters", "prompt_tokens", "new_tokens", "concurrency", "speculation"),
    "sustained": (*_LOAD, "speculation"),
    "sustained_last": (*_LOAD, "speculation"),
    "kept": (*_LOAD, "speculation"),
    "skin": _LOAD,
    "battery": _LOAD,
    "soc": _LOAD,
    "idle_power": ("power_source",),
    "busy_power": _POWER,
    "added_power": _POWER,
    "tokens_per_joule": (*_POWER, "speculation"),
    "tokens_per_added_joule": (*_POWER, "speculation"),
    "package": ("num_parameters",),
    "saved": ("num_parameters",),
    "peak_rss": ("num_parameters", "prompt_tokens", "new_tokens", "concurrency", "memory_limit_bytes", "measured_s"),
}


def other_work(key: Key, first: Record, second: Record) -> tuple[Basis, ...]:
    """In what the work for this figure differs; empty: the same."""
    return tuple(basis for basis in _NEEDS[key] if not _is_same(basis, first, second))


def basis_of(basis: Basis, record: Record) -> object:
    return _VALUES[basis](record)


def _is_same(basis: Basis, first: Record, second: Record) -> bool:
    """Where only one of them had a load, its length tells; there is nothing to say of its answers."""
    one, other = basis_of(basis, first), basis_of(basis, second)
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= _SAME_TIME_WITHIN * max(one, other)
    return one == other or (basis == "load_answer_tokens" and None in (one, other))
