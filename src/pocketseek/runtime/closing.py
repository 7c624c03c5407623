"""Closing several things, all of them: clocks are put back even though a file cannot be written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Closeable(Protocol):
    def close(self) -> None: ...


def close_all(parts: Iterable[Closeable]) -> None:
    """In order. Raises what the last one raised that failed, when all were asked; the failures before are its
    context."""
    rest = tuple(parts)
    if rest:
        try:
            rest[0].close()
        finally:
            close_all(rest[1:])
