"""JSON that someone else wrote, read without trust.

`load_object` gives the top object of a document or raises FormatError in one line: wrong UTF-8, syntax, duplicate
keys, NaN, Infinity or numbers outside 64 bits, too many values, nesting deeper than the interpreter's stack. `Fields`
then takes typed values out of an object: exact key sets, bool is never an int, numbers in a stated range. `check_free`
is for the parts whose shape is not ours (recipe, quality, provenance): at most MAX_FREE_DEPTH levels, encodable text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from pocketseek.errors import FormatError

JsonValue: TypeAlias = "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"

MAX_FREE_DEPTH = 32
MAX_CONTAINERS = 1_000_000  # objects and arrays: bounds the memory that a hostile document can make us use
MAX_VALUES = 8_000_000
_MAX_INTEGER = 2**63 - 1
_REMEDY = "it is damaged or was not written by pocketseek: convert or download the model again"


def format_error(where: str, problem: str) -> FormatError:
    """One line: where, what, remedy."""
    return FormatError(f"{where}: {problem}; {_REMEDY}")


def load_object(data: bytes, where: str, *, max_bytes: int) -> dict[str, JsonValue]:
    """The object that `data` holds. Raises FormatError, whatever the bytes are."""
    if len(data) > max_bytes:
        raise format_error(where, f"{len(data)} bytes, more than the {max_bytes} allowed")
    if data.count(b"[") + data.count(b"{") > MAX_CONTAINERS or data.count(b",") > MAX_VALUES:
        raise format_error(where, "too many values")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_int=_integer,
            parse_float=_finite,
            parse_constant=_no_constant,
        )
    except RecursionError as error:
        raise format_error(where, "nested too deeply") from error
    except ValueError as error:  # syntax, UTF-8, and what the hooks below refuse
        raise format_error(where, f"not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise format_error(where, f"the top is {_kind(value)}, not an object")
    return value


def check_free(value: JsonValue, where: str, depth: int = 0) -> None:
    """Refuse deep nesting and text that cannot be encoded (lone surrogates). Raises FormatError."""
    if depth > MAX_FREE_DEPTH:
        raise format_error(where, f"nested deeper than {MAX_FREE_DEPTH} levels")
    if isinstance(value, str):
        _check_encodable(value, where)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _check_encodable(key, where)
            check_free(item, where, depth + 1)
    elif isinstance(value, Sequence):
        for item in value:
            check_free(item, where, depth + 1)


class Fields:
    """One JSON object with a fixed set of keys. Every method raises FormatError that names the field."""

    def __init__(
        self, value: JsonValue, where: str, required: frozenset[str], optional: frozenset[str] = frozenset()
    ) -> None:
        if not isinstance(value, Mapping):
            raise format_error(where, f"{_kind(value)}, not an object")
        if missing := required - value.keys():
            raise format_error(where, f"lacks {min(missing)!r}")
        if unknown := value.keys() - required - optional:
            raise format_error(where, f"has the unknown field {min(unknown)[:80]!r}")
        self._values = value
        self.where = where

    def has(self, name: str) -> bool:
        return name in self._values

    def raw(self, name: str) -> JsonValue:
        return self._values[name]

    def text(self, name: str, pattern: re.Pattern[str]) -> str:
        value = self._values[name]
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise format_error(f"{self.where}.{name}", f"{_shown(value)} is not allowed")
        return value

    def flag(self, name: str) -> bool:
        value = self._values[name]
        if not isinstance(value, bool):
            raise format_error(f"{self.where}.{name}", f"{_shown(value)} is not true or false")
        return value

    def integer(self, name: str, low: int, high: int) -> int:
        return as_integer(self._values[name], f"{self.where}.{name}", low, high)

    def number(self, name: str, low: float, high: float) -> float:
        value = self._values[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise format_error(f"{self.where}.{name}", f"{_shown(value)} is not a number from {low:g} to {high:g}")
        return float(value)

    def items(self, name: str) -> Sequence[JsonValue]:
        value = self._values[name]
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise format_error(f"{self.where}.{name}", f"{_kind(value)}, not an array")
        return value

    def mapping(self, name: str) -> Mapping[str, JsonValue]:
        value = self._values[name]
        if not isinstance(value, Mapping):
            raise format_error(f"{self.where}.{name}", f"{_kind(value)}, not an object")
        return value

    def free_mapping(self, name: str) -> Mapping[str, JsonValue]:
        value = self.mapping(name)
        check_free(value, f"{self.where}.{name}")
        return value


def as_integer(value: JsonValue, where: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise format_error(where, f"{_shown(value)} is not a whole number from {low} to {high}")
    return value


def _unique_keys(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:80]!r} appears twice")
        found[key] = value
    return found


def _integer(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) > _MAX_INTEGER:  # length first: int() of a long string is slow
        raise ValueError("a whole number outside 64 bits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number too large")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _check_encodable(text: str, where: str) -> None:
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise format_error(where, "text with an unpaired surrogate")


def _kind(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _shown(value: JsonValue) -> str:
    """Short and on one line whatever the value is."""
    return repr(value)[:80] if isinstance(value, str | int | float) or value is None else _kind(value)
