"""The header of a GGUF file (versions 2 and 3, little-endian): key-values and tensor infos; nothing is taken on trust.

    "GGUF"  version u32  number of tensors u64  number of key-values u64
    key-values: key string, type u32, value          string: length u64, UTF-8 bytes; array: type u32, count u64, values
    tensor infos: name string, number of dimensions u32, dimensions u64 (fastest first), type u32, offset u64
    padding to `general.alignment` (32 unless the key is there), then the data that the offsets count from

Every count and length is compared with the bytes that the file still has before anything is allocated for it, and the
limits below bound time and memory for a file of any size. Whatever is wrong raises FormatError or UnsupportedError.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np

from pocketseek.convert.sources.base import SourceTensor
from pocketseek.convert.sources.byte_file import ByteFile, quoted
from pocketseek.convert.sources.ggml_types import GGML_TYPES
from pocketseek.errors import FormatError, UnsupportedError

MAGIC = b"GGUF"
MAX_HEADER_BYTES = 64 << 20  # a vocabulary of 256k words takes less than 20 MB
MAX_ARRAY_VALUES = 4_000_000  # in all arrays together: words, scores, kinds and merges of such a vocabulary are 1.3 M
MAX_KEYS = 65_536
MAX_TENSORS = 262_144
MAX_ARRAY_DEPTH = 4
MAX_NAME_BYTES = 256
MAX_KEY_BYTES = 65_535
MAX_DIMENSIONS = 4
_FIRST_READ_BYTES = 1 << 20

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_STRING, _ARRAY, _BOOL = 8, 9, 7
_NUMBERS: dict[int, tuple[str, int]] = {
    0: ("<u1", 1),
    1: ("<i1", 1),
    2: ("<u2", 2),
    3: ("<i2", 2),
    4: ("<u4", 4),
    5: ("<i4", 4),
    6: ("<f4", 4),
    _BOOL: ("<u1", 1),
    10: ("<u8", 8),
    11: ("<i8", 8),
    12: ("<f8", 8),
}


@dataclass(frozen=True)
class TensorInfo:
    """A tensor and where its bytes are: num_bytes from offset, counted from the start of the file."""

    tensor: SourceTensor
    offset: int
    num_bytes: int


@dataclass(frozen=True)
class GgufHeader:
    """Everything before the data, checked: tensors are inside the file and do not overlap."""

    metadata: dict[str, object]
    tensors: tuple[TensorInfo, ...]


def read_gguf_header(file: ByteFile) -> GgufHeader:
    """Parse and check the header. Raises FormatError, UnsupportedError or StorageError."""
    cursor = _Cursor(file)
    num_tensors, num_keys = _read_counts(cursor)
    metadata = _read_metadata(cursor, num_keys)
    described = [_read_tensor_info(cursor) for _ in range(num_tensors)]
    data_offset = _aligned(cursor.position, _alignment(file, metadata))
    tensors = [TensorInfo(tensor, data_offset + offset, _num_bytes(tensor, kind)) for tensor, kind, offset in described]
    _check_names(file, tensors)
    _check_places(file, tensors, data_offset, _alignment(file, metadata))
    return GgufHeader(metadata, tuple(tensors))


class _Cursor:
    """Reads the header front to back; the file is fetched in growing pieces as far as the header really goes."""

    def __init__(self, file: ByteFile) -> None:
        self.file = file
        self.position = 0
        self.array_values_left = MAX_ARRAY_VALUES
        self._buffer = bytearray()
        self._limit = min(file.size_bytes, MAX_HEADER_BYTES)

    def check_left(self, num_bytes: int) -> None:
        """Raise FormatError unless the header can still have num_bytes."""
        if num_bytes > self._limit - self.position:
            if self._limit < self.file.size_bytes:
                raise FormatError(
                    f"{self.file.path}: the header takes more than {MAX_HEADER_BYTES >> 20} MiB; {_REMEDY}"
                )
            raise self.file.damaged(f"it ends inside the header, which needs {num_bytes} bytes at {self.position}")

    def take(self, num_bytes: int) -> int:
        """Step over num_bytes, which are then in the buffer; returns where they begin."""
        start, end = self.position, self.position + num_bytes
        if end > len(self._buffer):
            self.check_left(num_bytes)
            wanted = min(max(2 * end, _FIRST_READ_BYTES), self._limit)
            self._buffer += self.file.read(len(self._buffer), wanted - len(self._buffer))
        self.position = end
        return start

    def raw(self, num_bytes: int) -> bytes:
        start = self.take(num_bytes)
        return bytes(self._buffer[start : self.position])

    def u32(self) -> int:
        value: int = _U32.unpack_from(self._buffer, self.take(4))[0]
        return value

    def u64(self) -> int:
        start = self.take(8)
        value: int = _U64.unpack_from(self._buffer, start)[0]
        return value

    def string(self) -> str:
        start = self.take(self.u64())
        try:
            return self._buffer[start : self.position].decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.file.damaged(f"the text at byte {start} is not UTF-8") from error

    def short_string(self, limit_bytes: int, what: str) -> str:
        start = self.position
        text = self.string()
        if self.position - start - 8 > limit_bytes:
            raise self.file.damaged(f"a {what} at byte {start} has more than {limit_bytes} bytes")
        return text


_REMEDY = "download the file again"


def _read_counts(cursor: _Cursor) -> tuple[int, int]:
    path = cursor.file.path
    if cursor.raw(4) != MAGIC:
        raise FormatError(f"{path} is not a GGUF file (wrong magic); give a GGUF or safetensors checkpoint")
    version = cursor.u32()
    if version != 0 and version & 0xFFFF == 0:
        raise UnsupportedError(f"{path} is a big-endian GGUF file; use the little-endian one")
    if version not in (2, 3):
        raise UnsupportedError(f"{path} is GGUF version {version}; use a file of version 2 or 3")
    num_tensors, num_keys = cursor.u64(), cursor.u64()
    if num_tensors > MAX_TENSORS or num_keys > MAX_KEYS:
        raise cursor.file.damaged(f"it claims {num_tensors} tensors and {num_keys} key-values")
    return num_tensors, num_keys


def _read_metadata(cursor: _Cursor, num_keys: int) -> dict[str, object]:
    metadata: dict[str, object] = {}
    for _ in range(num_keys):
        key = cursor.short_string(MAX_KEY_BYTES, "key")
        if key in metadata:
            raise cursor.file.damaged(f"the key {quoted(key)} is there twice")
        metadata[key] = _read_value(cursor, cursor.u32())
    return metadata


def _read_value(cursor: _Cursor, value_type: int) -> object:
    if value_type == _STRING:
        return cursor.string()
    if value_type == _ARRAY:
        return _read_array(cursor, depth=1)
    return _read_numbers(cursor, value_type, 1)[0]


def _read_array(cursor: _Cursor, depth: int) -> list[object]:
    item_type, count = cursor.u32(), cursor.u64()
    if count > cursor.array_values_left:
        raise cursor.file.damaged(f"its arrays have more than {MAX_ARRAY_VALUES} values")
    cursor.array_values_left -= count
    if item_type == _STRING:
        cursor.check_left(8 * count)
        return [cursor.string() for _ in range(count)]
    if item_type == _ARRAY:
        if depth == MAX_ARRAY_DEPTH:
            raise cursor.file.damaged(f"arrays are nested deeper than {MAX_ARRAY_DEPTH} levels")
        cursor.check_left(12 * count)
        return [_read_array(cursor, depth + 1) for _ in range(count)]
    return _read_numbers(cursor, item_type, count)


def _read_numbers(cursor: _Cursor, number_type: int, count: int) -> list[object]:
    if number_type not in _NUMBERS:
        raise cursor.file.damaged(f"unknown value type {number_type} at byte {cursor.position - 4}")
    dtype, item_bytes = _NUMBERS[number_type]
    values = np.frombuffer(cursor.raw(count * item_bytes), dtype)
    if number_type != _BOOL:
        return list(values.tolist())
    if values.size and values.max() > 1:
        raise cursor.file.damaged(f"a truth value before byte {cursor.position} is neither 0 nor 1")
    return list(values.astype(bool).tolist())


def _read_tensor_info(cursor: _Cursor) -> tuple[SourceTensor, int, int]:
    """The tensor, its ggml type id and its offset into the data."""
    name = cursor.short_string(MAX_NAME_BYTES, "tensor name")
    num_dimensions = cursor.u32()
    if num_dimensions > MAX_DIMENSIONS:
        raise cursor.file.damaged(f"tensor {quoted(name)} claims {num_dimensions} dimensions")
    dimensions = [cursor.u64() for _ in range(num_dimensions)]
    type_id, offset = cursor.u32(), cursor.u64()
    if type_id not in GGML_TYPES:
        raise UnsupportedError(f"{cursor.file.path}: tensor {quoted(name)} has unknown type {type_id}; {_OTHER_TYPES}")
    if 0 in dimensions or math.prod(dimensions) > 8 * cursor.file.size_bytes:  # no type has less than one bit per value
        raise cursor.file.damaged(f"tensor {quoted(name)} claims the dimensions {dimensions}")
    kind = GGML_TYPES[type_id]
    if math.prod(dimensions[:1]) % kind.block_values:
        what = f"rows of tensor {quoted(name)} are no whole number of {kind.name} blocks of {kind.block_values} values"
        raise cursor.file.damaged(what)
    return SourceTensor(name, kind.name, tuple(reversed(dimensions))), type_id, offset


_OTHER_TYPES = "use a checkpoint quantised to Q4_0, Q4_K, Q6_K or Q8_0"


def _num_bytes(tensor: SourceTensor, type_id: int) -> int:
    return GGML_TYPES[type_id].row_bytes(math.prod(tensor.shape))


def _alignment(file: ByteFile, metadata: dict[str, object]) -> int:
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        raise file.damaged("general.alignment is not a power of two")
    return alignment


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


def _check_names(file: ByteFile, tensors: list[TensorInfo]) -> None:
    seen: set[str] = set()
    for info in tensors:
        if info.tensor.name in seen:
            raise file.damaged(f"tensor {quoted(info.tensor.name)} is there twice")
        seen.add(info.tensor.name)


def _check_places(file: ByteFile, tensors: list[TensorInfo], data_offset: int, alignment: int) -> None:
    end = data_offset
    for info in sorted(tensors, key=lambda info: info.offset):
        name = quoted(info.tensor.name)
        if (info.offset - data_offset) % alignment:
            raise file.damaged(f"tensor {name} is not aligned to {alignment} bytes")
        if info.offset < end:
            raise file.damaged(f"tensor {name} overlaps the one before it")
        end = info.offset + info.num_bytes
        if end > file.size_bytes:
            raise file.damaged(f"tensor {name} ends at byte {end} of a file of {file.size_bytes} bytes")
