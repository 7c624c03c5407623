"""A zip archive from a stranger, of which single parts are inflated in memory, under limits; nothing is ever unpacked.

What the archive claims about sizes is checked first, and what really comes out is counted while inflating.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from pocketseek.errors import FormatError, NotFoundError, UnsupportedError
from pocketseek.package.storage import storage_errors

MAX_ENTRIES = 20_000
MAX_PART_BYTES = 100_000_000
MAX_TOTAL_BYTES = 400_000_000  # of the parts that are inflated
MAX_RATIO = 400  # of a part above _SMALL_BYTES: text of a table of zeros has 100, deflate's most is 1030
_SMALL_BYTES = 5_000_000
_ENCRYPTED = 0x1


class ZipParts:
    """Use it in a with statement. Raises FormatError (damaged, a bomb), UnsupportedError (encrypted, too large)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left_bytes = MAX_TOTAL_BYTES
        with storage_errors(path):
            try:
                self._archive = zipfile.ZipFile(path)
            except (zipfile.BadZipFile, ValueError, NotImplementedError):
                raise FormatError(f"{path} is a damaged or incomplete zip archive; get the file again") from None
        if len(self._archive.namelist()) > MAX_ENTRIES:
            self._archive.close()
            raise FormatError(f"{path} holds more than {MAX_ENTRIES} parts; no document does, so it is not read")
        self._names = {name.casefold(): name for name in reversed(self._archive.namelist())}

    def __enter__(self) -> ZipParts:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def has(self, name: str) -> bool:
        return name.casefold() in self._names

    def names(self) -> list[str]:
        return self._archive.namelist()

    def part(self, name: str) -> bytes:
        """Raises NotFoundError too: the archive has no such part."""
        if not self.has(name):
            raise NotFoundError(f"{self._path}: its part {name} is missing; get the file again")
        info = self._archive.getinfo(self._names[name.casefold()])
        self._check(info)
        data = self._inflated(info)
        self._left_bytes -= len(data)
        return data

    def _check(self, info: zipfile.ZipInfo) -> None:
        if info.flag_bits & _ENCRYPTED:
            raise UnsupportedError(f"{self._path} is encrypted; save it without a password and give that")
        limit = min(MAX_PART_BYTES, self._left_bytes)
        if info.file_size > limit:
            raise UnsupportedError(
                f"{self._path}: its part {info.filename} has more than {limit // 1_000_000} MB unpacked; split the file"
            )
        if info.file_size > _SMALL_BYTES and info.file_size > MAX_RATIO * max(info.compress_size, 1):
            raise FormatError(
                f"{self._path} is a zip bomb (part {info.filename}) and is not read; get the document elsewhere"
            )

    def _inflated(self, info: zipfile.ZipInfo) -> bytes:
        try:
            with self._archive.open(info) as stream:
                data = stream.read(info.file_size + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError):
            raise FormatError(f"{self._path}: its part {info.filename} is damaged; get the file again") from None
        if len(data) != info.file_size:
            raise FormatError(f"{self._path}: its part {info.filename} is not as long as it claims; get the file again")
        return data
