"""Writing to the terminal: plain text and JSON on standard output, progress on standard error.

Text of a model never reaches a terminal raw: control characters (escape sequences among them) could move the cursor or
change the title, and those that turn the direction of writing could show other words than there are. Into a file or a
pipe it goes unchanged.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from pocketseek.cli.word_wrap import WordWrap

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from rich.table import Table

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_COMMAND = re.compile("`[^`\n]+`")
_NO_END = "\ue000"  # stands for a space that does not end a line
_MEANING = re.compile(r"\S+(?: \S+)* {2,}")
_LEAST_COLUMNS = 12  # for what a word means, however narrow the terminal
_GAP = 2  # columns between a label and its value
_ANSWER_COLUMNS = 9  # of " [y/N]: " and a letter
_ANY_WIDTH = 10_000  # a terminal that everything fits
_DIM, _PLAIN = "\x1b[2m", "\x1b[22m"


class ShowProgress(Protocol):
    """Called as work goes on. total 0: unknown."""

    def __call__(self, label: str, done: int, total: int) -> None: ...


class PausableProgress(ShowProgress, Protocol):
    """paused: nothing is shown meanwhile, so that a person can be asked something."""

    def paused(self) -> AbstractContextManager[None]: ...


def print_json(value: Mapping[str, object]) -> None:
    """The one JSON object of a --json answer. ASCII only, so that it survives every locale."""
    print(json.dumps(value), flush=True)


def print_text(text: str) -> None:
    """Sentences; a terminal gets lines that end between words."""
    print_exact(wrapped(text) if sys.stdout.isatty() else text)


def print_exact(text: str) -> None:
    """What somebody may copy: a key, a command, JSON. No line ends in it but its own."""
    print(safe_text(text), flush=True)


def note(text: str) -> None:
    """A line for the person, not for the script that reads standard output. On a terminal it ends between words."""
    print(wrapped(_CONTROL.sub("\ufffd", text)) if sys.stderr.isatty() else text, file=sys.stderr, flush=True)


def note_list(text: str) -> None:
    """Lines of a word and what it means, two spaces or more between them: what does not fit goes on below its like."""
    if not sys.stderr.isatty():
        note(text)
        return
    from rich.cells import cell_len

    for line in text.splitlines():
        begin = match.end() if (match := _MEANING.match(line)) else 0
        indent = cell_len(line[:begin])
        width = max(_columns() - indent, _LEAST_COLUMNS)
        note(line[:begin] + f"\n{' ' * indent}".join(wrapped(line[begin:], width).splitlines()))


def _columns() -> int:
    return shutil.get_terminal_size().columns


def wrapped(text: str, width: int | None = None) -> str:
    """width: of the terminal unless it is given, in cells. A command between `...` stays on one line, to be copied."""
    wrap = WordWrap(width or _columns())
    whole = _COMMAND.sub(lambda command: command[0].replace(" ", _NO_END), text)
    return (wrap.push(whole) + wrap.flush()).replace(_NO_END, " ")


def end_in_a_line(text: str) -> str:
    """As much of the end of a text as one line of the terminal has room for; what is longer cannot be wiped again."""
    from rich.cells import cell_len

    text, room = text[-_columns() :], _columns() - 1
    while cell_len(text) > room:
        text = text[1:]
    return text


def is_interactive() -> bool:
    """Whether a person can be asked something."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str, *, default: bool = False) -> bool:
    """Ask a person at a terminal, on standard error. Its lines end between words, with room for the answer."""
    import typer

    shown = wrapped(question, max(_columns() - _ANSWER_COLUMNS, _LEAST_COLUMNS))
    return typer.confirm(shown, default=default, err=True)


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], essential: Sequence[int] = ()) -> None:
    """Columns on a terminal; tab-separated without headings otherwise.

    essential: columns that stay and are never cut; on a narrow terminal the others go, the last one first.
    """
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(row))
        return
    from rich.console import Console

    console = Console()
    shown = list(range(len(headings)))
    table = _table(headings, rows, shown)
    optional = [column for column in shown if essential and column not in essential]
    while optional and console.measure(table, options=console.options.update(width=_ANY_WIDTH)).maximum > console.width:
        shown.remove(optional.pop())
        table = _table(headings, rows, shown)
    console.print(table)


def print_indented(text: str) -> None:
    """Four columns in, as many lines as it needs on a terminal."""
    lines = wrapped(text, max(_columns() - 4, _LEAST_COLUMNS)) if sys.stdout.isatty() else text
    print_exact("\n".join(f"    {line}" for line in lines.splitlines()))


