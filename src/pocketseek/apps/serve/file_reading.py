"""Uploaded files are read one after the other, behind the requests: each parser may take memory and minutes.

The reader is the one of `pocketseek doc` (apps/doc/read.py: a process of its own, under limits). A file that is deleted
while it is read, or a server that ends, stops it at the next page; what was not read then is read when its folder is
opened next. What is sealed is decrypted into memory while it is read, one file at a time. A password is kept by nobody,
so that an encrypted file then waits for it.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from pocketseek.apps.doc.collections import FILE_ERRORS, add_file
from pocketseek.apps.doc.document import Document
from pocketseek.apps.doc.read import Progress, read_document, wants_password
from pocketseek.apps.doc.reading_mark import Extra
from pocketseek.apps.serve.kept_files import FileStore, KeptFile
from pocketseek.apps.serve.replies import RefusedError
from pocketseek.errors import PocketseekError

_log = logging.getLogger(__name__)
_UNFORESEEN = "the server failed to read it; its log says why"

Problem = PocketseekError | RefusedError


@dataclass(frozen=True)
class ReadWish:
    """How a file is to be read: as the arguments of `read_document`."""

    password: str | None = None
    comments: bool = False
    ocr: bool = False

    @property
    def extras(self) -> tuple[Extra, ...]:
        chosen: dict[Extra, bool] = {"comments": self.comments, "ocr": self.ocr}
        return tuple(extra for extra, is_wanted in chosen.items() if is_wanted)

    def read(self, path: Path, progress: Progress) -> Document:
        return read_document(path, password=self.password, comments=self.comments, ocr=self.ocr, progress=progress)


@dataclass(frozen=True)
class ReadShare:
    """num_done of num_parts pages or chapters."""

    num_done: int
    num_parts: int


class _StoppedError(Exception):
    """Nobody wants the text any more, or not now."""


class FileReading:
    """Any thread."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "pocketseek-reading")
        self._is_closed = Event()
        self._shares: dict[str, ReadShare] = {}

    def begin(self, store: FileStore, file: KeptFile, wish: ReadWish) -> Future[Problem | None]:
        """The result: why it could not be read, as the store has it then, too."""
        return self._executor.submit(self._read, store, file, wish)

    def share(self, file_id: str) -> ReadShare | None:
        """How far it is, while it is read."""
        return self._shares.get(file_id)

    def close(self) -> None:
        """Stops at the next page, and waits for that."""
        self._is_closed.set()
        self._executor.shutdown(cancel_futures=True)

    def _read(self, store: FileStore, file: KeptFile, wish: ReadWish) -> Problem | None:
        def see(num_done: int, num_parts: int) -> None:
            if self._is_closed.is_set() or not store.has(file.id):
                raise _StoppedError
            self._shares[file.id] = ReadShare(num_done, num_parts)

        def read(path: Path) -> Document:
            return _with_text(wish.read(path, see), file.name, wish)

        problem: Problem | None = None
        try:
            see(0, 0)
            with store.bytes.readable(store.path(file)) as path:
                add_file(store.documents, path, read, wish.extras)
        except _StoppedError:
            return None
        except RefusedError as error:
            problem = error
        except FILE_ERRORS as error:
            problem = _for_clients(error, store.path(file), file.name, wish)
        except Exception:
            _log.exception("reading an uploaded file")
            store.settle(file.id, _UNFORESEEN)
            raise
        finally:
            self._shares.pop(file.id, None)
        code = problem.code if isinstance(problem, RefusedError) else ""
        store.settle(file.id, "" if problem is None else str(problem), code)
        return problem


def _with_text(document: Document, name: str, wish: ReadWish) -> Document:
    """Raises RefusedError for pictures of pages and nothing else."""
    if document.blocks or not any(remark.code == "picture-page" for remark in document.remarks):
        return document
    if wish.ocr:
        raise RefusedError(422, f"nothing could be read in the pages of {name}; send a file with text", code="no_text")
    message = f"the pages of {name} are pictures; send ocr=true to have them read"
    raise RefusedError(422, message, code="only_pictures", param="ocr")


def _for_clients(error: PocketseekError, path: Path, name: str, wish: ReadWish) -> Problem:
    """By the name under which it was sent, and without the options of commands."""
    if not wants_password(error):
        return type(error)(str(error).replace(str(path), name))
    if wish.password is None:
        message, code = f"{name} is encrypted; send its password, too", "password_needed"
    else:
        message, code = f"{name} does not open with this password; send the right one", "password_wrong"
    return RefusedError(400, message, code=code, param="password")
