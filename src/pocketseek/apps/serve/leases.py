"""A model's engine for as long as a request needs it, without blocking the event loop while it is opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pocketseek.apps.model_pool import ModelPool
from pocketseek.runtime.engine import Engine


class ModelLeases:
    """Of one event loop. One model is opened at a time; who waits for it takes no thread."""

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def engine(self, name: str) -> AsyncIterator[Engine]:
        """Raises NotFoundError, EngineClosedError and what opening a model raises."""
        engine = self._pool.try_acquire(name)
        if engine is None:
            engine = await self._open(name)
        try:
            yield engine
        finally:
            self._pool.release(name)

    async def _open(self, name: str) -> Engine:
        async with self._opening:
            if (engine := self._pool.try_acquire(name)) is not None:
                return engine
            opening = asyncio.ensure_future(asyncio.to_thread(self._pool.acquire, name))
            try:
                return await asyncio.shield(opening)
            except asyncio.CancelledError:  # the client is gone; the model stays for the next one
                opening.add_done_callback(lambda task: self._let_go(name, task))
                raise

    def _let_go(self, name: str, opening: asyncio.Future[Engine]) -> None:
        if not opening.cancelled() and opening.exception() is None:
            self._pool.release(name)
