"""Reader threads that fetch extents when they are wanted, and others in the background while nobody wants any.

    fetch(fetches)          wanted now: read before all else, in this order, in pieces, each by whoever is free
    fetch_later(fetches)    in the background
    wait_for(fetches)       until at least one of them is finished
    take_finished()         those that are, since the last call; each has its error, if there was one

A fetch ends in memory of its own (`target`), or where the file is mapped (None: `warm`). All methods are the
consumer's, which is one thread; errors are raised by nobody here, but kept with the fetch. Not covered: what the bytes
mean, and whose memory it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition, Lock, Thread
from time import perf_counter
from typing import TypeAlias

from pocketseek.errors import MemoryLimitError
from pocketseek.runtime.residency.expert_policies import Key
from pocketseek.runtime.residency.plan import BLOCK_BYTES, cut
from pocketseek.runtime.residency.read_mode import ReadMode
from pocketseek.runtime.residency.weight_files import WeightFiles

_Piece: TypeAlias = "tuple[Fetch, int, int]"  # offset in the chunk, bytes


@dataclass(eq=False)
class Fetch:
    """num_bytes at `offset` of a chunk. key, slot: the consumer's marks. target: begins at a block, has room for whole
    ones."""

    key: Key | None
    chunk: int
    offset: int
    num_bytes: int
    target: memoryview | None = None
    slot: int = 0
    is_started: bool = field(default=False, init=False)
    is_finished: bool = field(default=False, init=False)
    error: BaseException | None = field(default=None, init=False)
    num_left: int = field(default=0, init=False)  # pieces


class ExpertReader:
    """Threads live from the first fetch to `close`."""

    def __init__(self, files: WeightFiles, mode: ReadMode) -> None:
        self._files = files
        self._mode = mode
        self._lock = Lock()
        self._may_read = Condition(self._lock)
        self._has_read = Condition(self._lock)
        self._wanted: deque[_Piece] = deque()
        self._later: deque[Fetch] = deque()
        self._of_later: deque[_Piece] = deque()  # of a fetch that was begun in the background
        self._finished: list[Fetch] = []
        self._threads: list[Thread] = []
        self._num_busy = 0
        self._rests = False
        self._closing = False
        self.waited_s = 0.0  # of wait_for, in all
        self.read_bytes = 0  # in all

    def use_mode(self, mode: ReadMode) -> None:
        """From the next fetch on; threads that there are stay."""
        self._mode = mode

    @property
    def is_idle(self) -> bool:
        """Nothing is read, or waits to be."""
        return not (self._wanted or self._later or self._of_later or self._num_busy)

    @property
    def has_finished(self) -> bool:
        return bool(self._finished)

    # -- the consumer -----------------------------------------------------------------------------------------------

    def fetch(self, fetches: Collection[Fetch]) -> None:
        """Raises MemoryLimitError if the system refuses all threads."""
        with self._lock:
            for one in fetches:
                self._wanted.extend(self._pieces_of(one))
            self._start_threads()
            self._may_read.notify(len(self._wanted))

    def fetch_later(self, fetches: Iterable[Fetch], *, first: bool = False) -> None:
        """first: of what is read in the background. Raises MemoryLimitError if the system refuses all threads."""
        with self._lock:
            if first:
                self._later.extendleft(reversed(list(fetches)))
            else:
                self._later.extend(fetches)
            if self._later:
                self._start_threads()
            self._may_read.notify_all()

    def want(self, fetch: Fetch) -> None:
        """It is wanted now, and was asked for in the background."""
        with self._lock:
            if fetch.is_finished:
                return
            if fetch.is_started:
                mine = [piece for piece in self._of_later if piece[0] is fetch]
                for piece in mine:
                    self._of_later.remove(piece)
                self._wanted.extend(mine)
            else:
                self._later.remove(fetch)
                self._wanted.extend(self._pieces_of(fetch))
            self._may_read.notify_all()

    def give_up_last(self) -> Fetch | None:
        """The last of those in the background, if it has a key and was not begun; it is forgotten."""
        with self._lock:
            return self._later.pop() if self._later and self._later[-1].key is not None else None

    def wait_for(self, fetches: Iterable[Fetch]) -> None:
        """Until at least one of them is finished."""
        wanted = list(fetches)
        with self._lock:
            if any(one.is_finished for one in wanted):
                return
            start_s = perf_counter()
            while not any(one.is_finished for one in wanted):
                self._has_read.wait()
            self.waited_s += perf_counter() - start_s

    def take_finished(self) -> list[Fetch]:
        with self._lock:
            finished, self._finished = self._finished, []
            return finished

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """No reader works meanwhile, and all that was asked for is forgotten, finished or not."""
        with self._lock:
            self._rests = True
            while self._num_busy:
                self._has_read.wait()
            self._wanted.clear()
            self._later.clear()
            self._of_later.clear()
            self._finished.clear()
            try:
                yield
            finally:
                self._rests = False
                self._may_read.notify_all()

    def close(self) -> None:
        """Forgets what was asked for; may be repeated."""
        with self.at_rest():
            self._closing = True
        for thread in self._threads:
            thread.join()
        self._threads = []

    # -- the readers ------------------------------------------------------------------------------------------------

    def _start_threads(self) -> None:
        for number in range(len(self._threads), self._mode.num_readers):
            thread = Thread(target=self._live, name=f"pocketseek-reader-{number}", daemon=True)
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:
                if self._threads:
                    return
                self._wanted.clear()
                self._later.clear()
                raise MemoryLimitError(
                    "the system refuses a thread for reading weights; raise its limits for this process (ulimit -u, "
                    "-v) or close other programs"
                ) from error
            self._threads.append(thread)

    def _pieces_of(self, fetch: Fetch) -> Iterator[_Piece]:
        """Where the system reads ahead, one reader reads all of an extent: two would read ahead of each other."""
        fetch.is_started = True
        num_bytes = fetch.num_bytes if fetch.target is None else -(-fetch.num_bytes // BLOCK_BYTES) * BLOCK_BYTES
        grid_bytes = self._files.read_grid_bytes
        is_shared = self._files.is_direct or grid_bytes
        read_bytes = max(self._mode.read_bytes, grid_bytes) if is_shared else num_bytes
        pieces = list(cut(fetch.offset, num_bytes, read_bytes, grid_bytes))
        fetch.num_left = len(pieces)
        return ((fetch, offset, size) for offset, size in pieces)

    def _live(self) -> None:
        while (piece := self._take()) is not None:
            fetch, offset, size = piece
            error: BaseException | None = None
            if fetch.error is None:
                try:
                    self._read(fetch, offset, size)
                except BaseException as failure:  # noqa: BLE001  kept with the fetch, for who waits for it
                    error = failure
            self._done(fetch, size, error)

    def _read(self, fetch: Fetch, offset: int, size: int) -> None:
        if fetch.target is None:
            self._files.warm(fetch.chunk, offset, size)
        else:
            start = offset - fetch.offset
            self._files.read(fetch.chunk, offset, fetch.target[start : start + size])
            self._files.forget(fetch.chunk, offset, size)

    def _take(self) -> _Piece | None:
        """Wait for something to read; None when it is time to end."""
        with self._lock:
            while not self._closing:
                if not self._rests and (piece := self._next()) is not None:
                    self._num_busy += 1
                    return piece
                self._may_read.wait()
            return None

    def _next(self) -> _Piece | None:
        if self._wanted:
            return self._wanted.popleft()
        if not self._of_later and self._later:
            self._of_later.extend(self._pieces_of(self._later.popleft()))
        return self._of_later.popleft() if self._of_later else None

    def _done(self, fetch: Fetch, size: int, error: BaseException | None) -> None:
        with self._lock:
            self._num_busy -= 1
            if error is None:
                self.read_bytes += size
            elif fetch.error is None:
                fetch.error = error
            fetch.num_left -= 1
            if not fetch.num_left:
                fetch.is_finished = True
                self._finished.append(fetch)
            if fetch.is_finished or self._rests:
                self._has_read.notify_all()
