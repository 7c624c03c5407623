"""How far a measurement of costs (sensitivity.py) is: what it needs to go on after an interruption, and as JSON.

Numbers become text in hexadecimal, so that they come back to the bit and may be infinite; arrays are kept beside the
JSON, under names that say which layer they belong to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from pocketseek.convert.layer_math import Floats
from pocketseek.package.manifest import JsonValue
from pocketseek.package.strict_json import Fields, format_error

Costs = dict[tuple[str, ...], dict[str, float]]
"""By the canonical names of a group's matrices, then by format."""

Moved = dict[str, dict[str, float]]
"""How far the output of a layer moves: by group, then by format."""

_WHERE = "the costs measured before"
_FIELDS = frozenset({"num_layers", "costs", "streams", "moved"})


@dataclass(frozen=True)
class Measured:
    """num_layers: that are done. costs: when they are known; until then hidden is the text after the last layer that is
    done, and streams and moved are what sensitivity.py has gathered by then."""

    num_layers: int
    costs: Costs | None = None
    hidden: Floats = field(default_factory=lambda: np.empty((0, 0), np.float32))
    streams: Mapping[int | str, Floats] = field(default_factory=dict)
    moved: Mapping[int, Moved] = field(default_factory=dict)

    def arrays(self) -> dict[str, Floats]:
        """By names that no other layer's have."""
        if self.costs is not None:
            return {}
        named = {_array_name(self.num_layers, name): values for name, values in self.streams.items()}
        return named | {_array_name(self.num_layers, "hidden"): self.hidden}

    def to_json(self) -> dict[str, JsonValue]:
        return {
            "num_layers": self.num_layers,
            "costs": None if self.costs is None else [[list(names), _texts(one)] for names, one in self.costs.items()],
            "streams": [] if self.costs is not None else list(self.streams),
            "moved": [[layer, {group: _texts(one) for group, one in moved.items()}] for layer, moved in _sorted(self)],
        }

    @classmethod
    def from_json(cls, value: JsonValue, array: Callable[[str], Floats]) -> Measured:
        """array: one by its name. Raises FormatError."""
        fields = Fields(value, _WHERE, _FIELDS)
        num_layers = fields.integer("num_layers", 0, 1 << 20)
        if fields.raw("costs") is not None:
            return cls(num_layers, costs=dict(_parse_costs(item) for item in fields.items("costs")))
        return cls(
            num_layers,
            hidden=array(_array_name(num_layers, "hidden")),
            streams={_stream(one): array(_array_name(num_layers, _stream(one))) for one in fields.items("streams")},
            moved=dict(_parse_moved(item) for item in fields.items("moved")),
        )


class CostKeeper(Protocol):
    """Who keeps a measurement while it goes on."""

    def found_costs(self, num_tokens: int) -> Measured | None:
        """How far an interrupted one came with so many tokens of text."""
        ...

    def keep_costs(self, measured: Measured) -> None: ...


class _KeepNothing:
    def found_costs(self, num_tokens: int) -> Measured | None:
        return None

    def keep_costs(self, measured: Measured) -> None:
        pass


KEEP_NOTHING: CostKeeper = _KeepNothing()


def _array_name(num_layers: int, name: int | str) -> str:
    return f"costs-{num_layers}-{name}"


def _sorted(measured: Measured) -> list[tuple[int, Moved]]:
    return sorted(measured.moved.items()) if measured.costs is None else []


def _texts(values: Mapping[str, float]) -> list[JsonValue]:
    """Pairs, since the order of formats counts."""
    return [[name, float(value).hex()] for name, value in values.items()]


def _parse_costs(value: JsonValue) -> tuple[tuple[str, ...], dict[str, float]]:
    names, pairs = _pair(value)
    return tuple(_text(name) for name in _items(names)), _numbers(pairs)


def _parse_moved(value: JsonValue) -> tuple[int, Moved]:
    layer, groups = _pair(value)
    if not isinstance(layer, int) or not isinstance(groups, Mapping):
        raise format_error(_WHERE, "a layer with its groups was wanted")
    return layer, {group: _numbers(pairs) for group, pairs in groups.items()}


def _numbers(value: JsonValue) -> dict[str, float]:
    try:
        return {_text(name): float.fromhex(_text(number)) for name, number in map(_pair, _items(value))}
    except ValueError as error:
        raise format_error(_WHERE, f"no number ({error})") from error


def _stream(value: JsonValue) -> int | str:
    if not isinstance(value, int | str):
        raise format_error(_WHERE, "no name of a stream")
    return value


def _pair(value: JsonValue) -> tuple[JsonValue, JsonValue]:
    items = _items(value)
    if len(items) != 2:
        raise format_error(_WHERE, "a pair was wanted")
    return items[0], items[1]


def _items(value: JsonValue) -> list[JsonValue]:
    if not isinstance(value, list):
        raise format_error(_WHERE, "an array was wanted")
    return value


def _text(value: JsonValue) -> str:
    if not isinstance(value, str):
        raise format_error(_WHERE, "text was wanted")
    return value
