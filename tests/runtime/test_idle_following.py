"""An engine that has nothing to run follows its memory all the same, and only if it was told to follow any."""

from __future__ import annotations

import gc
import itertools
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import SimpleQueue
from threading import Condition
from typing import Any

import pytest
from fakes import ByteTokenizer, FakeExecutor, FakeTemplate, fake_engine, ids_of, random_request, slow_tokens
from tiny_models import tiny_hf_directory

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.device.memory_watch import MemoryFacts, MemoryWatch
from pocketseek.errors import MemoryLimitError
from pocketseek.govern import governor as governor_module
from pocketseek.govern.governor import MemoryGovernor
from pocketseek.govern.memory_budget import MemoryBudget
from pocketseek.govern.split import Footprint
from pocketseek.runtime import memory_patience
from pocketseek.runtime.applied_limits import MemoryFollowing
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.load import load
from pocketseek.types import Limits

WAIT_S = 60  # only a hanging test ever waits that long
MIB = 1 << 20
BASE_BYTES, WEIGHTS_BYTES, RING_BYTES, PAGE_BYTES, NUM_PAGES = 64 * MIB, 640 * MIB, 32 * MIB, 4 * MIB, 64
EVERYTHING_BYTES = BASE_BYTES + WEIGHTS_BYTES + NUM_PAGES * PAGE_BYTES


class SizedExecutor(FakeExecutor):
    """Says how large it is, and writes down what it gives back and takes."""

    page_bytes = PAGE_BYTES

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []
        self.weight_bytes = WEIGHTS_BYTES  # type: ignore[assignment]  # the fake keeps a list of them

    def weight_bytes_for(self, num_bytes: int | None) -> int:
        return WEIGHTS_BYTES if num_bytes is None else max(RING_BYTES, min(num_bytes, WEIGHTS_BYTES))

    def set_weight_bytes(self, num_bytes: int | None) -> None:
        self.weight_bytes = self.weight_bytes_for(num_bytes)  # type: ignore[assignment]
        self.events.append("weights")

    def release_pages(self, page_ids: Iterable[int]) -> None:
        super().release_pages(page_ids)
        self.events.append("pages")


class World:
    """A machine that the test changes, a clock that goes on by a second with every question, and an engine on both."""

    def __init__(self, rest_s: Callable[[], float] = lambda: 0.001) -> None:
        self.facts = self._facts(2 * EVERYTHING_BYTES)
        self.num_looks = 0
        self._looked = Condition()
        self._seconds = itertools.count()
        self.executor = SizedExecutor()
        self.budget = MemoryBudget(0)
        self.process_bytes = BASE_BYTES
        self._engine: Callable[[], Footprint] = self._footprint_of(lambda: (0, 0, 0))
        self.governor = MemoryGovernor(
            Limits(1),
            self._watch,
            lambda: self._engine(),
            clock=lambda: float(next(self._seconds)),
            budget=self.budget,
        )
        limits = self.governor.limits()
        self.budget.lease("process", BASE_BYTES)
        self.budget.lease("weights", WEIGHTS_BYTES)
        self.budget.lease("pages", NUM_PAGES * PAGE_BYTES)
        self.engine = Engine(
            self.executor,  # type: ignore[arg-type]  # the fakes of tests/fakes.py
            ByteTokenizer(),  # type: ignore[arg-type]
            FakeTemplate(),  # type: ignore[arg-type]
            self.governor,
            num_pages=NUM_PAGES,
            max_pages=limits.max_pages,
            following=MemoryFollowing(self.budget, lambda: self.process_bytes, rest_s),
        )
        demand = self.engine.demand_source()
        self._engine = self._footprint_of(lambda: tuple(demand()))

    def _footprint_of(self, demand: Callable[[], tuple[int, ...]]) -> Callable[[], Footprint]:
        return lambda: Footprint(self.process_bytes, WEIGHTS_BYTES, RING_BYTES, PAGE_BYTES, NUM_PAGES, *demand())

    def _facts(self, num_bytes: int) -> MemoryFacts:
        """A container that leaves so much to the engine."""
        return MemoryFacts(group_limit_bytes=1 << 40, group_room_bytes=num_bytes + 64 * MIB)

    def _watch(self) -> MemoryFacts:
        with self._looked:
            self.num_looks += 1
            self._looked.notify_all()
        return self.facts

    def leave(self, num_bytes: int, num_looks: int = 3) -> None:
        """The machine has so much from now on; returns when the engine has followed."""
        self.facts = self._facts(num_bytes)
        with self._looked:
            seen = self.num_looks
            assert self._looked.wait_for(lambda: self.num_looks >= seen + num_looks, WAIT_S)

    @property
    def num_pages(self) -> int:
        return self.engine.statistics().load.num_pages

    @property
    def num_cached_pages(self) -> int:
        return self.engine.statistics().load.num_cached_pages


