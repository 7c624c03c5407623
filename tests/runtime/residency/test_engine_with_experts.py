"""An engine whose experts do not all fit: the same bytes, in changing memory, sealed, and on storage that fails."""

import gc
import os
import shutil
import threading
import time
from pathlib import Path
from random import Random

import pytest
from bad_storage import FOR_EVER, Disk, Meddler, do_damage, overwrite
from runtime.residency.test_engine_in_changing_memory import least_bytes
from streaming_engine import (
    Held,
    MovingLimit,
    chunk_paths,
    held,
    keep_in_memory,
    many_requests,
    outcomes,
    run_alone,
    run_together,
    watch_experts,
)

from pocketseek.errors import IntegrityError, MemoryLimitError, StorageError
from pocketseek.package.key_slots import Secret
from pocketseek.package.manifest import read_manifest
from pocketseek.package.sealing import seal_package
from pocketseek.runtime.load import load
from pocketseek.runtime.memory_use import MemoryUse
from pocketseek.runtime.residency.chunk_files import RETRIES
from pocketseek.runtime.residency.expert_weights import ExpertWeights
from pocketseek.types import TokenEvent

REQUESTS = many_requests(4096, num_tokens=24)
MB = 1_000_000
NUM_MOVES = 50
FAULTS = 12
WAIT_S = 60
LEAST, HALF, ALL = 0.0, 0.5, None
shares = pytest.mark.parametrize("share", [LEAST, HALF, ALL])
partly = pytest.mark.parametrize("share", [LEAST, HALF])


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


def expert_paths(package: Path) -> list[Path]:
    stages = [entry.stage for entry in read_manifest(package).chunks]
    return [path for path, stage in zip(chunk_paths(package), stages, strict=True) if stage.startswith("experts.")]


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


