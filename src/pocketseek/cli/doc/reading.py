"""How `doc add|ask|summarize` read files: the options that decide it, passwords, and the pages shown meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli.console import ShowProgress, is_interactive, progress_bar
from pocketseek.cli.doc import library_messages as said
from pocketseek.cli.messages import Words
from pocketseek.errors import UsageError

if TYPE_CHECKING:
    from pocketseek.apps.doc.document import Document
    from pocketseek.apps.doc.reading_mark import Extra

Password = Annotated[str | None, typer.Option("--password", help="Of an encrypted PDF.", show_default=False)]
Comments = Annotated[bool, typer.Option("--comments", help="Also read the comments of a DOCX.")]
Ocr = Annotated[
    bool, typer.Option("--ocr", help="Read pages that are pictures, by the program tesseract where it is installed.")
]


class FileReader:
    """Reads files, and shows which one and how far. On a terminal it asks for passwords, until they are right or none
    is given. extras: what it reads besides the text. Whoever made it closes it."""

    def __init__(
        self,
        words: Words,
        *,
        password: str | None = None,
        comments: bool = False,
        ocr: bool = False,
        is_shown: bool = True,
    ) -> None:
        self._words = words
        self._password = password
        self._comments = comments
        self._ocr = ocr
        self._is_shown = is_shown
        self._label = words(said.READING)
        self._bar = ExitStack()
        self._show: ShowProgress | None = None
        chosen: dict[Extra, bool] = {"comments": comments, "ocr": ocr}
        self.extras = tuple(extra for extra, is_wanted in chosen.items() if is_wanted)

    def close(self) -> None:
        """The bar goes, until more is read."""
        self._bar.close()
        self._show = None

    def begin(self, path: Path, done: int, total: int) -> None:
        """A file of several comes next. On a terminal only: elsewhere each would be a line."""
        if sys.stderr.isatty() and total > 1:
            self._label = self._words(said.READING_FILE, number=done + 1, total=total)
        self._see_page(0, 0)

    def __call__(self, path: Path) -> Document:
        from pocketseek.apps.doc.read import wants_password

        while True:
            try:
                return self._read(path)
            except UsageError as error:
                if not wants_password(error) or not is_interactive():
                    raise
                if not (password := self._asked_password(path)):
                    raise
                self._password = password

    def _read(self, path: Path) -> Document:
        from pocketseek.apps.doc.read import read_document

        return read_document(
            path, password=self._password, comments=self._comments, ocr=self._ocr, progress=self._see_page
        )

    def _asked_password(self, path: Path) -> str:
        self.close()  # it would be written over
        message = said.ASK_PASSWORD if self._password is None else said.ASK_PASSWORD_AGAIN
        question = self._words(message, file=path.name)
        given: str = typer.prompt(question, default="", hide_input=True, show_default=False, err=True)
        return given

    def _see_page(self, done: int, total: int) -> None:
        if not self._is_shown:
            return
        if self._show is None:
            self._show = self._bar.enter_context(progress_bar(unit="pages"))
        self._show(self._label, done, total)


@contextmanager
def file_reader(
    words: Words, *, password: str | None = None, comments: bool = False, ocr: bool = False, quiet: bool = False
) -> Iterator[FileReader]:
    """quiet: show nothing without a terminal."""
    is_shown = sys.stderr.isatty() or not quiet
    with closing(FileReader(words, password=password, comments=comments, ocr=ocr, is_shown=is_shown)) as reader:
        yield reader
