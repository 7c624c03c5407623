"""Sound that is being made, as an iterator whose work can be stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pocketseek.apps.voice.contract import Samples


@contextmanager
def stopping(sounds: Iterator[Samples]) -> Iterator[Iterator[Samples]]:
    """Generators are closed at the end, which stops their work; a plain iterator has nothing to stop."""
    try:
        yield sounds
    finally:
        if (close := getattr(sounds, "close", None)) is not None:
            close()
