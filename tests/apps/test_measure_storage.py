"""Storage is read, not memory, in bounded time, and nothing is left behind."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from pocketseek.apps import measure_storage as measuring
from pocketseek.apps.measure_storage import READ_SIZES, measure_long_read, measure_storage
from pocketseek.errors import NativeCoreError, StorageError
from pocketseek.kernels.choose import choose_kernels
from pocketseek.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "home", None, 1, "en")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "SAMPLE_BYTES", 8 << 20)
    monkeypatch.setattr(measuring, "LEAST_SAMPLE_BYTES", 1 << 20)
    monkeypatch.setattr(measuring, "_LEAST_WRITTEN_BYTES", 1 << 20)


def install_chunk(settings: Settings, name: str = "aa", num_bytes: int = 9 << 20) -> Path:
    chunks = settings.models_dir / "some" / "chunks"
    chunks.mkdir(parents=True, exist_ok=True)
    path = chunks / name
    with path.open("wb") as file:
        file.write(os.urandom(num_bytes))
        os.fsync(file.fileno())  # what is not written yet cannot leave the page cache
    return path


def test_each_size_is_read_in_both_ways_and_the_sample_is_removed(settings: Settings) -> None:
    counts: list[int] = []
    buffered, direct = measure_storage(settings, counts.append)
    assert [size for size, _ in buffered] == list(READ_SIZES)
    assert [size for size, _ in direct] in ([], list(READ_SIZES))
    assert all(rate > 0 for _, rate in (*buffered, *direct))
    assert counts == [1, 2, 3, 4, 5]
    assert list(settings.home.iterdir()) == []


def test_without_direct_reads_there_are_none(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def refuse(path: Path, flags: int, *rest: int) -> int:
        if flags & os.O_DIRECT:
            raise OSError(22, "Invalid argument")
        return opened(path, flags, *rest)

    monkeypatch.setattr(measuring.os, "open", refuse)
    buffered, direct = measure_storage(settings, lambda count: None)
    assert (len(buffered), direct) == (len(READ_SIZES), ())


def test_an_installed_chunk_is_read_instead_of_writing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    install_chunk(settings)
    monkeypatch.setattr(measuring, "_write_sample", lambda path: pytest.fail("nothing is to be written"))
    assert len(measure_storage(settings, lambda count: None)[0]) == len(READ_SIZES)


def test_a_chunk_that_a_program_holds_in_memory_is_not_taken(settings: Settings) -> None:
    try:
        choose_kernels(None)
    except NativeCoreError:
        pytest.skip("without the compiled core nobody tells what is in memory")
    held, other = install_chunk(settings, "aa", 10 << 20), install_chunk(settings, "bb")
    assert measuring._cold_chunk(settings.models_dir) == held
    with held.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[:: mmap.PAGESIZE]) >= 0  # every page is touched
        assert measuring._cold_chunk(settings.models_dir) == other


def test_slow_storage_is_read_less_of(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that says that every read took a second: one read of each size, and of each way."""
    path = install_chunk(settings)
    now_s = iter(range(10_000))
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: float(next(now_s)))
    reads: list[int] = []
    read = os.preadv

    def counted(file: int, buffers: list[mmap.mmap], offset: int) -> int:
        reads.append(offset)
        return read(file, buffers, offset)

    monkeypatch.setattr(measuring.os, "preadv", counted)
    measuring._rate(path, 1 << 20, 0)
    assert reads == [0]


def test_slow_storage_is_written_less_of(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = iter(range(0, 10_000, 10))
    monkeypatch.setattr(measuring.time, "monotonic", lambda: float(next(now_s)))
    settings.home.mkdir()
    measuring._write_sample(settings.home / "sample")
    assert (settings.home / "sample").stat().st_size == measuring._LEAST_WRITTEN_BYTES


def test_no_room_to_write_is_one_line_and_leaves_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(measuring.os, "fsync", full)
    with pytest.raises(StorageError, match="no room"):
        measure_storage(settings, lambda count: None)
    assert list(settings.home.iterdir()) == []


def test_a_place_that_cannot_be_written_is_not_called_full(settings: Settings) -> None:
    settings.home.touch()
    with pytest.raises(StorageError, match="set POCKETSEEK_HOME to a folder that can be written"):
        measure_storage(settings, lambda count: None)
    assert settings.home.read_bytes() == b""


def test_long_reads_go_through_many_chunks(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "LONG_BYTES", 20 << 20)
    assert measure_long_read(settings.models_dir) == 0.0
    install_chunk(settings, "aa")
    install_chunk(settings, "ab")
    assert measure_long_read(settings.models_dir) == 0.0, "16 MiB are too few"
    install_chunk(settings, "ac")
    read: list[str] = []
    original = measuring._read

    def seen(path: Path, read_bytes: int, flags: int, *, limit_s: float) -> tuple[int, float]:
        read.append(path.name)
        return original(path, read_bytes, flags, limit_s=limit_s)

    monkeypatch.setattr(measuring, "_read", seen)
    assert measure_long_read(settings.models_dir) > 0
    assert sorted(read) == ["aa", "ab", "ac"]


def test_long_reads_end_in_time(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "LONG_BYTES", 8 << 20)
    for name in ("aa", "ab", "ac"):
        install_chunk(settings, name)
    monkeypatch.setattr(measuring, "_read", lambda path, read_bytes, flags, *, limit_s: (8 << 20, 3.0))
    assert measure_long_read(settings.models_dir) == pytest.approx((16 << 20) / 6.0)