@partly
def test_a_place_that_can_be_read_the_second_time_costs_a_pass_at_most(
    package: Path, expected: list[list[TokenEvent]], share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk()
    watch_experts(monkeypatch, disk)
    keep_in_memory(monkeypatch, share)
    with load(package, prefix_store_bytes=0) as engine:
        next(engine.stream(REQUESTS[1]))
        disk.num_failures = RETRIES + 1
        assert outcomes(engine, REQUESTS) == expected
        statistics = engine.statistics()
    assert statistics.num_retried_passes <= 1
    assert (statistics.num_failed_passes, disk.num_failures) == (0, 0)


@partly
def test_a_place_that_cannot_be_read_ends_who_needs_it_until_it_can_and_leaves_nothing_behind(
    package: Path, expected: list[list[TokenEvent]], share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk()
    weights_of = watch_experts(monkeypatch, disk)
    keep_in_memory(monkeypatch, share)
    before_opening = held(package)
    with load(package, prefix_store_bytes=0) as engine:
        assert outcomes(engine, REQUESTS) == expected
        before = held(package)
        for _ in range(FAULTS):
            disk.num_failures = FOR_EVER
            for one, right in zip(outcomes(engine, REQUESTS), expected, strict=True):
                assert one in (right, StorageError)
            disk.num_failures = 0
            assert outcomes(engine, REQUESTS[:1]) == expected[:1]
            assert held(package) == before
        assert weights_of[-1].ring_bytes <= weights_of[-1].memory_bytes
        assert outcomes(engine, REQUESTS) == expected
        load_now = engine.statistics().load
        assert load_now.num_free_pages == load_now.num_pages
    assert held(package) == before_opening


def test_on_a_disk_that_often_fails_every_answer_is_right_or_an_error(
    package: Path, expected: list[list[TokenEvent]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = int.from_bytes(os.urandom(4))
    random = Random(seed)
    disk = Disk()

    def break_sometimes() -> None:
        if not disk.num_failures and random.random() < 0.002:
            disk.num_failures = random.choice([1, RETRIES + 1, 3 * (RETRIES + 1)])

    watch_experts(monkeypatch, disk)
    keep_in_memory(monkeypatch, LEAST)
    with load(package, prefix_store_bytes=0) as engine:
        next(engine.stream(REQUESTS[0]))
        disk.before = break_sometimes
        for one, right in zip(outcomes(engine, REQUESTS * 3), expected * 3, strict=True):
            assert one in (right, StorageError), f"seed {seed}"
        disk.before = lambda: None
        disk.num_failures = 0
        assert outcomes(engine, REQUESTS) == expected, f"seed {seed}"
        statistics = engine.statistics()
    assert statistics.num_retried_passes > 0, f"seed {seed}"
    assert statistics.load.num_free_pages == statistics.load.num_pages


@shares
@pytest.mark.parametrize("damage", ["cut short", "a bit"])
def test_a_damaged_chunk_is_an_error_until_a_good_one_is_in_its_place(
    package: Path, expected: list[list[TokenEvent]], share: float | None, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in_memory(monkeypatch, share)
    watch_experts(monkeypatch)
    with load(package, prefix_store_bytes=0) as engine:
        assert outcomes(engine, REQUESTS) == expected
        before: Held | None = None  # from the first damage on there are readers, also where everything is in memory
        for path in (expert_paths(package)[0], chunk_paths(package)[1], expert_paths(package)[-1]):
            good = path.read_bytes()
            do_damage(path, damage)
            assert set(outcomes(engine, REQUESTS[:3])) <= {IntegrityError, StorageError}
            assert set(outcomes(engine, REQUESTS[3:])) == {IntegrityError}
            path.unlink()
            path.write_bytes(good)
            assert outcomes(engine, REQUESTS[:1]) == expected[:1]
            before = before or held(package)
            assert held(package) == before
        assert outcomes(engine, REQUESTS) == expected


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


@shares
def test_a_file_that_is_touched_costs_one_hashing_and_no_failed_pass(
    package: Path, expected: list[list[TokenEvent]], share: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in_memory(monkeypatch, share)
    path = expert_paths(package)[2]
    meddler = Meddler(monkeypatch, path, lambda path: os.utime(path, (1, 1)), ExpertWeights)
    with load(package, prefix_store_bytes=0) as engine:
        meddler.num_times = 1
        assert outcomes(engine, REQUESTS) == expected
        assert meddler.num_hashings == 1
        os.utime(path, (2, 2))
        assert outcomes(engine, REQUESTS) == expected
        assert meddler.num_hashings == 2
        statistics = engine.statistics()
    assert (statistics.num_retried_passes, statistics.num_failed_passes) == (0, 0)


@shares
def test_chunks_that_are_removed_or_replaced_by_other_files_meanwhile_are_read_on(
    package: Path, expected: list[list[TokenEvent]], share: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in_memory(monkeypatch, share)
    with load(package, prefix_store_bytes=0) as engine:
        streams = [engine.stream(one) for one in REQUESTS]
        first = [next(stream) for stream in streams]
        other = package / "other"
        for path in chunk_paths(package)[1::2]:
            other.write_bytes(b"x" * path.stat().st_size)
            other.replace(path)
        for path in chunk_paths(package)[2::2]:
            path.unlink()
        assert [[event, *stream] for event, stream in zip(first, streams, strict=True)] == expected
        shutil.rmtree(package)
        assert outcomes(engine, REQUESTS) == expected


def test_a_disk_that_hangs_holds_up_and_breaks_nothing(
    package: Path, expected: list[list[TokenEvent]], monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go = threading.Event(), threading.Event()
    disk = Disk()

    def hang() -> None:
        reached.set()
        assert go.wait(WAIT_S)

    watch_experts(monkeypatch, disk)
    keep_in_memory(monkeypatch, LEAST)
    with load(package, prefix_store_bytes=0) as engine:
        streams = [engine.stream(one) for one in REQUESTS]
        next(streams[0])
        disk.before = hang
        assert reached.wait(WAIT_S)
        streams.pop(0).close()
        late = engine.stream(REQUESTS[0])
        disk.before = lambda: None
        go.set()
        assert [list(stream) for stream in streams] == expected[1:]
        assert list(late) == expected[0]


def test_a_slow_disk_is_waited_for(
    package: Path, expected: list[list[TokenEvent]], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk()
    disk.before = lambda: time.sleep(0.0005)
    watch_experts(monkeypatch, disk)
    keep_in_memory(monkeypatch, HALF)
    with load(package, prefix_store_bytes=0) as engine:
        assert outcomes(engine, REQUESTS) == expected
