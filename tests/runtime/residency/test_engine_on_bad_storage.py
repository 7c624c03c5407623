"""Storage fails under an engine: a clean error or the same bytes, an engine that goes on, and nothing left behind.

The same of a model whose weights stream and of one whose experts are read on demand.
"""

import os
import shutil
import threading
import time
from pathlib import Path
from random import Random

import pytest
from bad_storage import (
    EXPERTS,
    FOR_EVER,
    STREAMING,
    Case,
    Disk,
    Meddler,
    Watched,
    assert_failed,
    case_of,
    do_damage,
    overwrite,
)
from streaming_engine import (
    SMALL_UNIT_BYTES,
    chunk_paths,
    expert_paths,
    held,
    keep_in_memory,
    many_requests,
    outcomes,
)

from pocketseek.errors import IntegrityError, StorageError
from pocketseek.runtime.load import load
from pocketseek.runtime.residency.chunk_files import RETRIES

WAIT_S = 60  # only a hanging test ever waits that long
STREAMED, HALF, ALL = 0.0, 0.5, None
shares = pytest.mark.parametrize("share", [STREAMED, HALF, ALL])
streaming_shares = pytest.mark.parametrize("share", [STREAMED, HALF])


@pytest.fixture(scope="module")
def streaming(streaming_package: Path) -> Case:
    return case_of(STREAMING, streaming_package, many_requests(STREAMING.vocab_size, num_tokens=24))


@pytest.fixture(scope="module")
def experts(sparse_package: Path) -> Case:
    return case_of(EXPERTS, sparse_package, many_requests(EXPERTS.vocab_size, num_tokens=24))


@pytest.fixture(params=["streaming", "experts"])
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.getfixturevalue(request.param)
    return found


streams_only = pytest.mark.parametrize("case", ["streaming"], indirect=True)


@pytest.fixture(autouse=True)
def _no_pauses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is learnt of experts is of one test."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("POCKETSEEK_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("pocketseek.runtime.residency.chunk_files.RETRY_PAUSE_S", 0.0)


def some_chunks(case: Case, package: Path) -> list[Path]:
    """Of what may be read while passes run."""
    if case.kind is STREAMING:
        return chunk_paths(package)[1::7]
    return [expert_paths(package)[0], chunk_paths(package)[1], expert_paths(package)[-1]]


