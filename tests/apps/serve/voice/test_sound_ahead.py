"""Sound is made ahead of who reads it, within bounds; who reads too slowly is left."""

import asyncio

from starlette.types import Message

from pocketseek.apps.serve.voice.sound_ahead import SoundAhead, send_in_time


def test_the_maker_waits_for_nobody_until_the_buffer_is_full() -> None:
    async def work() -> None:
        ahead = SoundAhead(most_bytes=8)
        for _ in range(2):
            await ahead.put(b"1234")
        waiting = asyncio.ensure_future(ahead.put(b"5678"))
        await asyncio.sleep(0)
        assert not waiting.done()
        pieces = aiter(ahead)
        assert await anext(pieces) == b"1234"
        await waiting
        ahead.end()
        assert [piece async for piece in pieces] == [b"1234", b"5678"]

    asyncio.run(work())


def test_an_end_without_sound_is_told() -> None:
    async def work() -> None:
        ahead = SoundAhead()
        asyncio.get_running_loop().call_soon(ahead.end)
        assert not await ahead.begun()

    asyncio.run(work())


class Reader:
    """Takes pause_s for every part."""

    def __init__(self, pause_s: float) -> None:
        self.now_s = 0.0
        self._pause_s = pause_s
        self.num_parts = 0

    async def send(self, message: Message) -> None:
        self.now_s += self._pause_s
        self.num_parts += 1
        await asyncio.sleep(0)

    def send_all(self, num_seconds: int) -> bool:
        async def work() -> bool:
            ahead = SoundAhead()
            ahead.bytes_per_s = 10
            for _ in range(num_seconds):
                await ahead.put(bytes(10))
            ahead.end()
            return await send_in_time(self.send, ahead, patience_s=20, clock=lambda: self.now_s)

        return asyncio.run(work())


def test_who_reads_as_fast_as_sound_is_listened_to_gets_all_of_it() -> None:
    reader = Reader(1.0)
    assert reader.send_all(300)
    assert reader.num_parts == 300


def test_who_reads_more_slowly_is_left_soon() -> None:
    reader = Reader(5.0)
    assert not reader.send_all(300)
    assert reader.num_parts < 10
