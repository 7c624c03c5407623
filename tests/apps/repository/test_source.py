"""A directory as a source: what is there, what is not, and nothing outside of it."""

import os
from pathlib import Path

import pytest

from pocketseek.apps.repository.source import PIECE_BYTES, DirectorySource, check_path, is_path
from pocketseek.errors import FormatError, NotFoundError, StorageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "chunks").mkdir()
    (tmp_path / "chunks" / "a").write_bytes(bytes(range(256)) * 10_000)
    return tmp_path


def test_a_file_is_streamed_from_any_offset_in_small_pieces(folder: Path) -> None:
    data = (folder / "chunks" / "a").read_bytes()
    for offset in (0, 1, PIECE_BYTES, len(data) - 1, len(data)):
        pieces = list(DirectorySource(folder).stream("chunks/a", offset, len(data)))
        assert b"".join(pieces) == data[offset:]
        assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)


def test_a_small_file_is_read_whole_or_is_not_there(folder: Path) -> None:
    source = DirectorySource(folder)
    (folder / "manifest.json").write_bytes(b"12345")
    assert source.read("manifest.json", 5) == b"12345"
    assert source.read("manifest.sig", 5) is None
    assert source.read("chunks/a/b", 5) is None
    with pytest.raises(FormatError, match="longer than the 4 bytes"):
        source.read("manifest.json", 4)


def test_a_missing_or_short_file_is_told(folder: Path) -> None:
    source = DirectorySource(folder)
    with pytest.raises(NotFoundError, match="chunks/b is not there"):
        list(source.stream("chunks/b", 0, 10))
    with pytest.raises(StorageError, match="ends after 2560000 of 2560001 bytes"):
        list(source.stream("chunks/a", 0, 2_560_001))


def test_a_pipe_is_refused_and_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "manifest.json")
    with pytest.raises(StorageError, match="no plain file"):
        DirectorySource(folder).read("manifest.json", 10)


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../a", "a/../b", "a//b", ".", "a/.", ".hidden", "a\\b", "a b", "a\0", "a/" * 9 + "a", "é"],
)
def test_paths_that_could_lead_elsewhere_are_the_callers_mistake(folder: Path, path: str) -> None:
    assert not is_path(path)
    with pytest.raises(ValueError, match="no path"):
        check_path(path)
    with pytest.raises(ValueError, match="no path"):
        DirectorySource(folder).read(path, 10)
