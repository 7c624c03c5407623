"""Whoever waits for a model to be opened shares one thread, and what is opened stays for the next one."""

import asyncio
import threading
from pathlib import Path

import pytest

from pocketseek.apps.model_pool import ModelPool, ServedModel
from pocketseek.apps.serve.leases import ModelLeases
from pocketseek.errors import MemoryLimitError


class _Engine:
    def close(self) -> None:
        """Nothing is held."""


class _SlowOpener:
    """Opens when it may; counts the threads that are in it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.may_open = threading.Event()
        self.error = error
        self.num_calls = 0

    def __call__(self, model: ServedModel, memory_bytes: int | None) -> _Engine:
        self.num_calls += 1
        assert self.may_open.wait(60)
        if self.error is not None:
            raise self.error
        return _Engine()


class _CountedPool(ModelPool):
    num_acquiring = 0

    def acquire(self, name: str):  # type: ignore[no-untyped-def]  # as the pool's
        self.num_acquiring += 1
        return super().acquire(name)


def _pool(opener: _SlowOpener) -> _CountedPool:
    return _CountedPool([ServedModel("a", Path("a"))], opener)  # type: ignore[arg-type]  # a fake engine


async def _use(leases: ModelLeases) -> None:
    async with leases.engine("a"):
        pass


def test_clients_that_come_and_leave_while_a_model_is_opened_take_one_thread() -> None:
    async def main() -> None:
        opener = _SlowOpener()
        pool = _pool(opener)
        leases = ModelLeases(pool)
        for _ in range(8):
            client = asyncio.create_task(_use(leases))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            client.cancel()
            await asyncio.wait({client})
        last = asyncio.create_task(_use(leases))
        await asyncio.sleep(0)
        opener.may_open.set()
        await last
        assert pool.num_acquiring == opener.num_calls == 1
        assert set(pool.loaded_engines()) == {"a"}

    asyncio.run(main())


def test_all_who_wait_learn_why_a_model_was_not_opened_and_the_next_one_tries_again() -> None:
    async def main() -> None:
        opener = _SlowOpener(MemoryLimitError("no memory; close something"))
        leases = ModelLeases(_pool(opener))
        clients = [asyncio.create_task(_use(leases)) for _ in range(3)]
        await asyncio.sleep(0)
        opener.may_open.set()
        results = await asyncio.gather(*clients, return_exceptions=True)
        assert [type(result) for result in results] == [MemoryLimitError] * 3
        assert opener.num_calls == 1
        with pytest.raises(MemoryLimitError):
            await _use(leases)
        assert opener.num_calls == 2

    asyncio.run(main())
