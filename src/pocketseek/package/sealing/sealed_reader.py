"""A sealed file read like a plain one: any bytes of it, in any order, each checked by the tag of its segment.

One decrypted segment is kept, so reading on costs nothing twice. For one thread.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from pocketseek.formats import SEGMENT_BYTES
from pocketseek.package.sealing.ciphers import TAG_BYTES
from pocketseek.package.sealing.opened_seal import SegmentFile
from pocketseek.package.sealing.sealed_file import read_whole, segment_bytes
from pocketseek.package.storage import storage_errors

if TYPE_CHECKING:
    from typing_extensions import Buffer


class SealedReader(io.RawIOBase):
    """Closes the file. Raises IntegrityError, StorageError."""

    def __init__(self, file: SegmentFile) -> None:
        self._file = file
        self._at = 0
        self._index: int | None = None
        largest = segment_bytes(file.file.num_bytes, 0)
        self._raw, self._plain = memoryview(bytearray(largest + TAG_BYTES)), memoryview(bytearray(largest))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.file.num_bytes}[whence]
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Buffer, /) -> int:
        """Up to the end of a segment."""
        wanted = memoryview(buffer).cast("B")
        index, within = divmod(self._at, SEGMENT_BYTES)
        taken = min(len(wanted), max(0, self._file.file.num_bytes - self._at), SEGMENT_BYTES - within)
        if taken:
            wanted[:taken] = self._segment(index)[within : within + taken]
            self._at += taken
        return taken

    def read_at(self, offset: int, num_bytes: int) -> bytes:
        """Less only at the end of the file."""
        data = bytearray(max(0, min(num_bytes, self._file.file.num_bytes - offset)))
        self.seek(offset)
        done = 0
        while done < len(data):
            done += self.readinto(memoryview(data)[done:])
        return bytes(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def _segment(self, index: int) -> memoryview:
        size = segment_bytes(self._file.file.num_bytes, index)
        if index != self._index:
            self._index = None
            with storage_errors(self._file.path):
                start = self._file.start_bytes + index * SEGMENT_BYTES
                read_whole(self._file.buffered, self._raw[:size], start, self._file.path)
            self._file.accept(index, self._raw[: size + TAG_BYTES], self._plain)
            self._index = index
        return self._plain[:size]
