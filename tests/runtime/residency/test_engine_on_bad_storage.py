"""Storage fails under an engine: a clean error or the same bytes, an engine that goes on, and nothing left behind."""

import os
import shutil
import threading
import time
from pathlib import Path
from random import Random

import pytest
from bad_storage import FOR_EVER, Disk, Meddler, do_damage, overwrite
from streaming_engine import (
    SMALL_UNIT_BYTES,
    chunk_paths,
    held,
    keep_in_memory,
    many_requests,
    outcomes,
    run_alone,
    small_units,
)

from pocketseek.errors import IntegrityError, StorageError
from pocketseek.runtime.load import load
from pocketseek.runtime.residency.chunk_files import RETRIES
from pocketseek.types import TokenEvent

REQUESTS = many_requests(1024, num_tokens=24)
FAULTS = 24
WAIT_S = 60  # only a hanging test ever waits that long
STREAMED, HALF, ALL = 0.0, 0.5, None
shares = pytest.mark.parametrize("share", [STREAMED, HALF, ALL])
streaming_shares = pytest.mark.parametrize("share", [STREAMED, HALF])


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketseek.runtime.residency.chunk_files.RETRY_PAUSE_S", 0.0)


@pytest.fixture
def package(streaming_package: Path, tmp_path: Path) -> Path:
    return shutil.copytree(streaming_package, tmp_path / "package")


@pytest.fixture(scope="module")
def expected(streaming_package: Path) -> list[list[TokenEvent]]:
    with load(streaming_package, prefix_cache=False, speculation=False) as engine:
        return run_alone(engine, REQUESTS)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    small_units(monkeypatch, disk)
    return disk


