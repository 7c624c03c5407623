"""Whatever the memory is and becomes, the engine writes the same bytes: sampled, many at once, with a prefix cache and
with drafts, against one request after the other in all the memory there is and without any of that."""

import os
import threading
from pathlib import Path

import pytest
from streaming_engine import MovingLimit, many_requests, run_alone, run_together, small_units

from pocketseek.runtime.load import load
from pocketseek.runtime.memory_use import MemoryUse
from pocketseek.types import TokenEvent

VOCAB_SIZE = 1024
REQUESTS = many_requests(VOCAB_SIZE)
NUM_MOVES = 50
MB = 1_000_000


@pytest.fixture(scope="module")
def expected(streaming_package: Path) -> list[list[TokenEvent]]:
    with load(streaming_package, prefix_cache=False, speculation=False) as engine:
        return run_alone(engine, REQUESTS)


@pytest.fixture(scope="module")
def package_of_1500m(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """0.87 GB: the one that is named, or one that is written for the occasion."""
    named = os.environ.get("POCKETSEEK_PACKAGE_1500M")
    if named:
        return Path(named)
    import random_package

    path = tmp_path_factory.mktemp("random") / "package"
    random_package.write_package(path, random_package.SHAPES["r1-distill-qwen-1.5b"], seed=1)
    return path


def least_bytes(package: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """What the engine says it needs for streaming everything."""
    found: list[int] = []
    usual = MemoryUse.footprint

    def footprint(use: MemoryUse) -> object:
        found.append(use.least_bytes)
        return usual(use)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryUse, "footprint", footprint)
        load(package, prefix_store_bytes=0).close()
    return max(found)


@pytest.mark.parametrize("more_mb", [3, 6])
def test_in_a_part_of_the_memory_the_bytes_are_the_same(
    streaming_package: Path, expected: list[list[TokenEvent]], more_mb: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights_of = small_units(monkeypatch)
    memory_bytes = least_bytes(streaming_package, monkeypatch) + more_mb * MB
    with load(streaming_package, memory_bytes=memory_bytes) as engine:
        assert run_together(engine, REQUESTS) == expected
        assert run_together(engine, REQUESTS[::-1]) == expected[::-1]
        load_now = engine.statistics().load
        weights = weights_of[-1]
        assert weights.plan.slots
        assert weights.read_bytes > load_now.num_passes * weights.plan.streamed_bytes / 4  # it is the most at the end
        assert load_now.num_cached_prompt_tokens > 0
        assert load_now.num_accepted > 0


def test_while_the_memory_changes_fifty_times_the_bytes_are_the_same_and_leases_stay_within_the_budget(
    streaming_package: Path, expected: list[list[TokenEvent]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = int.from_bytes(os.urandom(4))
    weights_of = small_units(monkeypatch)
    least = least_bytes(streaming_package, monkeypatch)
    moving = MovingLimit(monkeypatch, seed)
    with load(streaming_package) as engine:
        moving.low_bytes, moving.high_bytes = least, least + weights_of[-1].num_bytes
        while min(moving.num_moves, moving.num_streaming) < NUM_MOVES:
            assert run_together(engine, REQUESTS) == expected, f"seed {seed}"
    assert not moving.too_much, f"seed {seed}: {moving.too_much[:3]}"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pocketseek-reader")]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_1500m_shape_writes_the_same_bytes_in_600_mb_and_while_the_memory_changes_fifty_times(
    package_of_1500m: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = int.from_bytes(os.urandom(4))
    requests = many_requests(VOCAB_SIZE, num_tokens=30)
    with load(package_of_1500m, prefix_cache=False, speculation=False) as engine:
        whole = run_alone(engine, requests)
    with load(package_of_1500m, memory_bytes=600 * MB) as engine:
        assert run_together(engine, requests) == whole
        counts = engine.statistics().load
    assert counts.num_cached_prompt_tokens > 0
    moving = MovingLimit(monkeypatch, seed)
    with load(package_of_1500m) as engine:
        moving.low_bytes, moving.high_bytes = 300 * MB, 1300 * MB
        while moving.num_moves < NUM_MOVES:
            assert run_together(engine, requests) == whole, f"seed {seed}"
    assert not moving.too_much, f"seed {seed}: {moving.too_much[:3]}"
