"""How storage is read best is found out where nothing is in memory, or not at all; and what was found is kept."""

import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pocketseek.package.reader import Package
from pocketseek.runtime.residency import read_probe
from pocketseek.runtime.residency.chunk_files import ChunkFiles
from pocketseek.runtime.residency.read_mode import DEFAULT_READ_MODE, ReadMode, keep_read_mode, known_read_mode
from pocketseek.runtime.residency.read_probe import cold_samples, find_read_mode, leaves_cache_alone, read_mode_for

SAMPLE_BYTES = 64 << 10


@pytest.fixture
def package(layered_package: Path) -> Iterator[Package]:
    with Package.open(layered_package) as package:
        yield package


@pytest.fixture
def opened(package: Package) -> Iterator[Package]:
    """Nothing of it in the page cache."""
    _evict(package)
    yield package
    _evict(package)


def _evict(package: Package) -> None:
    for chunk, entry in enumerate(package.manifest.chunks):
        package.advise(chunk, mmap.MADV_DONTNEED, 0, entry.num_bytes)
        descriptor = os.open(package.path / "chunks" / entry.sha256, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def use_all(package: Package) -> None:
    for chunk in range(len(package.manifest.chunks)):
        package.chunk(chunk).sum()


def nothing_is_dropped(package: Package) -> bool:
    """A file system that lives in memory, as where this runs may."""
    files = ChunkFiles(package)
    found = cold_samples(package, files, SAMPLE_BYTES)
    files.close()
    return not found


def test_a_way_is_found_and_kept(opened: Package, tmp_path: Path) -> None:
    if nothing_is_dropped(opened):
        pytest.skip("this file system keeps its files in memory")
    mode = read_mode_for(tmp_path, opened)
    assert mode.bytes_per_s > 0
    assert known_read_mode(tmp_path, opened.path) == mode


def test_what_is_in_memory_tells_nothing_about_storage(opened: Package, tmp_path: Path) -> None:
    use_all(opened)
    assert find_read_mode(opened) is None
    assert read_mode_for(tmp_path, opened) == DEFAULT_READ_MODE
    assert known_read_mode(tmp_path, opened.path) is None


def test_only_what_is_not_in_memory_is_read(opened: Package) -> None:
    if nothing_is_dropped(opened):
        pytest.skip("this file system keeps its files in memory")
    opened.chunk(0).sum()
    files = ChunkFiles(opened)
    samples = cold_samples(opened, files, SAMPLE_BYTES)
    files.close()
    assert 0 not in {chunk for sample in samples for chunk, _, _ in sample}


@pytest.mark.parametrize("in_use", [False, True])
def test_direct_io_that_is_taken_and_ignored_is_not_used(
    opened: Package, in_use: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "pocketseek.runtime.residency.chunk_files.open_direct", lambda path: os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    )
    files = ChunkFiles(opened)
    if in_use:
        use_all(opened)
    sample = [(0, 0, opened.manifest.chunks[0].num_bytes)]
    assert not leaves_cache_alone(opened, files, sample)
    files.close()


def test_slow_storage_is_tried_with_less(opened: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    if nothing_is_dropped(opened):
        pytest.skip("this file system keeps its files in memory")
    asked: list[int] = []

    def rate(files: ChunkFiles, way: ReadMode, sample: Sequence[tuple[int, int, int]]) -> float:
        asked.append(sum(size for _, _, size in sample))
        return 1e3

    monkeypatch.setattr(read_probe, "_rate", rate)
    monkeypatch.setattr(read_probe, "_LEAST_SAMPLE_BYTES", 4096)
    monkeypatch.setattr(read_probe, "_PIECE_BYTES", 4096)
    find_read_mode(opened, sample_bytes=SAMPLE_BYTES)
    assert asked[0] == SAMPLE_BYTES
    assert set(asked[1:]) == {4096}


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"format": 2}', b"\xff" * 5000, None, "read_bytes", "num_readers", "bytes_per_s"]
)
def test_a_damaged_or_foreign_record_counts_as_none(package: Package, tmp_path: Path, data: bytes | str | None) -> None:
    mode = ReadMode(True, 2, 1 << 20, 1e9)
    keep_read_mode(mode, tmp_path, package.path)
    assert known_read_mode(tmp_path, package.path) == mode
    (path,) = (tmp_path / "storage").iterdir()
    text = path.read_bytes()
    if data is None:
        data = text.replace(b'"device"', b'"devise"')
    elif isinstance(data, str):
        good, bad = {
            "read_bytes": (b"1048576", b"1048577"),
            "num_readers": (b'readers": 2', b'readers": 0'),
            "bytes_per_s": (b"1000000000.0", b"-1"),
        }[data]
        data = text.replace(good, bad)
        assert data != text
    path.write_bytes(data)
    assert known_read_mode(tmp_path, package.path) is None
