"""A fact with the place it was read, and the list of such places that a probe leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Known(Generic[T]):
    """source: a file, `getprop NAME`, a call, or "chip table: ID"."""

    value: T
    source: str


@dataclass
class SourceBook:
    """`keep` hands the value on and notes where it came from; what is unknown has no source."""

    sources: dict[str, str] = field(default_factory=dict)

    def keep(self, name: str, found: Known[T] | None) -> T | None:
        return self.note(name, found.value, found.source) if found is not None else None

    def note(self, name: str, value: T, source: str) -> T:
        if value is not None:
            self.sources[name] = source
        return value
