"""From an engine's blocking iterators to asynchronous iteration.

Each stream has a thread that reads it and puts what comes into a queue of at most `capacity` pieces for all streams
of a request; the event loop is woken once for whatever is there. A full queue stops the threads, not the engine: its
tokens wait with the request, which ends by itself at max_tokens.

`close` may be called at any time and closes the streams, which cancels their requests within one pass; a thread that
is blocked in one gets its end. Nothing is ever lost or out of order within a stream; an error ends the pieces
and is kept.

Threads: everything but `_read` belongs to the event loop. There is no waiting in turns: threads sleep in the engine's
queue, or for room in ours.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from threading import Semaphore, Thread
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

_DEFAULT_CAPACITY = 256

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Closable(Protocol[T_co]):
    """An iterator that any thread may close; one that reads it meanwhile gets its end soon."""

    def __next__(self) -> T_co: ...

    def __iter__(self) -> Iterator[T_co]: ...

    def close(self) -> None: ...


class EventBridge(Generic[T]):
    """The pieces of one request, which may have several streams.

    start: called in a thread; begins the work and returns the streams. What it raises is raised by `started`.
    """

    def __init__(self, start: Callable[[], Sequence[Closable[T]]], *, capacity: int = _DEFAULT_CAPACITY) -> None:
        self._start = start
        self._loop = asyncio.get_running_loop()
        self._pending: deque[tuple[int, T]] = deque()
        self._room = Semaphore(capacity)
        self._ready = asyncio.Event()
        self._is_notified = False
        self._streams: Sequence[Closable[T]] | None = None
        self._num_open = 0
        self.error: BaseException | None = None
        self._is_closed = False
        self._begin(self._open)

    async def started(self) -> None:
        """Wait until the work has begun. Raises what beginning it raised."""
        while self._streams is None and self.error is None:
            await self._wake_up()
        if self._streams is None and self.error is not None:
            raise self.error

    async def batches(self) -> AsyncIterator[list[tuple[int, T]]]:
        """All pieces that are there, as (index of the stream, piece), never empty; until all streams have ended, or one
        has failed: then `error` says how.
        """
        await self.started()
        while True:
            if batch := self._take():
                yield batch
            elif self._num_open == 0 or self.error is not None:
                return
            else:
                await self._wake_up()

    def raise_error(self) -> None:
        """If a stream has failed."""
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Cancel what still runs. May be repeated."""
        self._is_closed = True
        for stream in self._streams or ():
            stream.close()
        self._pending.clear()
        for _ in self._streams or ():  # those that wait for room see that it is over
            self._room.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self) -> list[tuple[int, T]]:
        batch = [self._pending.popleft() for _ in range(len(self._pending))]
        if batch:
            self._room.release(len(batch))
        return batch

    async def _wake_up(self) -> None:
        await self._ready.wait()
        self._ready.clear()

    def _begin(self, work: Callable[[], None]) -> None:
        Thread(target=work, name="pocketseek-reader", daemon=True).start()

    # -- the threads that read ------------------------------------------------------------------------------------

    def _open(self) -> None:
        try:
            streams = self._start()
        except BaseException as error:  # noqa: BLE001  kept, and raised again by `started`
            self._call(self._fail, error)
            return
        self._call(self._opened, streams)
        for index, stream in enumerate(streams[1:], 1):
            self._begin(lambda index=index, stream=stream: self._read(index, stream))  # type: ignore[misc]  # bound early
        self._read(0, streams[0])

    def _read(self, index: int, stream: Closable[T]) -> None:
        try:
            for piece in stream:
                self._room.acquire()
                if self._is_closed:
                    break
                self._pending.append((index, piece))
                self._notify()
        except BaseException as error:  # noqa: BLE001  kept in `error` for whoever reads the pieces
            self._call(self._fail, error)
        finally:
            stream.close()
            self._call(self._ended)

    def _notify(self) -> None:
        """Once for all that comes before the loop looks."""
        if not self._is_notified:
            self._is_notified = True
            self._call(self._notified)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop is closed: nobody is there to read
            self._is_closed = True
            for stream in self._streams or ():
                stream.close()

    # -- called in the event loop ---------------------------------------------------------------------------------

    def _notified(self) -> None:
        self._is_notified = False
        self._ready.set()

    def _opened(self, streams: Sequence[Closable[T]]) -> None:
        self._streams = streams
        self._num_open = len(streams)
        if self._is_closed:
            self.close()
        self._ready.set()

    def _fail(self, error: BaseException) -> None:
        self.error = self.error or error
        self._ready.set()

    def _ended(self) -> None:
        self._num_open -= 1
        self._ready.set()
