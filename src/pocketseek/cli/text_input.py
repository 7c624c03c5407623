"""Text that the user hands in, from standard input or a file, as UTF-8."""

from __future__ import annotations

import sys
from pathlib import Path

from pocketseek.errors import FormatError, NotFoundError, StorageError


def read_stdin() -> str:
    return _decode(sys.stdin.buffer.read(), "standard input")


def read_text_file(path: Path) -> str:
    """Raises NotFoundError, StorageError (a folder, not permitted) or FormatError (not UTF-8)."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} does not exist; check the path") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({error.strerror}); give a text file that you may read") from error
    return _decode(data, str(path))


def _decode(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{where} is not UTF-8 text (byte {error.start}); convert it to UTF-8") from error
