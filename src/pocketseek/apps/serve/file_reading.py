"""Uploaded files are read one after the other, behind the requests: each parser may take memory and minutes.

The reader is the one of `pocketseek doc` (apps/doc/read.py: a process of its own, under limits). A file that is deleted
while it is read, or a server that ends, stops it at the next page; what was not read then is read when its folder is
opened next.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

from pocketseek.apps.doc.collections import FILE_ERRORS, add_file
from pocketseek.apps.doc.read import read_document
from pocketseek.apps.serve.kept_files import FileStore, KeptFile
from pocketseek.errors import PocketseekError

_log = logging.getLogger(__name__)
_UNFORESEEN = "the server failed to read it; its log says why"


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

    def begin(self, store: FileStore, file: KeptFile, password: str | None = None) -> Future[PocketseekError | None]:
        """The result: why it could not be read, as the store has it then, too."""
        return self._executor.submit(self._read, store, file, password)

    def share(self, file_id: str) -> ReadShare | None:
        """How far it is, while it is read."""
        return self._shares.get(file_id)

    def close(self) -> None:
        """Stops at the next page, and waits for that."""
        self._is_closed.set()
        self._executor.shutdown(cancel_futures=True)

    def _read(self, store: FileStore, file: KeptFile, password: str | None) -> PocketseekError | None:
        def see(num_done: int, num_parts: int) -> None:
            if self._is_closed.is_set() or not store.has(file.id):
                raise _StoppedError
            self._shares[file.id] = ReadShare(num_done, num_parts)

        problem: PocketseekError | None = None
        try:
            see(0, 0)
            add_file(
                store.documents, store.path(file), lambda path: read_document(path, password=password, progress=see)
            )
        except _StoppedError:
            return None
        except FILE_ERRORS as error:
            problem = type(error)(str(error).replace(str(store.path(file)), file.name))
        except Exception:
            _log.exception("reading an uploaded file")
            store.settle(file.id, _UNFORESEEN)
            raise
        finally:
            self._shares.pop(file.id, None)
        store.settle(file.id, "" if problem is None else str(problem))
        return problem