@streaming_shares
def test_a_place_that_can_be_read_the_second_time_costs_a_pass(
    package: Path, expected: list[list[TokenEvent]], disk: Disk, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in_memory(monkeypatch, share)
    with load(package, prefix_store_bytes=0) as engine:
        next(engine.stream(REQUESTS[1]))
        disk.num_failures = RETRIES + 1
        assert outcomes(engine, REQUESTS) == expected
        statistics = engine.statistics()
    assert (statistics.num_retried_passes, statistics.num_failed_passes, disk.num_failures) == (1, 0, 0)


@streaming_shares
def test_a_place_that_cannot_be_read_ends_who_needs_it_until_it_can_and_leaves_nothing_behind(
    package: Path, expected: list[list[TokenEvent]], disk: Disk, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in_memory(monkeypatch, share)
    before_opening = held(package)
    with load(package, prefix_store_bytes=0) as engine:
        assert outcomes(engine, REQUESTS) == expected
        before = held(package)
        for _ in range(FAULTS):
            disk.num_failures = FOR_EVER
            assert outcomes(engine, REQUESTS) == [StorageError] * len(REQUESTS)
            disk.num_failures = 0
            assert outcomes(engine, REQUESTS[:1]) == expected[:1]
            assert held(package) == before
        # A ring is two units or more; the heap of a process that ran thousands of tests moves by some megabytes.
        assert held(package).anonymous_bytes - before.anonymous_bytes < FAULTS * SMALL_UNIT_BYTES
        assert outcomes(engine, REQUESTS) == expected
        load_now = engine.statistics().load
        assert load_now.num_free_pages == load_now.num_pages
    assert held(package) == before_opening


def test_on_a_disk_that_often_fails_every_answer_is_right_or_an_error(
    package: Path, expected: list[list[TokenEvent]], disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = int.from_bytes(os.urandom(4))
    random = Random(seed)

    def break_sometimes() -> None:
        if not disk.num_failures and random.random() < 0.01:
            disk.num_failures = random.choice([1, RETRIES + 1, 3 * (RETRIES + 1)])

    keep_in_memory(monkeypatch, STREAMED)
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
    assert statistics.load.num_free_pages == statistics.load.num_pages, f"seed {seed}"


@shares
@pytest.mark.parametrize("damage", ["cut short", "a bit"])
def test_a_damaged_chunk_is_an_error_until_a_good_one_is_in_its_place(
    package: Path, expected: list[list[TokenEvent]], share: float | None, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in_memory(monkeypatch, share)
    small_units(monkeypatch)
    with load(package, prefix_store_bytes=0) as engine:
        assert outcomes(engine, REQUESTS) == expected
        before = held(package)
        for path in chunk_paths(package)[1::7]:
            good = path.read_bytes()
            do_damage(path, damage)
            assert set(outcomes(engine, REQUESTS[:3])) <= {IntegrityError, StorageError}
            assert set(outcomes(engine, REQUESTS[3:])) == {IntegrityError}
            path.unlink()
            path.write_bytes(good)
            assert outcomes(engine, REQUESTS[:1]) == expected[:1]
            assert held(package) == before
        assert outcomes(engine, REQUESTS) == expected


def test_bytes_that_are_wrong_for_a_moment_get_into_no_answer_and_into_no_page(
    package: Path, expected: list[list[TokenEvent]], monkeypatch: pytest.MonkeyPatch
) -> None:
    meddler = Meddler(monkeypatch, chunk_paths(package)[2], overwrite)
    with load(package, prefix_store_bytes=0) as engine:
        meddler.num_times = 2
        assert outcomes(engine, REQUESTS) == expected
        assert outcomes(engine, REQUESTS) == expected
        statistics = engine.statistics()
        assert (statistics.num_retried_passes, statistics.num_failed_passes, meddler.num_times) == (0, 0, 0)
        assert statistics.load.num_cached_prompt_tokens > 0


@streaming_shares
def test_bytes_that_are_wrong_for_a_moment_while_they_stream_are_an_error_at_most(
    package: Path, expected: list[list[TokenEvent]], share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in_memory(monkeypatch, share)
    small_units(monkeypatch)
    meddler = Meddler(monkeypatch, chunk_paths(package)[2], overwrite)
    with load(package, prefix_store_bytes=0) as engine:
        for _ in range(3):
            meddler.num_times = 1
            for one, right in zip(outcomes(engine, REQUESTS), expected, strict=True):
                assert one in (right, IntegrityError)
            assert outcomes(engine, REQUESTS) == expected


@shares
def test_a_file_that_is_touched_costs_one_hashing_and_no_failed_pass(
    package: Path, expected: list[list[TokenEvent]], share: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in_memory(monkeypatch, share)
    small_units(monkeypatch)
    meddler = Meddler(monkeypatch, chunk_paths(package)[2], lambda path: os.utime(path, (1, 1)))
    with load(package, prefix_store_bytes=0) as engine:
        meddler.num_times = 1
        assert outcomes(engine, REQUESTS) == expected
        assert meddler.num_hashings == 1
        os.utime(chunk_paths(package)[3], (2, 2))
        assert outcomes(engine, REQUESTS) == expected
        assert meddler.num_hashings == 2
        statistics = engine.statistics()
    assert (statistics.num_retried_passes, statistics.num_failed_passes) == (0, 0)


def test_a_file_that_is_written_to_all_the_time_is_an_error_until_that_ends(
    package: Path, expected: list[list[TokenEvent]], monkeypatch: pytest.MonkeyPatch
) -> None:
    meddler = Meddler(monkeypatch, chunk_paths(package)[2], overwrite)
    with load(package, prefix_store_bytes=0) as engine:
        meddler.num_times = FOR_EVER
        assert outcomes(engine, REQUESTS[:1]) == [StorageError]
        meddler.num_times = 0
        assert outcomes(engine, REQUESTS) == expected


@shares
def test_chunks_that_are_removed_or_replaced_by_other_files_meanwhile_are_read_on(
    package: Path, expected: list[list[TokenEvent]], share: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in_memory(monkeypatch, share)
    small_units(monkeypatch)
    paths = chunk_paths(package)
    with load(package, prefix_store_bytes=0) as engine:
        streams = [engine.stream(one) for one in REQUESTS]
        first = [next(stream) for stream in streams]
        other = package / "other"
        for path in paths[1::2]:
            other.write_bytes(b"x" * path.stat().st_size)
            other.replace(path)
        for path in paths[2::2]:
            path.unlink()
        answers = [[event, *stream] for event, stream in zip(first, streams, strict=True)]
        assert answers == expected
        shutil.rmtree(package)
        assert outcomes(engine, REQUESTS) == expected


def test_a_disk_that_hangs_holds_up_and_breaks_nothing(
    package: Path, expected: list[list[TokenEvent]], disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go = threading.Event(), threading.Event()

    def hang() -> None:
        reached.set()
        assert go.wait(WAIT_S)

    keep_in_memory(monkeypatch, STREAMED)
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
    package: Path, expected: list[list[TokenEvent]], disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.before = lambda: time.sleep(0.001)
    keep_in_memory(monkeypatch, HALF)
    with load(package, prefix_store_bytes=0) as engine:
        assert outcomes(engine, REQUESTS) == expected
