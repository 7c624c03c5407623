"""Typed values out of one object of the chip table. Whatever is not as expected raises TableError."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

JsonValue: TypeAlias = "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"


class TableError(ValueError):
    """The table that came with the program is damaged. No remedy but to install it again."""


class ChipFields:
    def __init__(self, value: JsonValue, where: str) -> None:
        if not isinstance(value, Mapping):
            raise TableError(f"{where}: not an object")
        self._values, self.where = value, where

    def named(self, where: str) -> ChipFields:
        return ChipFields(self._values, where)

    def expect(self, *names: str) -> None:
        """Exactly these keys."""
        if set(self._values) != set(names):
            raise TableError(f"{self.where}: keys {sorted(set(self._values) ^ set(names))} are missing or unknown")

    def text(self, name: str) -> str:
        value = self._values[name]
        if not isinstance(value, str) or not value.strip():
            raise TableError(f"{self.where}: {name} is no text")
        return value

    def maybe_text(self, name: str, allowed: Sequence[str] | None = None) -> str | None:
        if self._values[name] is None:
            return None
        value = self.text(name)
        if allowed is not None and value not in allowed:
            raise TableError(f"{self.where}: {name} is none of {', '.join(allowed)}")
        return value

    def whole(self, name: str, low: int, high: int) -> int:
        value = self._values[name]
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise TableError(f"{self.where}: {name} is no whole number from {low} to {high}")
        return value

    def maybe_whole(self, name: str, low: int, high: int) -> int | None:
        return None if self._values[name] is None else self.whole(name, low, high)

    def array(self, name: str) -> Sequence[JsonValue]:
        value = self._values[name]
        if not isinstance(value, list) or not value:
            raise TableError(f"{self.where}: {name} is no list, or an empty one")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(ChipFields({name: value}, self.where).text(name) for value in self.array(name))

    def object(self, name: str) -> Mapping[str, JsonValue]:
        value = self._values[name]
        if not isinstance(value, Mapping):
            raise TableError(f"{self.where}: {name} is no object")
        return value
