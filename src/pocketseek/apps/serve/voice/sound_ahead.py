"""Sound that was made and not sent yet: so that a client that reads slowly keeps nobody else from speaking.

Whoever makes sound puts it here and is done as soon as all of it is made; whoever sends takes it out at the pace of the
client. So that nobody fills the memory, the maker waits while MOST_AHEAD_BYTES lie here, and a client has to read at
least as fast as sound is listened to (`send_in_time`). Used by one event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable

from starlette.types import Send

MOST_AHEAD_BYTES = 16_000_000
"""Nearly six minutes at 24 kHz; the longest text takes about five."""
PATIENCE_S = 20.0
_SENT_BYTES = 1 << 16


class SoundAhead:
    """kind, bytes_per_s: of the sound; known before its first piece."""

    def __init__(self, most_bytes: int = MOST_AHEAD_BYTES) -> None:
        self.kind = ""
        self.bytes_per_s = 1
        self._most_bytes = most_bytes
        self._pieces: deque[bytes] = deque()
        self._num_bytes = 0
        self._is_over = False
        self._came, self._went = asyncio.Event(), asyncio.Event()

    async def put(self, piece: bytes) -> None:
        while self._num_bytes >= self._most_bytes:
            self._went.clear()
            await self._went.wait()
        self._pieces.append(piece)
        self._num_bytes += len(piece)
        self._came.set()

    def end(self) -> None:
        """Nothing more comes."""
        self._is_over = True
        self._came.set()

    async def begun(self) -> bool:
        """Whether any sound comes at all."""
        await self._came.wait()
        return bool(self._pieces)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._pieces or not self._is_over:
            if not self._pieces:
                self._came.clear()
                await self._came.wait()
                continue
            piece = self._pieces.popleft()
            self._num_bytes -= len(piece)
            self._went.set()
            yield piece


async def send_in_time(
    send: Send,
    ahead: SoundAhead,
    *,
    patience_s: float = PATIENCE_S,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """All pieces, as parts of a body. False, soon, if the client takes longer for them than they sound, and patience_s:
    what is left of the response is of no use then."""
    left_s = patience_s
    async for piece in ahead:
        for start in range(0, len(piece), _SENT_BYTES):
            part = piece[start : start + _SENT_BYTES]
            begun_s = clock()
            try:
                async with asyncio.timeout(max(0.0, left_s)):
                    await send({"type": "http.response.body", "body": part, "more_body": True})
            except TimeoutError:
                return False
            left_s += len(part) / ahead.bytes_per_s - (clock() - begun_s)
    return True
