"""Typed reading of a checkpoint's settings (config.json or GGUF key-values); impossible values are FormatErrors.

A key that is missing or null counts as not given. Numbers are checked for range, so that later arithmetic on them
cannot overflow or divide by zero; true and false are not numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from pocketseek.convert.sources.byte_file import quoted
from pocketseek.errors import FormatError

_MAX_WHOLE = 2**26


class Fields:
    """One mapping of settings. where: how messages call it, e.g. "model/config.json"."""

    def __init__(self, where: str, values: Mapping[str, object]) -> None:
        self.where = where
        self._values = values

    def has(self, key: str) -> bool:
        return self._values.get(key) is not None

    def raw(self, key: str) -> object:
        return self._values.get(key)

    def whole(self, key: str, default: int | None = None, *, low: int = 1) -> int:
        """A whole number from `low` to 2**26; `default` if not given, and an error if there is no default."""
        value = self._given(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= _MAX_WHOLE:
            raise self._wrong(key, f"a whole number from {low} to {_MAX_WHOLE}")
        return value

    def number(self, key: str, default: float | None = None, *, low: float, high: float) -> float:
        value = self._given(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self._wrong(key, f"a number from {low:g} to {high:g}")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self._given(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        value = self._given(key, default)
        if not isinstance(value, str):
            raise self._wrong(key, "text")
        return value

    def texts(self, key: str) -> list[str]:
        """A list of texts; empty if not given."""
        value = self.raw(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise self._wrong(key, "a list of texts")
        return value

    def nested(self, key: str) -> Fields | None:
        """The object under `key`, or None if not given or empty."""
        value = self.raw(key)
        if value is None or value == {}:
            return None
        if not isinstance(value, dict):
            raise self._wrong(key, "an object")
        return Fields(f"{self.where}: {key}", value)

    def _given(self, key: str, default: object) -> object:
        value = self._values.get(key)
        if value is None:
            value = default
        if value is None:
            raise FormatError(f"{self.where} does not give {key}; get a complete checkpoint")
        return value

    def _wrong(self, key: str, wanted: str) -> FormatError:
        value = self._values.get(key)
        shown = repr(value) if isinstance(value, float) and math.isfinite(value) else quoted(str(value)[:100])
        return FormatError(f"{self.where}: {key} is {shown}, not {wanted}; get an undamaged checkpoint")
