"""Sealed chunks give the bytes of the plain ones, each segment read once; what was changed is an error, then healed."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest

from pocketseek.errors import IntegrityError, StorageError
from pocketseek.formats import SEGMENT_BYTES
from pocketseek.package.reader import Package
from pocketseek.package.sealing.in_place import seal_package
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.package.sealing.sealed_file import HEADER_BYTES
from pocketseek.runtime.residency import sealed_files
from pocketseek.runtime.residency.plan import BLOCK_BYTES
from pocketseek.runtime.residency.sealed_files import KEPT_SEGMENTS, SealedChunkFiles

KEY = b"k" * 32


def secret() -> Secret:
    return Secret("key", bytearray(KEY))


@pytest.fixture
def sealed_package(streaming_package: Path, tmp_path: Path) -> Iterator[Package]:
    copy = tmp_path / "package"
    shutil.copytree(streaming_package, copy)
    seal_package(copy, secret, "aes-256-gcm")
    with Package.open(copy, secret=secret()) as package:
        yield package


@pytest.fixture
def plain(streaming_package: Path) -> Iterator[Package]:
    with Package.open(streaming_package) as package:
        yield package


class CountedReads:
    """As os.preadv; which ranges of which file were read. failures: the next reads that end so."""

    def __init__(self) -> None:
        self.read: list[tuple[int, int]] = []
        self.failures: list[OSError] = []

    def __call__(self, descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
        if self.failures:
            raise self.failures.pop()
        self.read.append((os.fstat(descriptor).st_ino, offset))
        return os.preadv(descriptor, buffers, offset)


def open_files(package: Package, reads: CountedReads | None = None) -> SealedChunkFiles:
    assert package.seal is not None
    return SealedChunkFiles(package, package.seal, read_into=reads or CountedReads())


def largest(package: Package) -> int:
    chunks = package.manifest.chunks
    return max(range(len(chunks)), key=lambda index: chunks[index].num_bytes)


@pytest.mark.parametrize("direct", [False, True])
def test_any_range_is_that_of_the_plain_chunk(sealed_package: Package, plain: Package, direct: bool) -> None:
    files = open_files(sealed_package)
    files.use_direct(direct)
    random = Random(1)
    for index, entry in enumerate(sealed_package.manifest.chunks):
        for _ in range(10):
            start = random.randrange(entry.num_bytes) // BLOCK_BYTES * BLOCK_BYTES
            size = random.randrange(1, 3 * SEGMENT_BYTES) // BLOCK_BYTES * BLOCK_BYTES + BLOCK_BYTES
            buffer = bytearray(size)
            files.read(index, start, memoryview(buffer))
            expected = plain.chunk(index)[start : start + size].tobytes()
            assert bytes(buffer[: len(expected)]) == expected
            assert not any(buffer[len(expected) :])
    files.close()


def test_reading_on_reads_every_segment_once(sealed_package: Package) -> None:
    reads = CountedReads()
    files = open_files(sealed_package, reads)
    chunk = largest(sealed_package)
    num_bytes = sealed_package.manifest.chunks[chunk].num_bytes
    step = 300 * BLOCK_BYTES  # does not divide a segment
    for start in range(0, num_bytes, step):
        files.read(chunk, start, memoryview(bytearray(step)))
    assert len(reads.read) == len(set(reads.read)) == -(-num_bytes // SEGMENT_BYTES)
    files.close()


def test_two_threads_that_want_one_segment_read_it_once(sealed_package: Package, plain: Package) -> None:
    reads = CountedReads()
    files = open_files(sealed_package, reads)
    chunk = largest(sealed_package)
    found: list[bytes] = []

    def read(start: int) -> None:
        buffer = bytearray(BLOCK_BYTES)
        files.read(chunk, start, memoryview(buffer))
        found.append(bytes(buffer))

    threads = [threading.Thread(target=read, args=(number * BLOCK_BYTES,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reads.read) == 1
    expected = plain.chunk(chunk)[: 8 * BLOCK_BYTES].tobytes()
    assert sorted(found) == sorted(expected[at : at + BLOCK_BYTES] for at in range(0, len(expected), BLOCK_BYTES))
    files.close()


def test_many_threads_over_more_segments_than_are_kept_read_what_is_there(
    sealed_package: Package, plain: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Buffers are taken from one segment for another all the time, and each read gets its own bytes."""
    monkeypatch.setattr(sealed_files, "KEPT_SEGMENTS", 2)
    files = open_files(sealed_package)
    wrong: list[tuple[int, int]] = []

    def read_all(seed: int) -> None:
        random = Random(seed)
        for _ in range(150):
            chunk = random.randrange(len(sealed_package.manifest.chunks))
            start = random.randrange(sealed_package.manifest.chunks[chunk].num_bytes) // BLOCK_BYTES * BLOCK_BYTES
            expected = plain.chunk(chunk)[start : start + 3 * BLOCK_BYTES].tobytes()
            buffer = bytearray(len(expected))
            files.read(chunk, start, memoryview(buffer))
            if bytes(buffer) != expected:
                wrong.append((chunk, start))

    threads = [threading.Thread(target=read_all, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(files._kept) <= 2
    assert len(files._spare) <= 6
    files.close()


def test_only_some_segments_are_kept(sealed_package: Package) -> None:
    files = open_files(sealed_package)
    for index, entry in enumerate(sealed_package.manifest.chunks):
        for start in range(0, entry.num_bytes, SEGMENT_BYTES):
            files.bytes_at(index, start, 10)
    assert len(files._kept) == KEPT_SEGMENTS
    files.close()


def test_warming_fills_the_packages_memory_and_dropping_gives_it_back(sealed_package: Package, plain: Package) -> None:
    files = open_files(sealed_package)
    chunk = largest(sealed_package)
    assert not files.is_in_memory(chunk, 5000, 100_000)
    files.warm(chunk, 5000, 100_000)
    assert files.is_in_memory(chunk, 5000, 100_000)
    assert (sealed_package.chunk(chunk)[5000:105_000] == plain.chunk(chunk)[5000:105_000]).all()
    assert 100_000 <= files.filled_bytes <= 100_000 + 3 * BLOCK_BYTES
    files.drop(chunk, 0, 200_000)
    assert files.filled_bytes <= BLOCK_BYTES
    files.close()


@pytest.mark.parametrize("place", ["tags", "ciphertext"])
def test_what_was_changed_is_refused_until_it_is_healed(sealed_package: Package, plain: Package, place: str) -> None:
    chunk = largest(sealed_package)
    path = sealed_package.path / "chunks" / f"{sealed_package.manifest.chunks[chunk].sha256}.sealed"
    good = path.read_bytes()
    bad = bytearray(good)
    bad[HEADER_BYTES + 5 if place == "ciphertext" else 128] ^= 1
    path.write_bytes(bad)
    if place == "tags":  # they are read when the file is opened
        with pytest.raises(IntegrityError):
            open_files(sealed_package).read(chunk, 0, memoryview(bytearray(BLOCK_BYTES)))
        return
    files = open_files(sealed_package)
    with pytest.raises(IntegrityError, match="segment 0 is not what it was"):
        files.read(chunk, 0, memoryview(bytearray(SEGMENT_BYTES)))
    assert files.has_bad
    path.write_bytes(good)
    assert files.heal() == []
    assert not files.has_bad
    buffer = bytearray(SEGMENT_BYTES)
    files.read(chunk, 0, memoryview(buffer))
    assert bytes(buffer) == plain.chunk(chunk)[:SEGMENT_BYTES].tobytes()
    files.close()


def test_a_file_cut_while_it_is_open_is_an_integrity_error(sealed_package: Package) -> None:
    files = open_files(sealed_package)
    chunk = largest(sealed_package)
    path = sealed_package.path / "chunks" / f"{sealed_package.manifest.chunks[chunk].sha256}.sealed"
    os.truncate(path, HEADER_BYTES + 100)
    with pytest.raises(IntegrityError, match="too short"):
        files.warm(chunk, 0, 2 * SEGMENT_BYTES)
    assert not files.is_in_memory(chunk, 0, 1)
    files.close()


def test_a_read_that_fails_is_tried_again_and_then_an_error(sealed_package: Package) -> None:
    reads = CountedReads()
    files = open_files(sealed_package, reads)
    reads.failures = [OSError(errno.EIO, "Input/output error")] * 2
    files.read(0, 0, memoryview(bytearray(BLOCK_BYTES)))
    reads.failures = [OSError(errno.EIO, "Input/output error")] * 3
    with pytest.raises(StorageError, match="Input/output error"):
        files.read(largest(sealed_package), SEGMENT_BYTES, memoryview(bytearray(BLOCK_BYTES)))
    files.close()


def test_where_direct_reads_are_refused_it_goes_through_the_page_cache(sealed_package: Package) -> None:
    reads = CountedReads()
    files = open_files(sealed_package, reads)
    files.use_direct(True)
    if not files.is_direct:
        pytest.skip("no direct reads here")
    reads.failures = [OSError(errno.EINVAL, "Invalid argument")]
    files.read(0, 0, memoryview(bytearray(BLOCK_BYTES)))
    assert not files.is_direct
    files.close()
