"""A model's engine for as long as a request needs it, without blocking the event loop while it is opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pocketseek.apps.model_pool import ModelPool
from pocketseek.runtime.engine import Engine


class ModelLeases:
    """Of one event loop. One model is opened at a time, however many wait for it; who waits takes no thread."""

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool
        self._one_at_a_time = asyncio.Lock()
        self._opening: dict[str, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def engine(self, name: str) -> AsyncIterator[Engine]:
        """Raises NotFoundError, EngineClosedError and what opening a model raises."""
        engine = self._pool.try_acquire(name)
        while engine is None:
            await asyncio.shield(self._opened(name))  # the client may leave; the model stays for the next one
            engine = self._pool.try_acquire(name)
        try:
            yield engine
        finally:
            self._pool.release(name)

    def _opened(self, name: str) -> asyncio.Task[None]:
        """The one task that opens this model."""
        task = self._opening.get(name)
        if task is None:
            task = self._opening[name] = asyncio.ensure_future(self._open(name))
            task.add_done_callback(lambda done: self._forget(name, done))
        return task

    async def _open(self, name: str) -> None:
        async with self._one_at_a_time:
            await asyncio.to_thread(self._pool.acquire, name)
            self._pool.release(name)

    def _forget(self, name: str, task: asyncio.Task[None]) -> None:
        del self._opening[name]
        if not task.cancelled():
            task.exception()  # seen: raised to those who still wait
