"""A model's engine for as long as a request needs it, without blocking the event loop while it is opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pocketseek.apps.model_pool import ModelPool
from pocketseek.runtime.engine import Engine


class ModelLeases:
    """Of one event loop. One model is opened at a time, in one thread, however many wait for it or have left."""

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool
        self._one_at_a_time = asyncio.Lock()
        self._openings: dict[str, asyncio.Future[None]] = {}  # shared by all who wait for the model

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
        while (engine := self._pool.try_acquire(name)) is None:
            opening = self._openings.get(name)
            if opening is None:
                opening = self._openings[name] = asyncio.ensure_future(self._open_next(name))
                opening.add_done_callback(lambda task: self._opened(name, task))
            await asyncio.shield(opening)  # a client that leaves does not end it: the model stays for the next one
        return engine

    async def _open_next(self, name: str) -> None:
        async with self._one_at_a_time:
            await asyncio.to_thread(self._load, name)

    def _load(self, name: str) -> None:
        self._pool.acquire(name)
        self._pool.release(name)

    def _opened(self, name: str, opening: asyncio.Future[None]) -> None:
        del self._openings[name]
        if not opening.cancelled():
            opening.exception()  # seen: everybody who waited has it, and there may be nobody
