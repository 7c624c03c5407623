"""Reader threads that keep a ring of buffers ahead of the pass, and warm what is to stay in memory.

    install(slots, ring_bytes, to_warm)     between passes: a new plan; what was read ahead is forgotten
    begin_pass(num_needed)                  the pass needs the first num_needed slots; the others are not read
    acquire(k) ... release(k)               for k = 0 .. num_needed - 1 in order; memory(k) is valid in between
    end_pass()                              or abandon(), if the pass failed

The slots are shared out in *turns* (`turns_of`): a reader reads one from its beginning to its end and takes the next,
in the order of use and on behind the end of a pass with the beginning of the next, until the ring is full: storage
rests only then. What is to be warmed is read when the ring is full, or when a pass needs it first. An error of a
reader, of whatever kind, is raised by the `acquire` that waits for its bytes; after `abandon` everything is read again.
The ring is one piece of anonymous memory, and `install` without slots gives it back.

All methods are the consumer's, which is one thread. Not covered: what the bytes mean.
"""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Condition, Lock, Thread
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import MemoryLimitError
from pocketseek.package.sealing.secret_memory import guard
from pocketseek.runtime.residency.plan import FileRange, Slot, cut

Read = Callable[[int, int, memoryview], None]
Warm = Callable[[int, int, int], None]
Forget = Callable[[int, int, int], None]


@dataclass(frozen=True)
class WarmRange:
    """Bytes of a chunk to be read into the page cache; unit: index of the unit that needs them."""

    unit: int
    chunk: int
    offset: int
    num_bytes: int


@dataclass(frozen=True)
class _Task:
    slot: int | None  # None: to be warmed
    chunk: int
    offset: int
    num_bytes: int
    position: int
    pass_number: int = 0


@dataclass
class _Lane:
    """Where a reader is: the next slot of its turn, which ends before `end`, and the next read of that slot."""

    pass_number: int = 0
    slot: int = 0
    end: int = 0
    read: int = 0

    @property
    def is_done(self) -> bool:
        return self.slot == self.end


