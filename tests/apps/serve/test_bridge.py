"""From an engine's answers to asynchronous pieces: in order, never lost, and closed at any time."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Sequence

import pytest

from pocketseek.apps.serve.bridge import EventBridge


class Source:
    """Gives what a test's thread puts into it; None ends it, an exception is raised."""

    def __init__(self, items: Sequence[int | Exception | None] = ()) -> None:
        self.items: deque[int | Exception | None] = deque(items)
        self.announce: Callable[[], None] = lambda: None
        self.has_ended = False
        self.is_closed = False

    def put(self, item: int | Exception | None) -> None:
        self.items.append(item)
        self.announce()

    def poll(self) -> int | None:
        if not self.items:
            return None
        item = self.items.popleft()
        if isinstance(item, Exception):
            raise item
        self.has_ended = item is None
        return item

    def close(self) -> None:
        self.is_closed = True


def starting(*sources: Source) -> Callable[[Callable[[], None]], Sequence[Source]]:
    def start(announce: Callable[[], None]) -> Sequence[Source]:
        for source in sources:
            source.announce = announce
        return sources

    return start


def run(work: Callable[[], Coroutine[None, None, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await work()

    asyncio.run(bounded())


async def pieces_of(bridge: EventBridge[int]) -> list[tuple[int, int]]:
    return [item async for batch in bridge.batches() for item in batch]


def test_what_is_there_comes_in_order_from_every_stream() -> None:
    sources = [Source([*range(number, number + 700), None]) for number in (0, 1000, 2000)]

    async def work() -> None:
        async with EventBridge(starting(*sources)) as bridge:
            got = await pieces_of(bridge)
        bridge.raise_error()
        for index, number in enumerate((0, 1000, 2000)):
            assert [piece for stream, piece in got if stream == index] == list(range(number, number + 700))

    run(work)
    assert all(source.is_closed for source in sources)


def test_nothing_that_threads_put_meanwhile_is_missed() -> None:
    sources = [Source() for _ in range(4)]

    def write(source: Source) -> None:
        for number in range(3000):
            source.put(number)
        source.put(None)

    async def work() -> None:
        async with EventBridge(starting(*sources)) as bridge:
            await bridge.started()
            threads = [threading.Thread(target=write, args=(source,)) for source in sources]
            for thread in threads:
                thread.start()
            got = await pieces_of(bridge)
            for thread in threads:
                thread.join()
        for index in range(4):
            assert [piece for stream, piece in got if stream == index] == list(range(3000))

    run(work)


def test_a_batch_is_never_empty_and_leaves_room_for_others() -> None:
    async def work() -> None:
        async with EventBridge(starting(Source([*range(1000), None]))) as bridge:
            sizes = [len(batch) async for batch in bridge.batches()]
        assert sum(sizes) == 1000
        assert all(0 < size <= 256 for size in sizes)

    run(work)


def test_closing_ends_a_reader_that_waits() -> None:
    source = Source()

    async def work() -> None:
        bridge = EventBridge(starting(source))
        reader = asyncio.ensure_future(pieces_of(bridge))
        await bridge.started()
        await asyncio.sleep(0)
        bridge.close()
        bridge.close()
        assert await reader == []
        assert source.is_closed

    run(work)


def test_closing_before_it_has_begun_closes_what_begins() -> None:
    source, go_on = Source(), threading.Event()

    def start(announce: Callable[[], None]) -> list[Source]:
        assert go_on.wait(30)
        return [source]

    async def work() -> None:
        bridge = EventBridge(start)
        bridge.close()
        go_on.set()
        await bridge.started()
        assert source.is_closed

    run(work)


def test_what_beginning_raises_is_raised_by_started() -> None:
    def start(announce: Callable[[], None]) -> list[Source]:
        raise ValueError("no")

    async def work() -> None:
        async with EventBridge(start) as bridge:
            with pytest.raises(ValueError, match="no"):
                await bridge.started()

    run(work)


def test_an_error_ends_the_pieces_and_is_kept() -> None:
    source = Source([1, 2, ValueError("broken"), 3])

    async def work() -> None:
        async with EventBridge(starting(source)) as bridge:
            assert await pieces_of(bridge) == [(0, 1), (0, 2)]
            with pytest.raises(ValueError, match="broken"):
                bridge.raise_error()

    run(work)


def test_an_announcement_after_the_loop_has_ended_does_nothing() -> None:
    source = Source([None])

    async def work() -> None:
        async with EventBridge(starting(source)) as bridge:
            await pieces_of(bridge)

    run(work)
    source.put(1)
