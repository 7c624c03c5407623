from __future__ import annotations

import os
from pathlib import Path

import pytest

from pocketseek.convert.sources.byte_file import ByteFile, quoted, read_small
from pocketseek.errors import FormatError, NotFoundError, StorageError


def test_reads_exactly_the_range_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(100)))
    file = ByteFile(path)
    assert file.size_bytes == 100
    assert file.read(10, 5) == bytes(range(10, 15))
    assert file.read(100, 0) == b""
    file.close()


def test_reads_go_on_where_the_system_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketseek.convert.sources.byte_file._READ_AT_ONCE_BYTES", 7)
    path = tmp_path / "file"
    path.write_bytes(bytes(range(100)))
    file = ByteFile(path)
    assert file.read(1, 50) == bytes(range(1, 51))
    file.close()


def test_reading_past_the_end_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    file = ByteFile(path)
    with pytest.raises(FormatError, match="download it again"):
        file.read(1, 1 << 60)
    file.close()


def test_a_file_cut_while_open_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    file = ByteFile(path)
    os.truncate(path, 50)
    with pytest.raises(FormatError, match="ends at byte 50"):
        file.read(0, 100)
    file.close()


@pytest.mark.parametrize("name", ["missing", "file/below", "nul\0", "n" * 300])
def test_names_without_a_file_give_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((NotFoundError, StorageError)) as caught:
        ByteFile(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_circle_of_links_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(StorageError, match="check permissions"):
        ByteFile(tmp_path / "a")


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(FormatError, match="not a regular file"):
        ByteFile(tmp_path / "fifo")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="is a directory"):
        ByteFile(tmp_path)


def test_small_files_have_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(bytes(10))
    assert read_small(path, 10) == bytes(10)
    with pytest.raises(FormatError, match="more than 9 bytes"):
        read_small(path, 9)


def test_quoted_names_are_short_and_on_one_line() -> None:
    assert quoted("a\nb") == r"'a\nb'"
    assert len(quoted("x" * 1000)) <= 62
