"""An engine whose experts do not all fit: the same bytes, in changing memory, and sealed.

On storage that fails: test_engine_on_bad_storage.py.
"""

import gc
import os
import shutil
import threading
from pathlib import Path

import pytest
from bad_storage import Meddler, overwrite
from runtime.residency.test_engine_in_changing_memory import least_bytes
from streaming_engine import (
    MovingLimit,
    expert_paths,
    held,
    keep_in_memory,
    many_requests,
    outcomes,
    run_alone,
    run_together,
    watch_experts,
)

from pocketseek.errors import IntegrityError, MemoryLimitError
from pocketseek.package.sealing.in_place import seal_package
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.runtime.load import load
from pocketseek.runtime.memory_use import MemoryUse
from pocketseek.runtime.residency.expert_weights import ExpertWeights
from pocketseek.types import TokenEvent

REQUESTS = many_requests(4096, num_tokens=24)
MB = 1_000_000
NUM_MOVES = 50
LEAST, HALF, ALL = 0.0, 0.5, None
shares = pytest.mark.parametrize("share", [LEAST, HALF, ALL])


def secret() -> Secret:
    return Secret("key", bytearray(b"k" * 32))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POCKETSEEK_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("pocketseek.runtime.residency.chunk_files.RETRY_PAUSE_S", 0.0)
    (tmp_path / "home").mkdir()
    gc.collect()  # what tests before left is not counted
    return tmp_path / "home"


@pytest.fixture
def package(sparse_package: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sparse_package, tmp_path / "package")


@pytest.fixture(scope="module")
def expected(sparse_package: Path) -> list[list[TokenEvent]]:
    with load(sparse_package, prefix_cache=False, speculation=False) as engine:
        return run_alone(engine, REQUESTS)


def test_alone_and_together_in_all_the_memory_and_in_some_of_it(
    package: Path, expected: list[list[TokenEvent]], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights_of = watch_experts(monkeypatch)
    kept = keep_in_memory(monkeypatch, ALL)
    with load(package, prefix_store_bytes=0) as engine:
        for share in (ALL, LEAST, HALF, ALL, HALF):
            kept.value = share
            assert run_together(engine, REQUESTS) == expected
            assert run_together(engine, REQUESTS[::-1]) == expected[::-1]
            assert (weights_of[-1].num_slots is None) == (share is ALL)
        load_now = engine.statistics().load
        assert load_now.num_accepted > 0
        assert load_now.num_cached_prompt_tokens > 0
        assert weights_of[-1].store.num_hits > 0
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pocketseek-reader")]


@shares
def test_a_closed_engine_has_nothing_mapped_even_before_garbage_is_collected(
    package: Path, expected: list[list[TokenEvent]], share: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is mapped is not dropped from the page cache, and takes disk after its files are removed."""
    keep_in_memory(monkeypatch, share)
    gc.disable()
    try:
        with load(package, prefix_store_bytes=0) as engine:
            assert outcomes(engine, REQUESTS[:2]) == expected[:2]
            assert held(package).num_maps > 0
        assert held(package).num_maps == 0
    finally:
        gc.enable()


def test_a_sealed_model_too_and_nothing_is_kept_of_what_it_used(
    package: Path, expected: list[list[TokenEvent]], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = keep_in_memory(monkeypatch, LEAST)
    with load(package) as engine:
        assert run_together(engine, REQUESTS) == expected
    assert len(list((home / "experts").iterdir())) == 1
    shutil.rmtree(home / "experts")
    seal_package(package, secret, "aes-256-gcm")
    with load(package, secret=secret()) as engine:
        for share in (LEAST, HALF, ALL, LEAST):
            kept.value = share
            assert run_together(engine, REQUESTS) == expected
    assert not (home / "experts").exists()


def test_the_next_start_reads_the_experts_first_that_were_used(
    package: Path, expected: list[list[TokenEvent]], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights_of = watch_experts(monkeypatch)
    keep_in_memory(monkeypatch, HALF)
    with load(package, prefix_store_bytes=0) as engine:
        assert run_together(engine, REQUESTS) == expected
    (path,) = (home / "experts").iterdir()
    with load(package, prefix_store_bytes=0):
        assert weights_of[-1].policy.state() == weights_of[-2].policy.state()
    for damage in (b"", b"{", path.read_bytes().replace(b"[[", b"[[-1,"), b'{"format": 1}'):
        path.write_bytes(damage)
        with load(package, prefix_store_bytes=0) as engine:
            assert outcomes(engine, REQUESTS[:1]) == expected[:1]
    path.unlink()
    path.parent.rmdir()
    path.parent.write_bytes(b"a file where the directory should be")
    with load(package, prefix_store_bytes=0) as engine:
        assert outcomes(engine, REQUESTS[:1]) == expected[:1]


def test_while_the_memory_changes_fifty_times_leases_stay_within_the_budget(
    package: Path, expected: list[list[TokenEvent]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = int.from_bytes(os.urandom(4))
    weights_of = watch_experts(monkeypatch)
    least = least_bytes(package, monkeypatch)
    moving = MovingLimit(monkeypatch, seed)
    with load(package) as engine:
        moving.low_bytes, moving.high_bytes = least, least + weights_of[-1].num_bytes
        while min(moving.num_moves, moving.num_streaming) < NUM_MOVES:
            assert run_together(engine, REQUESTS) == expected, f"seed {seed}"
    assert not moving.too_much, f"seed {seed}: {moving.too_much[:3]}"


def test_slots_are_not_counted_twice(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they take is not part of what the process takes besides."""
    base: list[int] = []
    usual = MemoryUse.footprint

    def footprint(use: MemoryUse) -> object:
        facts = usual(use)
        base.append(facts.base_bytes)
        return facts

    monkeypatch.setattr(MemoryUse, "footprint", footprint)
    weights_of = watch_experts(monkeypatch)
    keep_in_memory(monkeypatch, 0.9)
    with load(package, prefix_store_bytes=0) as engine:
        run_together(engine, REQUESTS)
        assert weights_of[-1].ring_bytes > 0.6 * weights_of[-1].num_bytes
    assert max(base) - base[0] < weights_of[-1].num_bytes // 2


def test_less_than_what_every_token_needs_is_one_clear_line(package: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(
        MemoryLimitError, match=r"at least \d+ MB of memory and 1 MB are there for it; allow \d+ MB more"
    ):
        load(package, memory_bytes=1 * MB)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pocketseek-reader")]


def test_an_observer_changes_no_text_and_dense_models_have_none(
    package: Path, expected: list[list[TokenEvent]], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights_of = watch_experts(monkeypatch)
    seen: list[int] = []
    with load(package, prefix_store_bytes=0) as engine:
        weights_of[-1].on_routing = lambda layer, chosen: seen.append(layer)
        assert run_together(engine, REQUESTS) == expected
    assert seen[:4] == [1, 2, 3, 1]


@shares
def test_bytes_that_are_wrong_for_a_moment_get_into_no_answer(
    package: Path, expected: list[list[TokenEvent]], share: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in_memory(monkeypatch, share)
    meddler = Meddler(monkeypatch, expert_paths(package)[1], overwrite, ExpertWeights)
    with load(package, prefix_store_bytes=0) as engine:
        for _ in range(3):
            meddler.num_times = 2
            for one, right in zip(outcomes(engine, REQUESTS), expected, strict=True):
                assert one in (right, IntegrityError)
            assert outcomes(engine, REQUESTS) == expected
