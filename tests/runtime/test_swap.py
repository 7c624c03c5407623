"""Pages of pre-empted sequences come back from disk as they were, or not at all; what is left over is nothing."""

import itertools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeExecutor, random_request, slow_tokens
from simulated_engine import SimulatedEngine

from pocketseek.runtime.swap import SwapSpace
from pocketseek.types import Limits

AT_ONCE = Limits(1, coalesce_s=0.0)


class Memory:
    """Four pages of 32 bytes."""

    def __init__(self) -> None:
        self.pages = np.arange(128, dtype=np.uint8).reshape(4, 32)

    def read_page(self, page_id: int) -> memoryview:
        return memoryview(self.pages[page_id])

    def write_page(self, page_id: int, data: memoryview) -> None:
        self.pages[page_id] = np.frombuffer(data, np.uint8)


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def swap(tmp_path: Path, memory: Memory) -> Iterator[SwapSpace]:
    with closing(SwapSpace(tmp_path / "deep" / "down", memory)) as space:
        yield space


def test_pages_come_back_into_other_places_as_they_were(swap: SwapSpace, memory: Memory) -> None:
    before = memory.pages.copy()
    assert swap.put(7, [2, 0])
    memory.pages[:] = 0
    assert swap.take(7, 0, [1, 3])
    assert (memory.pages[[1, 3]] == before[[2, 0]]).all()
    assert swap.num_bytes == 0


def test_a_part_may_come_back_when_the_beginning_is_there_already(swap: SwapSpace, memory: Memory) -> None:
    last = memory.pages[3].copy()
    assert swap.put(7, [1, 2, 3])
    assert swap.take(7, 2, [0])
    assert (memory.pages[0] == last).all()


def test_other_pages_than_were_put_are_not_taken(swap: SwapSpace) -> None:
    assert swap.put(7, [0, 1])
    assert not swap.take(7, 0, [2])
    assert not swap.take(7, 0, [0, 1])  # forgotten meanwhile


def test_nothing_has_a_name_and_everything_is_gone_when_it_is_closed(swap: SwapSpace, tmp_path: Path) -> None:
    assert swap.put(1, [0])
    assert swap.put(2, [1, 2])
    assert [*(tmp_path / "deep" / "down").iterdir()] == []
    assert swap.num_bytes == 3 * 32
    swap.close()
    assert swap.num_bytes == 0


def test_a_disk_that_refuses_is_counted_and_nothing_is_kept(tmp_path: Path, memory: Memory) -> None:
    (tmp_path / "file").write_text("not a folder")
    swap = SwapSpace(tmp_path / "file", memory)
    assert not swap.put(1, [0])
    assert swap.num_failures == 1
    assert not swap.take(1, 0, [0])


def test_a_full_swap_space_takes_no_more_until_some_is_free(tmp_path: Path, memory: Memory) -> None:
    with closing(SwapSpace(tmp_path, memory, limit_bytes=64)) as swap:
        assert swap.put(1, [0])
        assert not swap.put(2, [1, 2])
        assert swap.put(2, [1])
        swap.drop(1)
        assert swap.put(3, [0])


def test_seconds_follow_the_disk(tmp_path: Path, memory: Memory) -> None:
    ticks: Iterator[float] = itertools.count(0.0)
    swap = SwapSpace(tmp_path, memory, clock=lambda: next(ticks))
    first_s = swap.seconds([0, 1])
    for _ in range(30):
        assert swap.put(1, [0, 1])  # a second for 64 bytes
        assert swap.take(1, 0, [0, 1])
    assert first_s < 1e-5
    assert swap.seconds([0, 1]) == pytest.approx(2.0, rel=0.01)


def preempting(tmp_path: Path | None) -> SimulatedEngine:
    """Three sequences that grow into a pool which has room for two."""
    engine = SimulatedEngine(8, limits=AT_ONCE, swap_folder=tmp_path)
    for seed in range(3):
        engine.submit(random_request(seed, 100, 150))
    engine.play()
    engine.check_all_ended()
    return engine


def test_what_was_swapped_out_is_not_computed_again(tmp_path: Path) -> None:
    swapping, computing = preempting(tmp_path), preempting(None)
    assert swapping.scheduler.counts().num_swapped_out == swapping.scheduler.counts().num_preemptions > 0
    assert computing.scheduler.counts().num_preemptions > 0
    assert swapping.scheduler.counts().num_prompt_tokens == 300
    assert computing.scheduler.counts().num_prompt_tokens > 300


def test_pages_are_computed_again_where_that_is_cheaper(tmp_path: Path) -> None:
    engine = SimulatedEngine(8, limits=AT_ONCE, swap_folder=tmp_path)
    assert engine.swap is not None
    engine.swap._bytes_per_s = 1.0
    for seed in range(3):
        engine.submit(random_request(seed, 100, 150))
    engine.play()
    counts = engine.scheduler.counts()
    assert counts.num_preemptions > 0
    assert counts.num_swapped_out == 0


def test_a_file_that_lost_bytes_costs_time_and_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketseek.runtime.swap.write_all", lambda descriptor, data: None)
    engine = preempting(tmp_path)
    assert engine.swap is not None
    assert engine.swap.num_failures > 0
    assert engine.scheduler.counts().num_prompt_tokens > 300


def test_cancelling_a_swapped_sequence_frees_its_file(tmp_path: Path) -> None:
    engine = SimulatedEngine(4, limits=AT_ONCE, swap_folder=tmp_path)
    assert engine.swap is not None
    for seed in range(2):
        engine.submit(random_request(seed, 60, 150))
    while not engine.swap.num_bytes:
        engine.run_pass()
    assert engine.cancel(1)
    assert engine.swap.num_bytes == 0
    engine.play()
    assert engine.tokens[0] == slow_tokens(random_request(0, 60, 150))


def test_executor_gives_and_takes_pages_as_bytes() -> None:
    executor = FakeExecutor()
    executor.reserve_pages(2)
    executor.write_page(1, memoryview(bytes(range(256)) * 2))
    assert bytes(executor.read_page(1)) == bytes(range(256)) * 2
