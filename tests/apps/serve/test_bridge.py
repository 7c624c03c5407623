"""From blocking iterators to asynchronous ones: in order, bounded, and closed at any time."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from queue import SimpleQueue

import pytest

from pocketseek.apps.serve.bridge import EventBridge


class Source(Iterator[int]):
    """Gives what a test puts into it; None ends it, an exception is raised."""

    def __init__(self, items: Sequence[int | Exception | None] = ()) -> None:
        self.items: SimpleQueue[int | Exception | None] = SimpleQueue()
        self.num_read = 0
        self.is_closed = False
        for item in items:
            self.items.put(item)

    def __next__(self) -> int:
        item = self.items.get(timeout=30)
        if item is None:
            raise StopIteration
        if isinstance(item, Exception):
            raise item
        self.num_read += 1
        return item

    def close(self) -> None:
        self.is_closed = True
        self.items.put(None)


def run(work: Callable[[], Coroutine[None, None, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await work()

    asyncio.run(bounded())


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.001)


def test_pieces_come_in_order_from_every_stream() -> None:
    sources = [Source([*range(number, number + 500), None]) for number in (0, 1000, 2000)]

    async def work() -> None:
        got: list[list[int]] = [[], [], []]
        async with EventBridge(lambda: sources, capacity=7) as bridge:
            async for batch in bridge.batches():
                assert 0 < len(batch) <= 7
                for index, piece in batch:
                    got[index].append(piece)
        bridge.raise_error()
        assert got == [list(range(number, number + 500)) for number in (0, 1000, 2000)]

    run(work)
    assert all(source.is_closed for source in sources)


def test_a_reader_that_waits_stops_the_thread_at_the_bound() -> None:
    source = Source([*range(100), None])

    async def work() -> None:
        async with EventBridge(lambda: [source], capacity=5) as bridge:
            await bridge.started()
            await until(lambda: source.num_read == 6)  # five in the queue and one in the thread's hand
            await asyncio.sleep(0.01)
            assert source.num_read == 6
            assert [piece async for batch in bridge.batches() for _, piece in batch] == list(range(100))

    run(work)


def test_closing_ends_a_thread_that_is_blocked() -> None:
    for filled in ([], list(range(50))):
        source = Source(filled)

        async def work(source: Source = source) -> None:
            bridge = EventBridge(lambda: [source], capacity=5)
            await bridge.started()
            bridge.close()
            bridge.close()
            assert source.is_closed

        run(work)
        for thread in threading.enumerate():
            if thread.name == "pocketseek-reader":
                thread.join(30)
                assert not thread.is_alive()


def test_closing_before_it_has_begun_closes_what_begins() -> None:
    source, go_on = Source(), threading.Event()

    def start() -> list[Source]:
        assert go_on.wait(30)
        return [source]

    async def work() -> None:
        bridge = EventBridge(start)
        bridge.close()
        go_on.set()
        await until(lambda: source.is_closed)

    run(work)


def test_what_beginning_raises_is_raised_by_started() -> None:
    def start() -> list[Source]:
        raise ValueError("no")

    async def work() -> None:
        async with EventBridge(start) as bridge:
            with pytest.raises(ValueError, match="no"):
                await bridge.started()

    run(work)


def test_an_error_ends_the_pieces_and_is_kept() -> None:
    source = Source([1, 2, ValueError("broken")])

    async def work() -> None:
        async with EventBridge(lambda: [source]) as bridge:
            assert [piece async for batch in bridge.batches() for _, piece in batch] == [1, 2]
            with pytest.raises(ValueError, match="broken"):
                bridge.raise_error()

    run(work)
