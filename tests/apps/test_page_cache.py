"""Dropped pages are read from storage again. Where files live in memory (tmpfs) there is nothing to drop."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pocketseek.apps.page_cache import drop_cached_pages
from pocketseek.device.reading import parse_int, read_fields

NUM_BYTES = 4 << 20


def read_from_storage_bytes() -> int:
    num_bytes = parse_int(read_fields(Path("/proc/self/io")).get("read_bytes", ""))
    if num_bytes is None:
        pytest.skip("this system does not count what a process reads from storage")
    return num_bytes


def test_what_was_dropped_is_read_from_storage_again(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    file = tmp_path / "inner" / "file"
    file.write_bytes(os.urandom(NUM_BYTES))
    before_bytes = read_from_storage_bytes()
    assert drop_cached_pages(tmp_path)
    data = file.read_bytes()
    read_bytes = read_from_storage_bytes() - before_bytes
    if read_bytes == 0:
        pytest.skip("the temporary directory is in memory, or its file system does not count")
    assert read_bytes >= NUM_BYTES
    assert len(data) == NUM_BYTES


def test_nothing_is_lost_and_nothing_is_read_if_only_one_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")  # not on disk yet
    assert drop_cached_pages(file)
    assert file.read_bytes() == b"content"
