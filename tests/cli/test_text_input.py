"""Text from outside is UTF-8 or an error."""

import io
import os
import sys
from pathlib import Path

import pytest

from pocketseek.cli.text_input import read_stdin, read_stdin_line, read_text_file
from pocketseek.errors import FormatError, StorageError, UsageError


def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"\xef\xbb\xbfabc")
    assert read_text_file(tmp_path / "t") == "abc"


def test_the_place_of_a_bad_byte_is_named(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"abc\xff")
    with pytest.raises(FormatError, match="byte 3"):
        read_text_file(tmp_path / "t")


def pipe_in(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


def test_more_than_the_limit_is_refused_wherever_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t").write_bytes(b"abcd")
    assert read_text_file(tmp_path / "t", 4) == "abcd"
    with pytest.raises(UsageError, match="longer"):
        read_text_file(tmp_path / "t", 3)
    for read in (read_stdin, read_stdin_line):
        pipe_in(monkeypatch, b"abcd")
        assert read(4) == "abcd"
        pipe_in(monkeypatch, b"abcd")
        with pytest.raises(UsageError, match="longer"):
            read(3)


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe_in(monkeypatch, b"text")
    assert read_text_file(Path("-")) == "text"


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(StorageError, match="regular file"):
            read_text_file(path)


def test_a_line_that_is_not_utf8_is_a_format_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe_in(monkeypatch, b"\xff\xfe\n")
    with pytest.raises(FormatError):
        read_stdin_line()
