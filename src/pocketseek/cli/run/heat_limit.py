"""Says once that a temperature limit is without effect, since nothing that can be read stands for the skin.

Where nobody asked for a limit that is said on Android only: most computers have no such sensor and no skin.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pocketseek.cli.console import note
from pocketseek.cli.messages import Message, Words
from pocketseek.cli.run import heat_messages as says
from pocketseek.device.system import has_termux_api

if TYPE_CHECKING:
    from pocketseek.govern.thermal_governor import ThermalStatus
    from pocketseek.runtime.engine import Engine

_ROOT = Path("/")


class LimitNote:
    """Of one command. On Android it is not known at once: some programs are slow to say that they know nothing."""

    def __init__(self, words: Words, root: Path = _ROOT) -> None:
        self._words = words
        self._root = root
        self._is_told = False
        self._engine: Engine | None = None

    def watch(self, engine: Engine) -> Engine:
        """The same engine; for those who have nobody else to look at it."""
        self._engine = engine
        self.look()
        return engine

    def look(self) -> None:
        """At the engine that was given last; it may be closed."""
        if self._engine is not None:
            self.see(self._engine.thermal_status())

    def see(self, status: ThermalStatus | None) -> None:
        if status is None or status.holds_limit or self._is_told:
            return
        self._is_told = True
        message = says.HEAT_UNHELD if status.chip_c is None else says.HEAT_UNHELD_CHIP
        text = self._words(message, limit=f"{status.set_point_c:g}", chip_limit=f"{status.chip_limit_c:g}")
        note(f"{text} {self._words(remedy(self._root))}")


def remedy(root: Path = _ROOT) -> Message:
    """For a device on which nothing that can be read stands for the skin."""
    return {False: says.HEAT_UNHELD_TERMUX, True: says.HEAT_UNHELD_SILENT, None: says.HEAT_UNHELD_SENSORS}[
        has_termux_api(root)
    ]