def test_an_idle_engine_gives_back_pages_then_weights_and_takes_them_again() -> None:
    world = World()
    with world.engine as engine:
        asked = random_request(1, 960, 5)
        assert ids_of(engine.stream(asked)) == slow_tokens(asked)
        assert (world.num_cached_pages, world.executor.weight_bytes) == (15, WEIGHTS_BYTES)
        num_passes = engine.statistics().load.num_passes

        world.leave(EVERYTHING_BYTES - 48 * MIB)  # pages that nobody wants go first
        assert world.num_pages < NUM_PAGES
        assert (world.num_cached_pages, world.executor.weight_bytes) == (15, WEIGHTS_BYTES)

        world.executor.events.clear()
        world.leave(BASE_BYTES + RING_BYTES + 20 * MIB)
        assert world.executor.events[0] == "pages"
        assert world.executor.events[-1] == "weights"
        assert world.executor.weight_bytes < 2 * RING_BYTES
        assert world.executor.num_written_pages <= world.num_pages <= 5
        assert world.budget.leased_bytes <= world.budget.total_bytes <= BASE_BYTES + RING_BYTES + 20 * MIB

        world.leave(2 * EVERYTHING_BYTES, num_looks=8)
        assert (world.num_pages, world.executor.weight_bytes) == (NUM_PAGES, WEIGHTS_BYTES)
        assert engine.statistics().load.num_passes == num_passes
        assert ids_of(engine.stream(asked)) == slow_tokens(asked)


def test_what_the_process_takes_more_is_leased_and_comes_from_the_weights() -> None:
    world = World()
    with world.engine:
        world.leave(BASE_BYTES + RING_BYTES + 200 * MIB)
        before_bytes = world.executor.weight_bytes
        assert world.budget.of("process") == BASE_BYTES
        for base_bytes in (BASE_BYTES + 64 * MIB, BASE_BYTES // 2):
            world.process_bytes = base_bytes
            world.leave(BASE_BYTES + RING_BYTES + 200 * MIB)
            assert world.budget.of("process") == base_bytes
            assert (world.executor.weight_bytes < before_bytes) == (base_bytes > BASE_BYTES)
            assert (world.budget.over_bytes, world.budget.of("weights")) == (0, world.executor.weight_bytes)


def test_a_request_in_a_shortage_is_not_refused_and_has_its_turn_when_there_is_memory() -> None:
    world = World()
    with world.engine as engine:
        world.leave(BASE_BYTES + RING_BYTES + 2 * PAGE_BYTES)
        large, small = random_request(1, 900, 5), random_request(2, 20, 5)
        waiting = engine.stream(large)
        assert ids_of(engine.stream(small)) == slow_tokens(small)
        world.leave(BASE_BYTES + RING_BYTES + 2 * PAGE_BYTES)
        load = engine.statistics().load
        assert (load.num_waiting, load.num_running, load.num_pages) == (1, 0, 1)
        assert world.budget.total_bytes <= BASE_BYTES + RING_BYTES + 2 * PAGE_BYTES
        world.leave(2 * EVERYTHING_BYTES, num_looks=1)
        assert ids_of(waiting) == slow_tokens(large)


def test_a_shortage_that_stays_is_an_error_of_the_request_and_not_of_the_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory_patience, "MEMORY_PATIENCE_S", 0.0)
    world = World()
    with world.engine as engine:
        world.leave(BASE_BYTES + RING_BYTES + 2 * PAGE_BYTES)
        large, small = random_request(1, 900, 5), random_request(2, 20, 5)
        for _ in range(3):
            with pytest.raises(MemoryLimitError, match="no memory for a prompt of 900 tokens"):
                list(engine.stream(large))
            assert ids_of(engine.stream(small)) == slow_tokens(small)
        world.leave(2 * EVERYTHING_BYTES, num_looks=8)
        assert ids_of(engine.stream(large)) == slow_tokens(large)


def test_an_engine_that_was_never_asked_anything_follows_too() -> None:
    world = World()
    with world.engine as engine:
        world.leave(BASE_BYTES + RING_BYTES + 20 * MIB)
        assert world.executor.weight_bytes < 2 * RING_BYTES
        assert engine.statistics().load.num_passes == 0


def test_closing_does_not_wait_for_the_next_look() -> None:
    world = World(lambda: 1e6)
    world.engine.close()
    assert world.executor.num_closed == 1
    assert world.num_looks == 1


def test_a_forgotten_engine_is_closed_although_its_thread_waits() -> None:
    world = World(lambda: 1e6)
    del world.engine
    gc.collect()
    assert world.executor.num_closed == 1


def test_an_engine_without_a_budget_sleeps_until_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts: list[float | None] = []

    class Noting(SimpleQueue[Any]):  # of messages and of tokens
        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            timeouts.append(timeout)
            return super().get(block, timeout)

    monkeypatch.setattr("pocketseek.runtime.worker.SimpleQueue", Noting)
    with fake_engine() as engine:
        assert "pocketseek-engine" not in {thread.name for thread in threading.enumerate()}
        assert ids_of(engine.stream(random_request(1))) == slow_tokens(random_request(1))
    assert set(timeouts) == {None}


def test_an_engine_that_is_loaded_follows_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = convert_checkpoint(tiny_hf_directory(tmp_path / "hf"), tmp_path / "model", models_dir=tmp_path)
    looked = threading.Semaphore(0)
    read = MemoryWatch.read

    def noting(watch: MemoryWatch) -> MemoryFacts:
        looked.release()
        return read(watch)

    monkeypatch.setattr(MemoryWatch, "read", noting)
    for name in ("INTERVAL_S", "LEAST_REST_S", "LONGEST_REST_S"):
        monkeypatch.setattr(governor_module, name, 0.001)
    with load(package):
        for _ in range(10):
            assert looked.acquire(timeout=WAIT_S)
