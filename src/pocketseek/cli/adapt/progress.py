"""What `adapt train` and `adapt distill` show while they run: a bar, and lines between."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from pocketseek.cli.adapt import train_messages as says
from pocketseek.cli.console import ShowProgress, note, progress_bar
from pocketseek.cli.messages import Message, Words
from pocketseek.settings import Settings

if TYPE_CHECKING:
    from pocketseek.adapt.train_pace import Waiting


class StepBar:
    """One bar over steps. Close it with its ExitStack."""

    def __init__(self, words: Words, bars: ExitStack, *, quiet: bool) -> None:
        """quiet: no lines between, for --json."""
        self._words = words
        self._bars = bars
        self._quiet = quiet
        self._show: ShowProgress | None = None

    def show(self, label: Message, done: int, total: int) -> None:
        if self._show is None:
            self._show = self._bars.enter_context(progress_bar("layers"))
        self._show(self._words(label), done, total)

    def line(self, message: Message, **values: object) -> None:
        """Between the bars."""
        if self._quiet:
            return
        self._bars.close()
        self._show = None
        note(self._words(message, **values))

    def waits(self, waiting: Waiting | None) -> None:
        messages = {"charging": says.WAITING_CHARGING, "heat": says.WAITING_HEAT, None: says.GOES_ON}
        self.line(messages[waiting])


def num_threads_of(settings: Settings) -> int:
    """What a training computes with."""
    from pocketseek.device.probe import check_device
    from pocketseek.runtime.opening import num_cores

    return settings.num_threads or num_cores(check_device(data_dir=settings.home))
