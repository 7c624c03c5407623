"""Many files from one source, a few at a time, so that a kill at any moment costs what was on its way.

Each worker takes the next file, goes on with the part of it that is there (wanted.py), and hashes what arrives. Damaged
segments are fetched again, three times at most. The caller's thread reports progress and is told of each finished file;
the first error stops the others, which notice within a piece, and is raised when all have ended.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from threading import Event, Lock

from pocketseek.apps.repository.source import PackageSource
from pocketseek.apps.repository.wanted import Part, PartFile, WantedFile
from pocketseek.errors import DownloadError, NotFoundError
from pocketseek.package.storage import storage_errors

Progress = Callable[[int, int], None]  # bytes that are there, bytes in all
OpenPart = Callable[[WantedFile], Part]

_LOOK_S = 0.2


class _StoppedError(Exception):
    """Somebody else's error, or the user, ends it."""


class _Count:
    """Over all workers: bytes that are there, which falls when a segment turns out wrong, and bytes that arrived."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.num_bytes = 0
        self.arrived_bytes = 0

    def add(self, num_bytes: int) -> None:
        with self._lock:
            self.num_bytes += num_bytes

    def arrived(self, num_bytes: int) -> None:
        with self._lock:
            self.num_bytes += num_bytes
            self.arrived_bytes += num_bytes


def fetch_all(
    source: PackageSource,
    files: Sequence[WantedFile],
    *,
    num_connections: int = 4,
    progress: Progress | None = None,
    finished: Callable[[WantedFile], None] = lambda _: None,
    open_part: OpenPart = PartFile,
) -> int:
    """Have all files in place; returns how many bytes arrived. Raises DownloadError, StorageError; what arrived stays
    for the next time.

    open_part: how what arrives is kept. The source is closed if it does not end well, so that nobody waits for it.
    """
    total_bytes = sum(file.num_bytes for file in files)
    count, stop = _Count(), Event()
    with ThreadPoolExecutor(num_connections, thread_name_prefix="fetch") as pool:
        try:
            # The largest first, so that no large one is left for the end, alone.
            ordered = sorted(files, key=lambda file: -file.num_bytes)
            waiting = {pool.submit(_fetch, source, file, open_part, stop, count): file for file in ordered}
            while waiting:
                done, _ = wait(waiting, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
                _raise_first(done)
                if progress is not None:
                    progress(count.num_bytes, total_bytes)
                for future in done:
                    finished(waiting.pop(future))
        except BaseException:  # also Ctrl-C: the workers shall end, and it is raised again
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            source.close()
            raise
    return count.arrived_bytes


def _raise_first(done: set[Future[None]]) -> None:
    errors = [error for future in done if (error := future.exception()) is not None]
    for error in errors:
        if not isinstance(error, _StoppedError):
            raise error


def _fetch(source: PackageSource, wanted: WantedFile, open_part: OpenPart, stop: Event, count: _Count) -> None:
    with storage_errors(wanted.target):
        part = open_part(wanted)
    with part:
        kept = part.num_kept
        count.add(kept)
        while (offset := _next_offset(part, wanted)) is not None:
            _take(source, wanted, part, offset, stop, count)
            count.add(part.num_kept - kept)  # what was wrong is taken back
            kept = part.num_kept
        with storage_errors(wanted.target):
            part.finish()


def _next_offset(part: Part, wanted: WantedFile) -> int | None:
    with storage_errors(wanted.target):
        return part.next_offset()


def _take(source: PackageSource, wanted: WantedFile, part: Part, offset: int, stop: Event, count: _Count) -> None:
    """From `offset` on, until something is wrong or what follows is there."""
    taken_bytes = 0
    try:
        with closing(_generator(source, wanted, offset)) as pieces:
            for piece in pieces:
                if stop.is_set():
                    raise _StoppedError
                with storage_errors(wanted.target):
                    goes_on = part.write(piece)
                count.arrived(len(piece))
                taken_bytes += len(piece)
                if not goes_on:
                    break
    except NotFoundError as error:
        raise DownloadError(
            f"{source.name} has no {wanted.path}, which it said that it has; tell who publishes it"
        ) from error
    count.add(-taken_bytes)


def _generator(source: PackageSource, wanted: WantedFile, offset: int) -> Generator[bytes, None, None]:
    """Something that can be closed, whatever the source gives."""
    yield from source.stream(wanted.path, offset, wanted.num_bytes)
