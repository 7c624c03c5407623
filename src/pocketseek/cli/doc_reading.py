"""How `doc add|ask|summarize` read files: the options that decide it, and the pages shown while it goes on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import doc_library_messages as said
from pocketseek.cli.console import ShowProgress, progress_bar
from pocketseek.cli.messages import Words

if TYPE_CHECKING:
    from pocketseek.apps.doc.document import Document
    from pocketseek.apps.doc.reading_mark import Extra

Password = Annotated[str | None, typer.Option("--password", help="Of an encrypted PDF.", show_default=False)]
Comments = Annotated[bool, typer.Option("--comments", help="Also read the comments of a DOCX.")]
Ocr = Annotated[
    bool, typer.Option("--ocr", help="Read pages that are pictures, by the program tesseract where it is installed.")
]


class FileReader:
    """Reads files, and shows which one and how far. extras: what it reads besides the text."""

    def __init__(
        self,
        words: Words,
        show: ShowProgress,
        *,
        password: str | None = None,
        comments: bool = False,
        ocr: bool = False,
    ) -> None:
        self._words = words
        self._show = show
        self._password = password
        self._comments = comments
        self._ocr = ocr
        self._label = words(said.READING)
        chosen: dict[Extra, bool] = {"comments": comments, "ocr": ocr}
        self.extras = tuple(extra for extra, is_wanted in chosen.items() if is_wanted)

    def begin(self, path: Path, done: int, total: int) -> None:
        """A file of several comes next. On a terminal only: elsewhere each would be a line."""
        if sys.stderr.isatty() and total > 1:
            self._label = self._words(said.READING_FILE, number=done + 1, total=total)
        self._show(self._label, 0, 0)

    def __call__(self, path: Path) -> Document:
        from pocketseek.apps.doc.read import read_document

        return read_document(
            path, password=self._password, comments=self._comments, ocr=self._ocr, progress=self._see_page
        )

    def _see_page(self, done: int, total: int) -> None:
        self._show(self._label, done, total)


@contextmanager
def file_reader(
    words: Words, *, password: str | None = None, comments: bool = False, ocr: bool = False, quiet: bool = False
) -> Iterator[FileReader]:
    """The bar goes when the context ends. quiet: show nothing without a terminal."""
    with ExitStack() as stack:
        is_shown = sys.stderr.isatty() or not quiet
        show = stack.enter_context(progress_bar(unit="pages")) if is_shown else _show_nothing
        yield FileReader(words, show, password=password, comments=comments, ocr=ocr)


def _show_nothing(label: str, done: int, total: int) -> None:
    pass