class Streamer:
    """read(chunk, offset, buffer) and warm(chunk, offset, num_bytes) are called by the readers; and, when a slot was
    read, forget(chunk, offset, num_bytes) for what it leaves behind."""

    def __init__(
        self,
        read: Read,
        warm: Warm,
        forget: Forget,
        *,
        num_readers: int,
        read_bytes: int,
        grid_bytes: int = 0,
        is_secret: bool = False,
    ) -> None:
        """read_bytes: most bytes of one read. grid_bytes: reads that are cut end at multiples of it in the file, and
        read_bytes is one (0: anywhere). is_secret: what is read is in no core dump and, if the system lets us, not in
        swap. num_readers, read_bytes and turn_bytes may be changed; it takes effect with the next `install`."""
        self.num_readers = num_readers
        self.bytes_per_read = read_bytes
        self.turn_bytes = 0
        """Slots that lie behind each other in a file are one turn up to so many bytes; one slot alone is so, too."""
        self._grid_bytes = grid_bytes
        self._is_secret = is_secret
        self._read = read
        self._warm = warm
        self._forget = forget
        self._lock = Lock()
        self._may_read = Condition(self._lock)
        self._has_read = Condition(self._lock)
        self._threads: list[Thread] = []
        self._closing = False
        self._slots: tuple[Slot, ...] = ()
        self._tasks: list[list[_Task]] = []  # of each slot
        self._turns: list[tuple[int, int]] = []  # first slot and behind the last
        self._lanes: list[_Lane] = []  # of each thread
        self._left_behind: list[Sequence[tuple[int, int, int]]] = []  # by each slot
        self._to_warm: deque[_Task] = deque()
        self._warm_units: deque[int] = deque()  # beside it
        self._ring: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._view = memoryview(b"")
        self._num_busy = 0  # readers at work
        self._num_warming = 0  # of them
        self._error: BaseException | None = None
        self.waited_s = 0.0  # of acquire, in all
        self.read_bytes = 0  # into the ring, in all
        self._restart()

    def _restart(self) -> None:
        count = len(self._slots)
        self._pass = 0
        self._num_needed = count  # in the present pass
        self._released = 0  # slots, over all passes
        self._next_pass, self._next_turn = 0, 0
        self._lanes = [_Lane() for _ in self._threads]
        self._left = [0] * count  # reads under way or to come
        self._loaded = [-1] * count  # the last pass whose bytes are there
        self._is_passing = False

    # -- the consumer -----------------------------------------------------------------------------------------------

    @property
    def ring(self) -> NDArray[np.uint8]:
        """The whole ring; slots say where in it they are."""
        return self._ring

    @property
    def is_warm(self) -> bool:
        """Nothing is left to be warmed."""
        return not self._to_warm and not self._num_warming

    def install(self, slots: Sequence[Slot], ring_bytes: int, to_warm: Iterable[WarmRange]) -> None:
        """Raises MemoryLimitError, and streams nothing, if the system refuses the ring or any reader."""
        with self._lock:
            self._stop_readers()
            self._slots = ()
            self._to_warm.clear()
            self._warm_units.clear()
            self._restart()
        if ring_bytes != len(self._ring):
            self._set_ring(ring_bytes)
        with self._lock:
            has_readers = not ring_bytes or self._start_readers()
        if not has_readers:
            self._set_ring(0)
            raise MemoryLimitError(
                "the system refuses a thread for reading weights; raise its limits for this process (ulimit -u, -v) "
                "or close other programs"
            )
        with self._lock:
            self._slots = tuple(slots)
            self._tasks = [list(self._reads_of(index, slot.ranges)) for index, slot in enumerate(slots)]
            self._left_behind = [slot.left_behind for slot in slots]
            self._turns = list(turns_of(slots, self.turn_bytes))
            self._restart()
            self._add_to_warm(to_warm)

    def wait_until_warm(self) -> None:
        """Until nothing is left to be warmed, whether that succeeded or not."""
        with self._lock:
            while self._to_warm or self._num_warming:
                self._has_read.wait()

    def warm(self, ranges: Iterable[WarmRange]) -> None:
        """Have more warmed."""
        with self._lock:
            self._add_to_warm(ranges)

    def _add_to_warm(self, ranges: Iterable[WarmRange]) -> None:
        for part in ranges:
            for offset, size in cut(part.offset, part.num_bytes, self.bytes_per_read, self._grid_bytes):
                self._to_warm.append(_Task(None, part.chunk, offset, size, 0))
                self._warm_units.append(part.unit)
        if (self._slots or self._to_warm) and not self._start_readers():  # nothing is warmed then, and nothing is lost
            self._to_warm.clear()
            self._warm_units.clear()
        self._may_read.notify_all()

    def _start_readers(self) -> bool:
        """As many as are wanted, or as the system lets us have; False if it lets us have none."""
        for number in range(len(self._threads), self.num_readers):
            thread = Thread(target=self._live, args=(number,), name=f"pocketseek-reader-{number}", daemon=True)
            self._lanes.append(_Lane())
            try:
                thread.start()
            except (RuntimeError, MemoryError):
                self._lanes.pop()
                break
            self._threads.append(thread)
        return bool(self._threads) or not self.num_readers

    def begin_pass(self, num_needed: int) -> None:
        with self._lock:
            self._is_passing = True
            self._num_needed = num_needed
            self._may_read.notify_all()

    def acquire(self, index: int) -> None:
        """Wait for the bytes of a slot. Raises what the reader met, StorageError or IntegrityError; then `abandon`."""
        with self._lock:
            if self._loaded[index] == self._pass:
                return
            start_s = perf_counter()
            while self._loaded[index] != self._pass and self._error is None:
                self._has_read.wait()
            self.waited_s += perf_counter() - start_s
            if self._loaded[index] != self._pass and self._error is not None:
                raise self._error

    def release(self, index: int) -> None:
        with self._lock:
            self._released = self._pass * len(self._slots) + index + 1
            self._may_read.notify_all()  # each waits for a place of its own

    def end_pass(self) -> None:
        """Slots that were not needed are free as well, once no read into them is under way."""
        with self._lock:
            first = self._num_needed
            while self._error is None and any(self._left[index] for index in range(first, len(self._slots))):
                self._has_read.wait()
            self._pass += 1
            self._released = self._pass * len(self._slots)
            self._num_needed = len(self._slots)
            self._is_passing = False
            self._may_read.notify_all()

    def abandon(self) -> None:
        """Forget what was read, once no reader works any more, and begin again."""
        with self.at_rest():
            pass

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """No reader works meanwhile; then what was read is forgotten, and they begin again."""
        with self._lock:
            self._stop_readers()
            yield
            self._error = None
            self._restart()
            self._may_read.notify_all()

    def close(self) -> None:
        """Raises nothing; the ring is gone afterwards, unless views of it are still held."""
        with self._lock:
            self._stop_readers()
            self._closing = True
            self._may_read.notify_all()
        for thread in self._threads:
            thread.join()
        self._threads = []
        self._slots, self._tasks = (), []
        self._to_warm.clear()
        self._warm_units.clear()
        self._set_ring(0)

    def _stop_readers(self) -> None:
        """None works and none begins, until somebody notifies them. With the lock held."""
        slots, self._slots = self._slots, ()
        warm, self._to_warm = self._to_warm, deque()
        while self._num_busy:
            self._has_read.wait()
        self._slots, self._to_warm = slots, warm

    def _set_ring(self, num_bytes: int) -> None:
        self._view = memoryview(b"")
        self._ring = np.empty(0, np.uint8)
        if not num_bytes:
            return
        try:
            ring = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except (OSError, MemoryError) as error:
            raise MemoryLimitError(
                f"{num_bytes} bytes for streaming weights are refused by the system; "
                "raise its limit for this process (ulimit -v) or choose a smaller model"
            ) from error
        if self._is_secret:
            guard(ring)
        self._ring = np.frombuffer(ring, np.uint8)
        self._view = memoryview(ring)

    # -- the readers ------------------------------------------------------------------------------------------------

    def _live(self, number: int) -> None:
        while (task := self._take_task(number)) is not None:
            error: BaseException | None = None
            try:
                if task.slot is not None:
                    self._read(task.chunk, task.offset, self._view[task.position : task.position + task.num_bytes])
                else:
                    self._warm(task.chunk, task.offset, task.num_bytes)
            except BaseException as failure:  # noqa: BLE001  kept, and raised by the acquire that waits for these bytes
                error = failure
            for left in self._finish_task(task, error):
                self._forget(*left)

    def _take_task(self, number: int) -> _Task | None:
        """Wait for something to read; None when it is time to end."""
        with self._lock:
            while True:
                if self._closing:
                    return None
                task = self._next(self._lanes[number]) if number < self.num_readers else None
                if task is not None:
                    self._num_busy += 1
                    self._num_warming += task.slot is None
                    return task
                self._may_read.wait()

    def _next(self, lane: _Lane) -> _Task | None:
        may_stream = bool(self._slots) and self._error is None and self._is_free(self._moved_on(lane))
        if self._to_warm:
            first = may_stream and lane.pass_number == self._pass
            if not first or self._slots[lane.slot].unit.index > self._warm_units[0]:
                self._warm_units.popleft()
                return self._to_warm.popleft()
        return self._next_read(lane) if may_stream else None

    def _moved_on(self, lane: _Lane) -> _Lane:
        """To the next slot that is to be read; those that its pass does not need are passed over."""
        while lane.read == 0:
            if lane.is_done:
                lane.pass_number, (lane.slot, lane.end) = self._next_pass, self._turns[self._next_turn]
                self._next_turn += 1
                if self._next_turn == len(self._turns):
                    self._next_pass, self._next_turn = self._next_pass + 1, 0
            is_over = lane.pass_number < self._pass
            if not is_over and not (
                self._is_passing and lane.pass_number == self._pass and lane.slot >= self._num_needed
            ):
                break
            self._loaded[lane.slot] = max(self._loaded[lane.slot], lane.pass_number)
            lane.slot += 1
        return lane

    def _is_free(self, lane: _Lane) -> bool:
        """Everything that the slot overwrites is released."""
        number = lane.pass_number * len(self._slots) + lane.slot
        return lane.read > 0 or number - self._slots[lane.slot].distance < self._released

    def _next_read(self, lane: _Lane) -> _Task:
        tasks = self._tasks[lane.slot]
        if lane.read == 0:
            self._left[lane.slot] = len(tasks)
        task = replace(tasks[lane.read], pass_number=lane.pass_number)
        lane.read += 1
        if lane.read == len(tasks):
            lane.slot, lane.read = lane.slot + 1, 0
        return task

    def _reads_of(self, index: int, ranges: Iterable[FileRange]) -> Iterator[_Task]:
        for part in ranges:
            for offset, size in cut(part.offset, part.num_bytes, self.bytes_per_read, self._grid_bytes):
                yield _Task(index, part.chunk, offset, size, part.position + offset - part.offset)

    def _finish_task(self, task: _Task, error: BaseException | None) -> Sequence[tuple[int, int, int]]:
        """Returns what is to be forgotten."""
        with self._lock:
            self._num_busy -= 1
            self._num_warming -= task.slot is None
            if task.slot is None:
                self._has_read.notify_all()  # whoever waits for peace; a page that is not warm is read when it is used
                return ()
            if error is None:
                self.read_bytes += task.num_bytes
            elif self._error is None:
                self._error = error
            self._left[task.slot] -= 1
            is_loaded = not self._left[task.slot] and error is None
            if is_loaded:
                self._loaded[task.slot] = task.pass_number
            self._has_read.notify_all()
            return self._left_behind[task.slot] if is_loaded else ()


def turns_of(slots: Sequence[Slot], turn_bytes: int) -> Iterator[tuple[int, int]]:
    """(first slot, behind the last) of runs of slots that lie behind each other in a file, of at most so many bytes."""
    first, num_bytes = 0, 0
    for index, slot in enumerate(slots):
        if index and (num_bytes + slot.num_bytes > turn_bytes or not slot.follows(slots[index - 1])):
            yield first, index
            first, num_bytes = index, 0
        num_bytes += slot.num_bytes
    if slots:
        yield first, len(slots)
