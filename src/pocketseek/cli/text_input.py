"""Text that the user hands in, from standard input or a file, as UTF-8 and of a size that is meant for this."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pocketseek.errors import FormatError, NotFoundError, StorageError, UsageError

MAX_PROMPT_BYTES = 16_000_000
MAX_TEXT_BYTES = 256_000_000


def read_stdin(max_bytes: int = MAX_PROMPT_BYTES) -> str:
    """Raises UsageError (too long) or FormatError (not UTF-8)."""
    return _decode(_read(sys.stdin.buffer, "standard input", max_bytes), "standard input")


def read_stdin_line(max_chars: int = MAX_PROMPT_BYTES) -> str:
    """A line with its end; "" after the last one. Raises UsageError (too long) or FormatError (not UTF-8)."""
    try:
        line = sys.stdin.readline(max_chars + 1)
    except UnicodeDecodeError as error:
        raise FormatError("standard input is not UTF-8 text; convert it to UTF-8") from error
    if len(line) > max_chars:
        raise _too_long("a line of standard input", max_chars)
    return line


def is_piped_text_waiting() -> bool:
    """Whether a pipe has brought what nobody has read."""
    import fcntl
    import termios

    try:
        fd = sys.stdin.fileno()
        num_bytes = int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)
        return stat.S_ISFIFO(os.fstat(fd).st_mode) and num_bytes > 0
    except (OSError, ValueError):  # closed, or none that the system knows
        return False


@contextmanager
def unseen_typing() -> Iterator[None]:
    """What is typed at a terminal meanwhile is not shown amid what is printed: it waits for whoever reads next."""
    if not sys.stdin.isatty():
        yield
        return
    import termios

    try:
        fd = sys.stdin.fileno()
        before = termios.tcgetattr(fd)
    except (OSError, termios.error):  # it calls itself a terminal and is none
        yield
        return
    unseen = termios.tcgetattr(fd)
    unseen[3] &= ~termios.ECHO
    termios.tcsetattr(fd, termios.TCSADRAIN, unseen)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def read_text_file(path: Path, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """The text in a file; the path "-" is standard input.

    Raises NotFoundError, StorageError (not a file, not permitted), UsageError (too long) or FormatError (not UTF-8).
    """
    if str(path) == "-":
        return read_stdin(max_bytes)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise StorageError(f"{path} is not a regular file; give a text file, or - for standard input")
        with path.open("rb") as file:
            data = _read(file, str(path), max_bytes)
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} does not exist; check the path") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({error.strerror}); give a text file that you may read") from error
    return _decode(data, str(path))


def _read(file: BinaryIO, where: str, max_bytes: int) -> bytes:
    data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise _too_long(where, max_bytes)
    return data


def _too_long(where: str, limit: int) -> UsageError:
    return UsageError(f"{where} is longer than {limit / 1e6:g} MB; give a shorter text")


def _decode(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise FormatError(f"{where} is UTF-16 text; convert it to UTF-8") from error
        if b"\0" in data:
            raise FormatError(f"{where} is binary data; give plain text in UTF-8") from error
        raise FormatError(f"{where} is not UTF-8 text (byte {error.start}); convert it to UTF-8") from error
