"""Pages of pre-empted sequences on disk, so that they come back by reading instead of computing.

One unnamed temporary file for each sequence, which the system removes by itself when it is closed or the process dies.
It is the cheaper way nearly always: a page of a 1.5B model is 1.8 MB, some milliseconds of flash in each direction, and
a quarter of a second of computing. How fast the disk is here is learnt from every transfer.

A disk that refuses (full, read-only) costs the time to compute the pages again and nothing else. Used by one thread,
between passes.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pocketseek.package.storage import write_all
from pocketseek.runtime.work import PageMemory

_FIRST_BYTES_PER_S = 100e6  # until something was transferred: a slow phone
_LEARNING_RATE = 0.5

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Swapped:
    file: BinaryIO
    num_pages: int
    page_bytes: int


class SwapSpace:
    """Keeps pages by request id. Nothing is touched on disk before the first `put`."""

    def __init__(
        self,
        folder: Path,
        memory: PageMemory,
        *,
        limit_bytes: int | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """limit_bytes: of all pages together; None: what the disk holds."""
        self.num_failures = 0
        self._folder = folder
        self._memory = memory
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._swapped: dict[int, _Swapped] = {}
        self._bytes_per_s = _FIRST_BYTES_PER_S

    @property
    def num_bytes(self) -> int:
        return sum(swapped.num_pages * swapped.page_bytes for swapped in self._swapped.values())

    def seconds(self, pages: Sequence[int]) -> float:
        """How long it takes to write these pages and to read them again."""
        return 2 * self._bytes(pages) / self._bytes_per_s

    def put(self, request_id: int, pages: Sequence[int]) -> bool:
        """Write the pages, whose memory may then be used for something else. False if that cannot be."""
        num_bytes = self._bytes(pages)
        if not pages or (self._limit_bytes is not None and self.num_bytes + num_bytes > self._limit_bytes):
            return False
        start_s = self._clock()
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115  closed by `drop`
        except OSError as error:
            return self._failed(error)
        try:
            for page in pages:
                write_all(file.fileno(), self._memory.read_page(page))
        except OSError as error:
            file.close()
            return self._failed(error)
        self._learn(num_bytes, start_s)
        self._swapped[request_id] = _Swapped(file, len(pages), num_bytes // len(pages))
        return True

    def take(self, request_id: int, first: int, pages: Sequence[int]) -> bool:
        """Read what was the sequence's page `first` and those behind it into `pages`, and forget them all.

        False if that cannot be: then what is in `pages` is worth nothing.
        """
        swapped = self._swapped.get(request_id)
        if swapped is None or first + len(pages) != swapped.num_pages:
            self.drop(request_id)
            return False
        start_s = self._clock()
        buffer = bytearray(swapped.page_bytes)
        try:
            swapped.file.seek(first * swapped.page_bytes)
            for page in pages:
                _read_all(swapped.file, memoryview(buffer))
                self._memory.write_page(page, memoryview(buffer))
        except OSError as error:
            return self._failed(error)
        finally:
            self.drop(request_id)
        self._learn(len(pages) * swapped.page_bytes, start_s)
        return True

    def drop(self, request_id: int) -> None:
        """Forget the pages of a sequence; nothing happens if there are none."""
        swapped = self._swapped.pop(request_id, None)
        if swapped is not None:
            swapped.file.close()

    def close(self) -> None:
        for request_id in [*self._swapped]:
            self.drop(request_id)

    def _bytes(self, pages: Sequence[int]) -> int:
        return len(pages) * self._memory.read_page(pages[0]).nbytes if pages else 0

    def _learn(self, num_bytes: int, start_s: float) -> None:
        seconds = self._clock() - start_s
        if num_bytes and seconds > 0:
            self._bytes_per_s += _LEARNING_RATE * (num_bytes / seconds - self._bytes_per_s)

    def _failed(self, error: OSError) -> bool:
        if self.num_failures == 0:
            _log.info("the swap space %s cannot be used: %s", self._folder, error)
        self.num_failures += 1
        return False


def _read_all(file: BinaryIO, into: memoryview) -> None:
    while into:
        count = os.readv(file.fileno(), [into])
        if count == 0:
            raise OSError("the file of swapped pages is too short")
        into = into[count:]
