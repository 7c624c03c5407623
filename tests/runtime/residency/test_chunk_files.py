"""Reading chunk files in use: the right bytes whatever becomes of the files, or a clean error."""

import errno
import gc
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from pocketseek.errors import IntegrityError, StorageError
from pocketseek.package.paths import chunk_path
from pocketseek.package.reader import Package
from pocketseek.runtime.residency.chunk_files import RETRIES, ChunkFiles
from pocketseek.runtime.residency.plan import BLOCK_BYTES

CHUNK = 3


@pytest.fixture
def package(layered_package: Path, tmp_path: Path) -> Iterator[Package]:
    copy = tmp_path / "package"
    shutil.copytree(layered_package, copy)
    with Package.open(copy) as package:
        yield package


def path_of(package: Package) -> Path:
    return chunk_path(package.path, package.manifest.chunks[CHUNK].sha256)


def whole(files: ChunkFiles, package: Package) -> bytes:
    """The chunk, read as the ring is filled: blocks, into aligned memory."""
    size = package.manifest.chunks[CHUNK].num_bytes
    room = -(-size // BLOCK_BYTES) * BLOCK_BYTES
    memory = np.zeros(room + BLOCK_BYTES, np.uint8)
    start = -memory.ctypes.data % BLOCK_BYTES
    buffer = memory[start : start + room]
    for offset in range(0, room, 4 * BLOCK_BYTES):
        part = buffer[offset : offset + 4 * BLOCK_BYTES]
        files.read(CHUNK, offset, memoryview(part))
    return buffer[:size].tobytes()


@pytest.mark.parametrize("direct", [False, True])
def test_blocks_have_the_bytes_of_the_file_up_to_its_end(package: Package, direct: bool) -> None:
    files = ChunkFiles(package, direct=direct)
    assert whole(files, package) == path_of(package).read_bytes()
    files.close()


@pytest.mark.parametrize("direct", [False, True])
def test_a_file_that_is_removed_or_replaced_is_read_on(package: Package, direct: bool) -> None:
    files = ChunkFiles(package, direct=direct)
    path = path_of(package)
    before = path.read_bytes()
    path.unlink()
    path.write_bytes(b"something else")
    assert whole(files, package) == before
    files.close()


def test_a_file_that_was_touched_is_hashed_again_before_it_is_used(package: Package) -> None:
    files = ChunkFiles(package)
    path = path_of(package)
    before = path.read_bytes()
    os.utime(path, (1, 1))
    assert whole(files, package) == before
    damaged = bytearray(before)
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(IntegrityError, match=r"chunk .* of stage layer.2 is damaged in segment 0"):
        files.read(CHUNK, 0, memoryview(bytearray(BLOCK_BYTES)))
    files.close()


def test_a_file_that_became_shorter_is_an_error_and_a_good_one_in_its_place_mends_it(package: Package) -> None:
    files = ChunkFiles(package)
    path = path_of(package)
    before = path.read_bytes()
    os.truncate(path, len(before) - 1)
    for _ in range(2):
        with pytest.raises(IntegrityError, match="bytes instead of"):
            whole(files, package)
    with pytest.raises(IntegrityError, match="bytes instead of"):
        files.heal()
    path.unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        files.heal()
    path.write_bytes(before)
    assert files.heal() == [CHUNK]
    assert whole(files, package) == before
    assert files.heal() == []
    files.close()


@pytest.mark.parametrize("num_failures", [1, RETRIES, RETRIES + 1])
def test_a_read_that_fails_is_tried_again_and_then_an_error(package: Package, num_failures: int) -> None:
    failures = [OSError(errno.EIO, "Input/output error")] * num_failures

    def failing(descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
        if failures:
            raise failures.pop()
        return os.preadv(descriptor, buffers, offset)

    files = ChunkFiles(package, read_into=failing)
    buffer = memoryview(bytearray(BLOCK_BYTES))
    if num_failures > RETRIES:
        with pytest.raises(StorageError, match="Input/output error"):
            files.read(CHUNK, 0, buffer)
    files.read(CHUNK, 0, buffer)
    assert bytes(buffer) == path_of(package).read_bytes()[:BLOCK_BYTES]
    files.close()


def test_reads_that_bring_less_than_was_asked_for_are_continued(package: Package) -> None:
    def halting(descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
        return os.preadv(descriptor, [buffers[0][: 1 + len(buffers[0]) // 3]], offset)

    files = ChunkFiles(package, read_into=halting)
    assert whole(files, package) == path_of(package).read_bytes()
    files.close()


def test_direct_reads_that_are_refused_go_through_the_cache(package: Package) -> None:
    refused = False

    def refusing(descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
        nonlocal refused
        if files.is_direct:
            refused = True
            raise OSError(errno.EINVAL, "Invalid argument")
        return os.preadv(descriptor, buffers, offset)

    files = ChunkFiles(package, direct=True, read_into=refusing)
    if not files.is_direct:
        pytest.skip("this file system has no direct I/O")
    assert whole(files, package) == path_of(package).read_bytes()
    assert refused
    assert not files.is_direct
    files.close()


def test_files_that_nobody_closes_are_closed_when_nobody_refers_to_them(package: Package) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    files = ChunkFiles(package, direct=True)
    del files
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_closing_leaves_no_file_open(package: Package) -> None:
    def num_open() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = num_open()
    files = ChunkFiles(package, direct=True)
    assert num_open() > before
    files.close()
    assert num_open() == before
