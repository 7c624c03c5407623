from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from package.samples import MEMORY_DISK

from pocketseek.formats import SEGMENT_BYTES
from pocketseek.package.chunk_file import ChunkFile

SIZES = st.integers(0, 3000) | st.sampled_from([SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 3 * SEGMENT_BYTES])


@settings(deadline=None, max_examples=40)
@given(sizes=st.lists(SIZES, min_size=1, max_size=5).filter(lambda sizes: sum(sizes) > 0), seed=st.integers(0, 9))
def test_hashes_are_those_of_the_bytes_however_they_are_cut(sizes: list[int], seed: int) -> None:
    data = bytes((index * 7 + seed) % 251 for index in range(1009)) * (sum(sizes) // 1009 + 1)
    data = data[: sum(sizes)]
    with TemporaryDirectory(dir=MEMORY_DISK) as folder:
        chunk = ChunkFile(Path(folder), "head")
        start = 0
        for size in sizes:
            chunk.write(memoryview(data)[start : start + size])
            start += size
            assert chunk.num_bytes == start
        entry = chunk.finish()
        assert os.listdir(folder) == [entry.sha256]
        assert (Path(folder) / entry.sha256).read_bytes() == data
    assert entry.sha256 == hashlib.sha256(data).hexdigest()
    assert (entry.num_bytes, entry.stage) == (len(data), "head")
    runs = [data[start : start + SEGMENT_BYTES] for start in range(0, len(data), SEGMENT_BYTES)]
    assert entry.segments == tuple(hashlib.sha256(run).hexdigest() for run in runs)


def test_padding_is_zeros(tmp_path: Path) -> None:
    chunk = ChunkFile(tmp_path, "embed")
    chunk.write(memoryview(b"abc"))
    chunk.pad_to(10)
    assert (tmp_path / chunk.finish().sha256).read_bytes() == b"abc" + bytes(7)


def test_a_finished_chunk_is_older_than_any_later_change(tmp_path: Path) -> None:
    chunk = ChunkFile(tmp_path, "embed")
    chunk.write(memoryview(b"abc"))
    path = tmp_path / chunk.finish().sha256
    assert path.stat().st_mtime_ns < time.time_ns() - 500_000_000


def test_a_write_that_the_kernel_cuts_short_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:3]))
    chunk = ChunkFile(tmp_path, "embed")
    chunk.write(memoryview(b"0123456789"))
    assert (tmp_path / chunk.finish().sha256).read_bytes() == b"0123456789"


def test_abandoning_twice_is_harmless(tmp_path: Path) -> None:
    chunk = ChunkFile(tmp_path, "embed")
    chunk.abandon()
    chunk.abandon()
