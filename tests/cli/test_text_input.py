"""Text from outside is UTF-8 or an error."""

import io
import os
import pty
import select
import sys
import termios
from pathlib import Path

import pytest

from pocketseek.cli.text_input import read_stdin, read_stdin_line, read_text_file, unseen_typing
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


def pseudo_terminal() -> tuple[int, int]:
    try:
        return pty.openpty()
    except OSError as error:
        pytest.skip(f"no pseudo-terminal here: {error}")


def test_what_is_typed_meanwhile_is_not_shown_and_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    keyboard, terminal = pseudo_terminal()
    with os.fdopen(keyboard, "r+b", buffering=0) as keys, os.fdopen(terminal, encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        before = termios.tcgetattr(terminal)
        with unseen_typing():
            keys.write(b"early\n")
            select.select([stdin], [], [], 60)  # it has arrived
        assert termios.tcgetattr(terminal) == before
        keys.write(b"late\n")
        assert [stdin.readline(), stdin.readline()] == ["early\n", "late\n"]
        assert keys.read(100) == b"late\r\n"  # echoed


def test_typing_is_shown_again_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    keyboard, terminal = pseudo_terminal()
    with os.fdopen(keyboard, "rb", buffering=0), os.fdopen(terminal, encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(KeyboardInterrupt), unseen_typing():
            raise KeyboardInterrupt
        assert termios.tcgetattr(terminal)[3] & termios.ECHO


def test_what_only_says_that_it_is_a_terminal_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe_in(monkeypatch, b"")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    with unseen_typing():
        pass