def print_facts(rows: Sequence[tuple[str, str] | tuple[str, str, str]]) -> None:
    """(label, value) or (label, value, remark): aligned on a terminal, the value over as many lines as it needs and the
    remark below it; tab-separated otherwise, one line each."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join("; ".join(text.splitlines()) for text in row))
        return
    from rich.console import Console

    Console().print(_grid(rows))


def watch_facts(rows: Callable[[], Sequence[tuple[str, str]]], *, every_s: float = 1.0) -> None:
    """Facts that are read anew every second until Ctrl-C; without a terminal one after the other, with a blank line
    between them."""
    with suppress(KeyboardInterrupt):
        if not sys.stdout.isatty():
            while True:
                print_facts(rows())
                print(flush=True)
                time.sleep(every_s)
        from rich.live import Live

        with Live(_grid(rows()), auto_refresh=False) as live:
            while True:
                time.sleep(every_s)
                live.update(_grid(rows()), refresh=True)


def _grid(rows: Sequence[tuple[str, str] | tuple[str, str, str]]) -> Table:
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, _GAP))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    longest_label = max((cell_len(safe_text(label)) for label, *_ in rows), default=0)
    width = max(_columns() - longest_label - _GAP, _LEAST_COLUMNS)
    for label, *texts in rows:
        value = Text("\n").join(  # wrapped here: the library would begin lines of Chinese with what closes
            Text(wrapped(safe_text(text), width), style="dim" if remark else "")
            for remark, text in enumerate(texts)
            if text
        )
        table.add_row(Text(safe_text(label), style="dim"), value)
    return table


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], shown: Sequence[int]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in shown:
        table.add_column(headings[column], overflow="fold")
    for row in rows:
        table.add_row(*(Text(safe_text(row[column])) for column in shown))
    return table


class AnswerPrinter:
    """Prints an answer as it comes, reasoning dimmed (on a terminal) or left out (elsewhere). On a terminal lines end
    between words, and waiting is shown until something comes: a long prompt is read for minutes."""

    def __init__(self, waiting: str = "") -> None:
        self._terminal = sys.stdout.isatty()
        self._wrap = WordWrap(_columns()) if self._terminal else None
        self._dimmed = False
        self._line_open = False
        self._is_waiting = bool(waiting) and self._terminal
        if self._is_waiting:
            sys.stdout.write(f"{_DIM}{waiting}{_PLAIN}")
            sys.stdout.flush()

    def write(self, text: str, reasoning: str) -> None:
        if reasoning and self._terminal:
            self._put(reasoning, dimmed=True)
        if text:
            self._put(text, dimmed=False)

    def end(self) -> None:
        """Close the line and the dimming, whatever state the answer stopped in."""
        sys.stdout.write(self._waited() + self._held_back())
        if self._dimmed:
            sys.stdout.write(_PLAIN)
            self._dimmed = False
        if self._line_open:
            sys.stdout.write("\n")
            self._line_open = False
        sys.stdout.flush()

    def _waited(self) -> str:
        """Wipes what was shown until now."""
        wipe, self._is_waiting = ("\r\x1b[K" if self._is_waiting else ""), False
        return wipe

    def _put(self, text: str, *, dimmed: bool) -> None:
        sys.stdout.write(self._waited())
        if dimmed != self._dimmed:
            sys.stdout.write(self._held_back())
            sys.stdout.write((_DIM if dimmed else _PLAIN + "\n\n") if self._terminal else "")
            self._dimmed = dimmed
        sys.stdout.write(safe_text(text) if self._wrap is None else self._wrap.push(safe_text(text)))
        sys.stdout.flush()
        self._line_open = not text.endswith("\n")

    def _held_back(self) -> str:
        """The word that might go on; what follows begins a line."""
        if self._wrap is None:
            return ""
        held, self._wrap = self._wrap.flush(), WordWrap(self._wrap.width)
        return held


@contextmanager
def progress_bar(unit: str = "bytes") -> Iterator[PausableProgress]:
    """A bar on standard error that follows (label, done, total); without a terminal one line per label.

    unit: "bytes", "transfer" (bytes with their speed), or the name of what is counted.

    Nothing is drawn before there is something to show: a bar that is drawn anew wipes the line that a question stands
    in. What asks later does so in `paused`.
    """
    if not sys.stderr.isatty():
        yield _LineProgress()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    amount = DownloadColumn() if unit in ("bytes", "transfer") else MofNCompleteColumn()
    speed = (TransferSpeedColumn(),) if unit == "transfer" else ()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, *speed, TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    bar = _BarProgress(progress)
    try:
        yield bar
    finally:
        bar.hide()


class _BarProgress:
    """On the terminal from the first call on. What other threads report during a question is not shown."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._shown: dict[str, TaskID] = {}
        self._is_paused = False
        self._lock = Lock()

    def __call__(self, label: str, done: int, total: int) -> None:
        with self._lock:
            if not self._is_paused:
                self._show(label, done, total)

    def hide(self) -> None:
        if self._progress.live.is_started:
            self._progress.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        with self._lock:
            self._is_paused = True
            self.hide()
        try:
            yield
        finally:
            self._is_paused = False

    def _show(self, label: str, done: int, total: int) -> None:
        if label not in self._shown:  # a bar of its own for every label, and none for work that needs no time
            for task in self._shown.values():
                self._progress.remove_task(task)
            self._shown = {label: self._progress.add_task(label, total=total or None)}
        self._progress.start()
        self._progress.update(self._shown[label], completed=done, total=total or None)


class _LineProgress:
    def __init__(self) -> None:
        self._label = ""

    def __call__(self, label: str, done: int, total: int) -> None:
        if label != self._label:
            self._label = label
            note(f"{label} ...")

    @contextmanager
    def paused(self) -> Iterator[None]:
        yield


def format_bytes(num_bytes: int | None, unknown: str = "?") -> str:
    """1234567 -> "1.2 MB" (decimal units, as storage is sold)."""
    if num_bytes is None:
        return unknown
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if num_bytes >= size:
            return f"{num_bytes / size:.1f} {unit}"
    return f"{num_bytes} bytes"


def safe_text(text: str) -> str:
    """As it may be written to standard output, which may be a terminal."""
    return _CONTROL.sub("\ufffd", text) if sys.stdout.isatty() else text
