"""From answers that an engine writes to asynchronous iteration, without a thread for each.

The engine's worker calls `_announce` when a piece has come, which wakes the event loop once for all that is there; the
loop then takes it with `poll`. So a token reaches its connection in one change of threads, and the engine never waits
for a client. What a client leaves unread stays where it is: one batch of pieces here, tokens with the engine's request
(which ends by itself at max_tokens) and, below that, what connection.py bounds in bytes and in time.

`close` may be called at any time and cancels the requests within one pass. Nothing is lost or out of order within a
stream; an error ends the pieces and is kept.

Everything but `_announce` and `start` belongs to the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

_MOST_PIECES = 256  # of a batch: the loop looks after others in between

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Polled(Protocol[T_co]):
    """As TextAnswer. poll: None if there is nothing yet, or nothing more, when has_ended is true."""

    @property
    def has_ended(self) -> bool: ...

    def poll(self) -> T_co | None: ...

    def close(self) -> None: ...


Start = Callable[[Callable[[], None]], Sequence[Polled[T]]]


class EventBridge(Generic[T]):
    """The pieces of one request, which may have several streams.

    start(announce): called in a thread, since encoding a long prompt takes a while; begins the work and returns the
    streams, for which announce is called from any thread when one has something. What it raises, `started` raises.
    executor: whose thread that is, None for the loop's own.
    """

    def __init__(self, start: Start[T], executor: Executor | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._is_announced = False
        self._streams: Sequence[Polled[T]] | None = None
        self._is_closed = False
        self.error: Exception | None = None
        self._starting = self._loop.run_in_executor(executor, start, self._announce)
        self._starting.add_done_callback(self._opened)

    async def started(self) -> None:
        """Wait until the work has begun. Raises what beginning it raised."""
        await asyncio.shield(self._starting)

    async def batches(self) -> AsyncIterator[list[tuple[int, T]]]:
        """All pieces that are there, as (index of the stream, piece), never empty; until all streams have ended, or one
        has failed: then `error` says how.
        """
        await self.started()
        streams = self._streams or ()
        while True:
            self._is_announced = False  # what comes from here on is announced again
            self._ready.clear()
            if batch := self._take(streams):
                yield batch
            elif self.error is not None or self._is_closed or all(stream.has_ended for stream in streams):
                return
            else:
                await self._ready.wait()

    def raise_error(self) -> None:
        """If a stream has failed."""
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Cancel what still runs. May be repeated."""
        self._is_closed = True
        self._ready.set()
        for stream in self._streams or ():
            stream.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, streams: Sequence[Polled[T]]) -> list[tuple[int, T]]:
        batch: list[tuple[int, T]] = []
        for index, stream in enumerate(streams):
            while self.error is None and len(batch) < _MOST_PIECES and (piece := self._poll(stream)) is not None:
                batch.append((index, piece))
        return batch

    def _poll(self, stream: Polled[T]) -> T | None:
        try:
            return stream.poll()
        except Exception as error:  # noqa: BLE001  kept in `error` for whoever reads the pieces
            self.error = error
            return None

    def _announce(self) -> None:
        """From any thread, at any time; the flag may be seen late, and then the loop looks once for nothing."""
        if self._is_announced:
            return
        self._is_announced = True
        if not self._loop.is_closed():
            with suppress(RuntimeError):  # closed at this moment: nobody is there to read
                self._loop.call_soon_threadsafe(self._ready.set)

    def _opened(self, starting: asyncio.Future[Sequence[Polled[T]]]) -> None:
        if starting.cancelled() or starting.exception() is not None:
            return
        self._streams = starting.result()
        if self._is_closed:
            self.close()
