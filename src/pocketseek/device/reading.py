"""One small system file, or None. The kernel's pseudo files and Android's permissions make every read uncertain."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_LARGEST_BYTES = 1 << 16  # the kernel gives a whole pseudo file to one read that has room for it
_MOST_TEXT_BYTES = 4 << 20  # /proc/cpuinfo of a big server is 1 MB
_MOST_FOLDERS = 256
_MOST_PROCESSORS = 4096


def is_here(root: Path) -> bool:
    """Whether a root directory is that of the running machine."""
    return root == Path("/")


def read_text(path: Path) -> str | None:
    """The file's text (at most 4 MiB) without surrounding white space; None if it is missing, forbidden or fails."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe in place of a file must not wait
    except (OSError, ValueError):  # ValueError: a path with a NUL byte in it
        return None
    try:
        return _read_up_to(file, _MOST_TEXT_BYTES).decode("utf-8", "replace").strip("\0 \t\r\n")
    except OSError:
        return None
    finally:
        os.close(file)


def _read_up_to(file: int, most_bytes: int) -> bytes:
    pieces = bytearray()
    while len(pieces) < most_bytes and (piece := os.read(file, min(_LARGEST_BYTES, most_bytes - len(pieces)))):
        pieces += piece
    return bytes(pieces)


def read_bytes(path: str) -> bytes | None:
    """The file's first 64 KiB in one go, for what is read several times a second; None as for read_text."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe in place of a file must not wait
    except (OSError, ValueError):
        return None
    try:
        return os.read(file, _LARGEST_BYTES)
    except OSError:
        return None
    finally:
        os.close(file)


def read_int(path: Path) -> int | None:
    text = read_text(path)
    return parse_int(text) if text is not None else None


def parse_int(text: str) -> int | None:
    """A whole decimal number of at most 20 digits; None for anything else ("max", "", "12 kB")."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None


def parse_number_list(text: str) -> tuple[int, ...] | None:
    """ "0-3,6" -> (0, 1, 2, 3, 6), as the kernel lists processors; None if it is not such a list."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        start, stop = parse_int(first), parse_int(last or first)
        if start is None or stop is None or stop >= _MOST_PROCESSORS:
            return None
        numbers.update(range(start, stop + 1))
    return tuple(sorted(numbers)) or None


def read_line(path: str) -> str | None:
    """The first line of a small file without surrounding white space; None if unreadable, empty or no text."""
    text = (read_bytes(path) or b"").partition(b"\n")[0].decode("utf-8", "replace").strip("\0 \t\r")
    return text if text and text.isprintable() else None


def read_signed(path: str) -> int | None:
    """As read_int, but the number may have a sign."""
    return parse_signed(read_line(path) or "")


def parse_signed(text: str) -> int | None:
    """ "-40000" -> -40000; None for what is no whole number."""
    number = parse_int(text.removeprefix("-"))
    return -number if number is not None and text.startswith("-") else number


def read_fields(path: Path, separator: str | None = ":") -> dict[str, str]:
    """Lines of `key<separator>value` as a dict, later lines winning; empty if unreadable. None separates at blanks."""
    lines = (line.split(separator, 1) for line in (read_text(path) or "").splitlines())
    return {line[0].strip(): line[1].strip() for line in lines if len(line) == 2}


def list_names(parent: Path, otherwise: Iterable[str]) -> list[str]:
    """The names in a folder, sorted. Android lets apps open files in some folders that they may not list: there, those
    of `otherwise` that exist. None if there is no such folder."""
    try:
        return sorted(os.listdir(parent))
    except PermissionError:
        return [name for name in otherwise if os.path.lexists(parent / name)]
    except (OSError, ValueError):
        return []


def numbered_folders(parent: Path, prefix: str) -> list[Path]:
    """prefix0, prefix1, ... below `parent`, in this order; at most 256."""
    names = list_names(parent, (f"{prefix}{number}" for number in range(_MOST_FOLDERS)))
    numbers = {parse_int(name.removeprefix(prefix)) for name in names if name.startswith(prefix)}
    return [parent / f"{prefix}{number}" for number in sorted(n for n in numbers if n is not None)][:_MOST_FOLDERS]
