"""The small parts that delta files are made of: variable-length numbers, and runs of bytes stored as they are or by
zstd, whichever is shorter. `ByteReader` is where a delta's bytes are taken apart: it raises FormatError at the first
one that is not there or out of range, before anything is allocated for it.
"""

from __future__ import annotations

from pocketseek.errors import FormatError
from pocketseek.package import zstd

_MAX_VARINT_BYTES = 9
DELTA_REMEDY = "the delta is damaged; fetch it again, or the whole chunk"


def delta_error(problem: str) -> FormatError:
    return FormatError(f"delta: {problem}; {DELTA_REMEDY}")


class ByteWriter:
    """Appends to `data`."""

    def __init__(self) -> None:
        self.data = bytearray()

    def number(self, value: int) -> None:
        """7 bits a byte, the lowest first, the top bit set where more follow. value: 0 or more."""
        while value >= 128:
            self.data.append(value & 127 | 128)
            value >>= 7
        self.data.append(value)

    def signed(self, value: int) -> None:
        self.number(value << 1 if value >= 0 else -value * 2 - 1)

    def block(self, data: bytes) -> None:
        """Bytes whose number the reader knows."""
        frame = zstd.compress(data) if data else b""
        packed = len(frame) < len(data)
        self.number(len(frame) << 1 | 1 if packed else 0)
        self.data += frame if packed else data


class ByteReader:
    """Takes from the front of `data`."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self._at = 0

    def number(self, largest: int) -> int:
        value = 0
        for index in range(_MAX_VARINT_BYTES):
            byte = self._bytes(1)[0]
            value |= (byte & 127) << 7 * index
            if byte < 128:
                break
        else:
            raise delta_error("a number is too long")
        if value > largest:
            raise delta_error(f"{value} where at most {largest} is allowed")
        return value

    def signed(self, largest: int) -> int:
        value = self.number(2 * largest)
        return -(value + 1 >> 1) if value & 1 else value >> 1

    def block(self, num_bytes: int) -> bytes:
        """What `ByteWriter.block` was given. num_bytes: how many there must be."""
        head = self.number(max(1, 2 * num_bytes + 1))
        if not head & 1:
            return bytes(self._bytes(num_bytes))
        return zstd.decompress(bytes(self._bytes(head >> 1)), num_bytes)

    @property
    def num_left(self) -> int:
        return len(self._data) - self._at

    def raw(self, num_bytes: int) -> bytes:
        """Bytes as they are."""
        return bytes(self._bytes(num_bytes))

    def end(self) -> None:
        if self._at != len(self._data):
            raise delta_error(f"{len(self._data) - self._at} bytes too many")

    def _bytes(self, num_bytes: int) -> memoryview:
        if num_bytes > len(self._data) - self._at:
            raise delta_error("it ends too early")
        self._at += num_bytes
        return self._data[self._at - num_bytes : self._at]