@pytest.fixture
def package(case: Case, tmp_path: Path) -> Path:
    return shutil.copytree(case.package, tmp_path / "package")


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def watched(case: Case, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Those of every engine, which read from the disk."""
    return case.kind.watch(monkeypatch, disk)


@streaming_shares
def test_a_place_that_can_be_read_the_second_time_costs_a_pass_at_most(
    package: Path, case: Case, disk: Disk, watched: Watched, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in_memory(monkeypatch, share)
    with load(package, prefix_store_bytes=0) as engine:
        next(engine.stream(case.requests[1]))
        disk.num_failures = RETRIES + 1
        assert outcomes(engine, case.requests) == case.expected
        statistics = engine.statistics()
    assert statistics.num_retried_passes == 1 or (case.kind.spares and not statistics.num_retried_passes)
    assert (statistics.num_failed_passes, disk.num_failures) == (0, 0)


@streaming_shares
def test_a_place_that_cannot_be_read_ends_who_needs_it_until_it_can_and_leaves_nothing_behind(
    package: Path, case: Case, disk: Disk, watched: Watched, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in_memory(monkeypatch, share)
    before_opening = held(package)
    with load(package, prefix_store_bytes=0) as engine:
        assert outcomes(engine, case.requests) == case.expected
        before = held(package)
        for _ in range(case.kind.num_faults):
            disk.num_failures = FOR_EVER
            assert_failed(outcomes(engine, case.requests), case)
            disk.num_failures = 0
            assert outcomes(engine, case.requests[:1]) == case.expected[:1]
            assert held(package) == before
        # A ring is two units or more; the heap of a process that ran thousands of tests moves by some megabytes.
        if case.kind is STREAMING:
            taken_bytes = held(package).anonymous_bytes - before.anonymous_bytes
            assert taken_bytes < case.kind.num_faults * SMALL_UNIT_BYTES
        assert watched[-1].ring_bytes <= watched[-1].memory_bytes
        assert outcomes(engine, case.requests) == case.expected
        load_now = engine.statistics().load
        assert load_now.num_free_pages == load_now.num_pages
    assert held(package) == before_opening


def test_on_a_disk_that_often_fails_every_answer_is_right_or_an_error(
    package: Path, case: Case, disk: Disk, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = int.from_bytes(os.urandom(4))
    random = Random(seed)

    def break_sometimes() -> None:
        if not disk.num_failures and random.random() < case.kind.fault_rate:
            disk.num_failures = random.choice([1, RETRIES + 1, 3 * (RETRIES + 1)])

    keep_in_memory(monkeypatch, STREAMED)
    with load(package, prefix_store_bytes=0) as engine:
        next(engine.stream(case.requests[0]))
        disk.before = break_sometimes
        for one, right in zip(outcomes(engine, case.requests * 3), case.expected * 3, strict=True):
            assert one in (right, StorageError), f"seed {seed}"
        disk.before = lambda: None
        disk.num_failures = 0
        assert outcomes(engine, case.requests) == case.expected, f"seed {seed}"
        statistics = engine.statistics()
    assert statistics.num_retried_passes > 0, f"seed {seed}"
    assert statistics.load.num_free_pages == statistics.load.num_pages, f"seed {seed}"


@shares
@pytest.mark.parametrize("damage", ["cut short", "a bit"])
def test_a_damaged_chunk_is_an_error_until_a_good_one_is_in_its_place(
    package: Path, case: Case, share: float | None, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in_memory(monkeypatch, share)
    case.kind.watch(monkeypatch, os.preadv)
    with load(package, prefix_store_bytes=0) as engine:
        assert outcomes(engine, case.requests) == case.expected
        before = held(package)
        for number, path in enumerate(some_chunks(case, package)):
            good = path.read_bytes()
            do_damage(path, damage)
            assert set(outcomes(engine, case.requests[:3])) <= {IntegrityError, StorageError}
            assert set(outcomes(engine, case.requests[3:])) == {IntegrityError}
            path.unlink()
            path.write_bytes(good)
            assert outcomes(engine, case.requests[:1]) == case.expected[:1]
            if case.kind is EXPERTS and number == 0:  # all readers are there from the first damage on
                before = held(package)
            assert held(package) == before
        assert outcomes(engine, case.requests) == case.expected


@streams_only
def test_bytes_that_are_wrong_for_a_moment_get_into_no_answer_and_into_no_page(
    package: Path, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    meddler = Meddler(monkeypatch, chunk_paths(package)[2], overwrite)
    with load(package, prefix_store_bytes=0) as engine:
        meddler.num_times = 2
        assert outcomes(engine, case.requests) == case.expected
        assert outcomes(engine, case.requests) == case.expected
        statistics = engine.statistics()
        assert (statistics.num_retried_passes, statistics.num_failed_passes, meddler.num_times) == (0, 0, 0)
        assert statistics.load.num_cached_prompt_tokens > 0


@streams_only
@streaming_shares
def test_bytes_that_are_wrong_for_a_moment_while_they_stream_are_an_error_at_most(
    package: Path, case: Case, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in_memory(monkeypatch, share)
    case.kind.watch(monkeypatch, os.preadv)
    meddler = Meddler(monkeypatch, chunk_paths(package)[2], overwrite)
    with load(package, prefix_store_bytes=0) as engine:
        for _ in range(3):
            meddler.num_times = 1
            for one, right in zip(outcomes(engine, case.requests), case.expected, strict=True):
                assert one in (right, IntegrityError)
            assert outcomes(engine, case.requests) == case.expected


@shares
def test_a_file_that_is_touched_costs_one_hashing_and_no_failed_pass(
    package: Path, case: Case, share: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in_memory(monkeypatch, share)
    case.kind.watch(monkeypatch, os.preadv)
    path = some_chunks(case, package)[0]
    meddler = Meddler(monkeypatch, path, lambda path: os.utime(path, (1, 1)), case.kind.weights)
    with load(package, prefix_store_bytes=0) as engine:
        meddler.num_times = 1
        assert outcomes(engine, case.requests) == case.expected
        assert meddler.num_hashings == 1
        os.utime(chunk_paths(package)[3], (2, 2))
        assert outcomes(engine, case.requests) == case.expected
        assert meddler.num_hashings == 2
        statistics = engine.statistics()
    assert (statistics.num_retried_passes, statistics.num_failed_passes) == (0, 0)


@streams_only
def test_a_file_that_is_written_to_all_the_time_is_an_error_until_that_ends(
    package: Path, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    meddler = Meddler(monkeypatch, chunk_paths(package)[2], overwrite)
    with load(package, prefix_store_bytes=0) as engine:
        meddler.num_times = FOR_EVER
        assert outcomes(engine, case.requests[:1]) == [StorageError]
        meddler.num_times = 0
        assert outcomes(engine, case.requests) == case.expected


@shares
def test_chunks_that_are_removed_or_replaced_by_other_files_meanwhile_are_read_on(
    package: Path, case: Case, share: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in_memory(monkeypatch, share)
    case.kind.watch(monkeypatch, os.preadv)
    paths = chunk_paths(package)
    with load(package, prefix_store_bytes=0) as engine:
        streams = [engine.stream(one) for one in case.requests]
        first = [next(stream) for stream in streams]
        other = package / "other"
        for path in paths[1::2]:
            other.write_bytes(b"x" * path.stat().st_size)
            other.replace(path)
        for path in paths[2::2]:
            path.unlink()
        answers = [[event, *stream] for event, stream in zip(first, streams, strict=True)]
        assert answers == case.expected
        shutil.rmtree(package)
        assert outcomes(engine, case.requests) == case.expected


def test_a_disk_that_hangs_holds_up_and_breaks_nothing(
    package: Path, case: Case, disk: Disk, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go = threading.Event(), threading.Event()

    def hang() -> None:
        reached.set()
        assert go.wait(WAIT_S)

    keep_in_memory(monkeypatch, STREAMED)
    with load(package, prefix_store_bytes=0) as engine:
        streams = [engine.stream(one) for one in case.requests]
        next(streams[0])
        disk.before = hang
        assert reached.wait(WAIT_S)
        streams.pop(0).close()
        late = engine.stream(case.requests[0])
        disk.before = lambda: None
        go.set()
        assert [list(stream) for stream in streams] == case.expected[1:]
        assert list(late) == case.expected[0]


def test_a_slow_disk_is_waited_for(
    package: Path, case: Case, disk: Disk, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.before = lambda: time.sleep(0.0005)
    keep_in_memory(monkeypatch, HALF)
    with load(package, prefix_store_bytes=0) as engine:
        assert outcomes(engine, case.requests) == case.expected
