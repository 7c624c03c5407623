"""However many ask for a model that is not open: one thread opens it, once, and all of them get it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from fakes import FakeExecutor, fake_engine

from pocketseek.apps.model_pool import ModelPool, ServedModel
from pocketseek.apps.serve.leases import ModelLeases
from pocketseek.errors import FormatError
from pocketseek.runtime.engine import Engine


class Opening:
    """Opens fake models, held until `go` is set."""

    def __init__(self, error: Exception | None = None) -> None:
        self.go = threading.Event()
        self.threads: list[str] = []
        self.error = error
        models = [ServedModel(name, Path("nowhere")) for name in ("one", "two")]
        self.pool = ModelPool(models, self._open)

    def _open(self, model: ServedModel, memory_bytes: int | None) -> Engine:
        self.threads.append(model.name)
        assert self.go.wait(30)
        if self.error is not None:
            raise self.error
        return fake_engine(FakeExecutor(), num_pages=8)


async def use(leases: ModelLeases, name: str) -> Engine:
    async with leases.engine(name) as engine:
        return engine


def test_many_who_wait_take_one_thread_and_get_one_engine() -> None:
    opening = Opening()

    async def run() -> None:
        leases = ModelLeases(opening.pool)
        waiting = [asyncio.ensure_future(use(leases, "one")) for _ in range(50)]
        await asyncio.sleep(0)
        for one in waiting[:40]:
            one.cancel()  # they leave
        while not opening.threads:
            await asyncio.sleep(0.001)
        assert await asyncio.to_thread(lambda: "a thread is free") == "a thread is free"
        opening.go.set()
        engines = await asyncio.gather(*waiting[40:])
        assert len(set(map(id, engines))) == 1
        assert all(one.cancelled() for one in waiting[:40])

    asyncio.run(asyncio.wait_for(run(), 30))
    assert opening.threads == ["one"]
    opening.pool.close()


def test_everybody_who_waits_is_told_why_it_cannot_be_opened_and_it_may_be_tried_again() -> None:
    opening = Opening(FormatError("no model; get another"))
    opening.go.set()

    async def run() -> None:
        leases = ModelLeases(opening.pool)
        results = await asyncio.gather(*(use(leases, "one") for _ in range(3)), return_exceptions=True)
        assert [str(error) for error in results] == ["no model; get another"] * 3
        opening.error = None
        assert await use(leases, "one") is not None

    asyncio.run(asyncio.wait_for(run(), 30))
    opening.pool.close()


def test_a_model_is_opened_for_the_next_one_when_nobody_waits_any_more() -> None:
    opening = Opening()

    async def run() -> None:
        leases = ModelLeases(opening.pool)
        waiting = asyncio.ensure_future(use(leases, "two"))
        while not opening.threads:
            await asyncio.sleep(0.001)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        opening.go.set()
        await use(leases, "two")

    asyncio.run(asyncio.wait_for(run(), 30))
    assert opening.threads == ["two"]
    opening.pool.close()
