"""How far a summary is, on standard error: a bar with the time left, or without a terminal a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from pocketseek.apps.doc.summary_events import Progress, seconds_left
from pocketseek.cli.console import note
from pocketseek.cli.doc import doc_messages
from pocketseek.cli.messages import Words

LINE_EVERY_S = 10.0

_PHASES = {
    "notes": doc_messages.PHASE_NOTES,
    "merge": doc_messages.PHASE_MERGE,
    "summary": doc_messages.PHASE_SUMMARY,
}


class ShowsProgress(Protocol):
    def __call__(self, progress: Progress) -> None: ...


def label(progress: Progress, elapsed_s: float, words: Words) -> str:
    """ "notes on 3 of 12 chunks, about 2 min left"."""
    phase = words(_PHASES[progress.phase], done=progress.done, total=progress.total)
    left_s = seconds_left(progress.share, elapsed_s)
    if left_s is None:
        return phase
    if left_s < 90:
        return words(doc_messages.SECONDS_LEFT, phase=phase, count=max(1, round(left_s)))
    return words(doc_messages.MINUTES_LEFT, phase=phase, count=round(left_s / 60))


@contextmanager
def summary_progress(words: Words, *, quiet: bool) -> Iterator[ShowsProgress]:
    """quiet: show nothing without a terminal. Whatever is shown goes when the context ends."""
    if not sys.stderr.isatty():
        yield _ignore if quiet else LineProgress(words)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bar

    start_s = time.monotonic()
    with Bar(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), console=Console(stderr=True),
             transient=True) as bar:  # fmt: skip
        task = bar.add_task("", total=1.0)

        def show(progress: Progress) -> None:
            bar.update(task, completed=progress.share, description=label(progress, time.monotonic() - start_s, words))

        yield show


class LineProgress:
    """A line when a phase begins or ends, and every LINE_EVERY_S in between."""

    def __init__(self, words: Words, clock: Callable[[], float] = time.monotonic) -> None:
        self._words = words
        self._clock = clock
        self._start_s = self._next_s = clock()
        self._shown = ""

    def __call__(self, progress: Progress) -> None:
        now_s = self._clock()
        if now_s < self._next_s and progress.done not in (0, progress.total):
            return
        line = label(progress, now_s - self._start_s, self._words)
        state = f"{progress.phase} {progress.done}"
        if now_s >= self._next_s or state != self._shown:
            self._next_s, self._shown = now_s + LINE_EVERY_S, state
            note(line)


def _ignore(progress: Progress) -> None:
    pass
