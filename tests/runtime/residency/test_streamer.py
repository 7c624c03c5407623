"""The ring behind a pass: the right bytes at the right time, read ahead, never over what is in use; errors; an end."""

import threading
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketseek.errors import MemoryLimitError, StorageError
from pocketseek.runtime.residency.plan import Slot, lay_out, least_ring_bytes
from pocketseek.runtime.residency.streamer import Streamer, WarmRange, turns_of
from pocketseek.runtime.residency.units import Piece, Unit

UNIT_BYTES = 8192
FILE_BYTES = 64 * UNIT_BYTES


class Storage:
    """Bytes that say where they stand. before: called ahead of every read."""

    def __init__(self, before: Callable[[int], None] = lambda offset: None) -> None:
        self.data = np.arange(FILE_BYTES // 4, dtype=np.uint32).view(np.uint8)
        self.before = before
        self.reads: list[int] = []
        self.warmed: list[int] = []
        self.forgotten: list[tuple[int, int]] = []

    def read(self, chunk: int, offset: int, buffer: memoryview) -> None:
        self.before(offset)
        self.reads.append(offset)
        buffer[:] = self.data[offset : offset + len(buffer)].data

    def warm(self, chunk: int, offset: int, num_bytes: int) -> None:
        self.warmed.append(offset)

    def forget(self, chunk: int, offset: int, num_bytes: int) -> None:
        self.forgotten.append((offset, num_bytes))


def slots_of(count: int, ring_bytes: int) -> list[Slot]:
    pieces = [Piece("t", index, 1, 0, index * UNIT_BYTES, UNIT_BYTES) for index in range(count)]
    return lay_out([Unit(index, 0, (), (0, 0), (piece,)) for index, piece in enumerate(pieces)], ring_bytes)


def bytes_in_ring(streamer: Streamer, slot: Slot) -> bytes:
    start = slot.position_of(slot.unit.pieces[0])
    return streamer.ring[start : start + UNIT_BYTES].tobytes()


def expected(storage: Storage, slot: Slot) -> bytes:
    offset = slot.unit.pieces[0].offset
    return storage.data[offset : offset + UNIT_BYTES].tobytes()


def run_pass(streamer: Streamer, storage: Storage, slots: list[Slot], num_needed: int | None = None) -> None:
    count = len(slots) if num_needed is None else num_needed
    streamer.begin_pass(count)
    for index in range(count):
        streamer.acquire(index)
        assert bytes_in_ring(streamer, slots[index]) == expected(storage, slots[index])
        streamer.release(index)
    streamer.end_pass()


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 20),
    st.integers(2, 12),
    st.integers(1, 4),
    st.sampled_from([4096, 8192, 1 << 20]),
    st.lists(st.integers(0, 20), min_size=1, max_size=6),
)
def test_every_pass_sees_the_bytes_of_the_file(
    count: int, ring_units: int, num_readers: int, read_bytes: int, needed: list[int]
) -> None:
    storage = Storage()
    streamer = Streamer(storage.read, storage.warm, storage.forget, num_readers=num_readers, read_bytes=read_bytes)
    slots = slots_of(count, ring_units * UNIT_BYTES)
    streamer.install(slots, ring_units * UNIT_BYTES, ())
    for num_needed in needed:
        run_pass(streamer, storage, slots, min(num_needed, count))
    run_pass(streamer, storage, slots)
    streamer.close()


def test_readers_go_on_with_the_next_pass_until_the_ring_is_full() -> None:
    done = threading.Semaphore(0)
    storage = Storage(lambda offset: done.release())
    streamer = Streamer(storage.read, storage.warm, storage.forget, num_readers=1, read_bytes=UNIT_BYTES)
    slots = slots_of(8, 4 * UNIT_BYTES)
    streamer.install(slots, 4 * UNIT_BYTES, ())
    run_pass(streamer, storage, slots)
    ahead = min(slots[0].distance, slots[1].distance)
    for _ in range(8 + ahead):
        assert done.acquire(timeout=10)
    streamer.close()
    assert storage.reads[:9] == [slot.unit.pieces[0].offset for slot in [*slots, slots[0]]]
    assert len(storage.reads) <= 8 + 4


