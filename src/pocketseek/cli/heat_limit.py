"""Says that a temperature limit which somebody asked for cannot be kept, since no sensor tells how warm it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketseek.cli import messages
from pocketseek.cli.console import note
from pocketseek.cli.messages import Words

if TYPE_CHECKING:
    from pocketseek.runtime.engine import Engine


def tell_unwatched(engine: Engine, limit_c: float | None, words: Words) -> None:
    """limit_c: what --temperature-limit said; None and 0 ask for nothing. The default limit is left where it cannot be
    kept without a word: most computers show no sensor for it."""
    if limit_c and engine.thermal_status() is None:
        note(words(messages.HEAT_UNWATCHED, limit=f"{limit_c:g}"))