def test_what_a_pass_does_not_need_is_not_read() -> None:
    storage = Storage()
    streamer = Streamer(storage.read, storage.warm, storage.forget, num_readers=2, read_bytes=UNIT_BYTES)
    slots = slots_of(10, least_ring_bytes([slot.unit for slot in slots_of(10, 10 * UNIT_BYTES)]))
    streamer.install(slots, 2 * UNIT_BYTES, ())
    for _ in range(20):
        run_pass(streamer, storage, slots, 6)
    streamer.close()
    assert not {offset // UNIT_BYTES for offset in storage.reads} & {7, 8, 9}


def test_an_error_is_raised_where_the_bytes_are_needed_and_reading_begins_again_after_it() -> None:
    broken = {5 * UNIT_BYTES}

    def fail(offset: int) -> None:
        if offset in broken:
            raise StorageError("the disk is broken; buy another")

    storage = Storage(fail)
    streamer = Streamer(storage.read, storage.warm, storage.forget, num_readers=3, read_bytes=4096)
    slots = slots_of(10, 4 * UNIT_BYTES)
    streamer.install(slots, 4 * UNIT_BYTES, ())
    with pytest.raises(StorageError, match="broken"):
        run_pass(streamer, storage, slots)
    streamer.abandon()
    broken.clear()
    for _ in range(3):
        run_pass(streamer, storage, slots)
    streamer.close()


def test_any_other_failure_of_a_reader_is_raised_too_and_nobody_waits_for_ever() -> None:
    def fail(offset: int) -> None:
        raise MemoryError("no room for a buffer")

    storage = Storage(fail)
    streamer = Streamer(storage.read, storage.warm, storage.forget, num_readers=2, read_bytes=4096)
    slots = slots_of(4, 4 * UNIT_BYTES)
    streamer.install(slots, 4 * UNIT_BYTES, ())
    with pytest.raises(MemoryError, match="no room"):
        run_pass(streamer, storage, slots)
    streamer.close()


def test_streaming_is_not_taken_for_warming() -> None:
    reading, go_on = threading.Event(), threading.Event()

    def halt(offset: int) -> None:
        reading.set()
        assert go_on.wait(10)

    storage = Storage(halt)
    streamer = Streamer(storage.read, storage.warm, storage.forget, num_readers=1, read_bytes=4096)
    streamer.install(slots_of(4, 4 * UNIT_BYTES), 4 * UNIT_BYTES, ())
    assert reading.wait(10)
    assert streamer.is_warm
    go_on.set()
    streamer.close()


def test_a_new_plan_forgets_what_was_read_and_may_change_the_ring() -> None:
    storage = Storage()
    streamer = Streamer(storage.read, storage.warm, storage.forget, num_readers=2, read_bytes=4096)
    for ring_units, count in ((4, 9), (3, 5), (8, 20), (2, 2)):
        slots = slots_of(count, ring_units * UNIT_BYTES)
        streamer.install(slots, ring_units * UNIT_BYTES, ())
        assert len(streamer.ring) == ring_units * UNIT_BYTES
        run_pass(streamer, storage, slots)
    streamer.install((), 0, ())
    assert len(streamer.ring) == 0
    streamer.close()


def test_everything_to_be_warmed_is_read_once_in_order() -> None:
    done = threading.Semaphore(0)
    storage = Storage()

    def warm(chunk: int, offset: int, num_bytes: int) -> None:
        storage.warm(chunk, offset, num_bytes)
        done.release()

    streamer = Streamer(storage.read, warm, storage.forget, num_readers=1, read_bytes=4096)
    streamer.install((), 0, [WarmRange(unit, 0, unit * UNIT_BYTES, UNIT_BYTES) for unit in range(8)])
    for _ in range(16):
        assert done.acquire(timeout=10)
    streamer.close()
    assert storage.warmed == list(range(0, 8 * UNIT_BYTES, 4096))


def test_what_the_first_pass_needs_first_is_read_first() -> None:
    """Units 0, 2, 4 ... are to be warmed, 1, 3, 5 ... are streamed."""
    order: list[int] = []
    storage = Storage(lambda offset: order.append(offset // UNIT_BYTES))

    def warm(chunk: int, offset: int, num_bytes: int) -> None:
        order.append(offset // UNIT_BYTES)

    streamer = Streamer(storage.read, warm, storage.forget, num_readers=1, read_bytes=UNIT_BYTES)
    ring_bytes = 8 * UNIT_BYTES
    slots = lay_out([slot.unit for slot in slots_of(8, ring_bytes)[1::2]], ring_bytes)
    streamer.install(slots, ring_bytes, [WarmRange(unit, 0, unit * UNIT_BYTES, UNIT_BYTES) for unit in (0, 2, 4, 6)])
    run_pass(streamer, storage, slots)
    streamer.close()
    assert order[:8] == list(range(8))


def test_closing_ends_the_readers_and_gives_the_ring_back() -> None:
    storage = Storage()
    streamer = Streamer(storage.read, storage.warm, storage.forget, num_readers=4, read_bytes=4096)
    streamer.install(slots_of(6, 3 * UNIT_BYTES), 3 * UNIT_BYTES, ())
    streamer.close()
    assert len(streamer.ring) == 0
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pocketseek-reader")]


def test_only_as_many_readers_as_wanted_read_after_there_were_more() -> None:
    at_work = set[str]()
    lock = threading.Lock()

    def note(offset: int) -> None:
        with lock:
            at_work.add(threading.current_thread().name)

    storage = Storage(note)
    streamer = Streamer(storage.read, storage.warm, storage.forget, num_readers=3, read_bytes=4096)
    slots = slots_of(12, 6 * UNIT_BYTES)
    streamer.install(slots, 6 * UNIT_BYTES, ())
    run_pass(streamer, storage, slots)
    streamer.num_readers = 1
    streamer.install((), 6 * UNIT_BYTES, ())
    at_work.clear()
    streamer.install(slots, 6 * UNIT_BYTES, ())
    for _ in range(3):
        run_pass(streamer, storage, slots)
    streamer.close()
    assert len(at_work) == 1


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(2, 12), st.integers(1, 4), st.lists(st.integers(0, 20), max_size=6))
def test_readers_with_runs_of_their_own_bring_the_same_bytes(
    count: int, ring_units: int, num_readers: int, needed: list[int]
) -> None:
    storage = Storage()
    streamer = Streamer(storage.read, storage.warm, storage.forget, num_readers=num_readers, read_bytes=4096)
    streamer.turn_bytes = 3 * UNIT_BYTES
    slots = slots_of(count, ring_units * UNIT_BYTES)
    streamer.install(slots, ring_units * UNIT_BYTES, ())
    for num_needed in needed:
        run_pass(streamer, storage, slots, min(num_needed, count))
    run_pass(streamer, storage, slots)
    streamer.close()


def test_all_that_was_read_is_forgotten_but_the_block_that_the_next_begins_with() -> None:
    storage = Storage()
    streamer = Streamer(storage.read, storage.warm, storage.forget, num_readers=1, read_bytes=4096)
    slots = slots_of(5, 4 * UNIT_BYTES)
    streamer.install(slots, 4 * UNIT_BYTES, ())
    run_pass(streamer, storage, slots)
    streamer.close()
    covered = {block for offset, size in storage.forgotten for block in range(offset, offset + size, 4096)}
    assert covered == set(range(0, 5 * UNIT_BYTES, 4096))


def test_a_turn_ends_where_the_file_has_a_gap_or_it_is_long_enough() -> None:
    units = [
        Unit(index, 0, (), (0, 0), (Piece("t", index, 1, 0, place * UNIT_BYTES, UNIT_BYTES),))
        for index, place in enumerate((0, 1, 2, 40, 41, 42, 43, 44))
    ]
    slots = lay_out(units, 4 * UNIT_BYTES)
    assert list(turns_of(slots, 3 * UNIT_BYTES)) == [(0, 3), (3, 6), (6, 8)]
    assert list(turns_of(slots, 0)) == [(index, index + 1) for index in range(8)]


class RefusedThread(threading.Thread):
    """The system has no thread left, or only `num_left`."""

    num_left = 0

    def start(self) -> None:
        if RefusedThread.num_left == 0:
            raise RuntimeError("can't start new thread")
        RefusedThread.num_left -= 1
        super().start()


def streamer_with(num_threads: int, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Streamer:
    monkeypatch.setattr(RefusedThread, "num_left", num_threads)
    monkeypatch.setattr("pocketseek.runtime.residency.streamer.Thread", RefusedThread)
    return Streamer(storage.read, storage.warm, storage.forget, num_readers=3, read_bytes=UNIT_BYTES)


def test_without_any_reader_streaming_is_refused_and_the_ring_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    streamer = streamer_with(0, Storage(), monkeypatch)
    slots = slots_of(4, 4 * UNIT_BYTES)
    with pytest.raises(MemoryLimitError, match="ulimit"):
        streamer.install(slots, 4 * UNIT_BYTES, [])
    assert len(streamer.ring) == 0
    streamer.install((), 0, [WarmRange(0, 0, 0, UNIT_BYTES)])
    assert streamer.is_warm
    streamer.close()


def test_fewer_readers_than_wanted_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage()
    streamer = streamer_with(1, storage, monkeypatch)
    slots = slots_of(8, 4 * UNIT_BYTES)
    streamer.install(slots, 4 * UNIT_BYTES, [])
    for _ in range(2):
        run_pass(streamer, storage, slots)
    streamer.close()
