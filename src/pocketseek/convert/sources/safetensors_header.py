"""The header of one safetensors file, parsed and checked.

    length u64, then JSON of that length, then the data that the offsets count from
    JSON: {name: {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]}, ..., "__metadata__": {..}}

The rules are those of the format: tensors in offset order follow each other without holes or overlaps and end with the
file, and a shape times its type is the number of bytes. Types that pocketseek does not know are listed unchecked.
Whatever is wrong raises FormatError.
"""

from __future__ import annotations

import math

from pocketseek.convert.sources.base import SourceTensor
from pocketseek.convert.sources.byte_file import ByteFile, quoted
from pocketseek.convert.sources.json_text import parse_json_object
from pocketseek.convert.sources.signatures import refuse_foreign
from pocketseek.convert.sources.stored import Placement

MAX_HEADER_BYTES = 32 << 20  # the largest DeepSeek shard has less than 1 MB
MAX_TENSORS = 262_144
MAX_DIMENSIONS = 8
_MAX_TENSOR_VALUES = 1 << 48
_HEADER_DEPTH = 3
_MAX_NAME_CHARS = 1024

_TYPE_BYTES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "F8_E8M0": 1,
    "I16": 2,
    "U16": 2,
    "F16": 2,
    "BF16": 2,
    "I32": 4,
    "U32": 4,
    "F32": 4,
    "I64": 8,
    "U64": 8,
    "F64": 8,
    "C64": 8,
}


def read_safetensors_header(file: ByteFile) -> dict[str, Placement]:
    """Where each tensor of the file is. Raises FormatError, UnsupportedError (another format) or StorageError."""
    header_bytes = _header_bytes(file)
    try:
        header = parse_json_object(file.read(8, header_bytes), _HEADER_DEPTH)
    except ValueError as error:
        raise file.damaged(f"{error} (header)") from error
    header.pop("__metadata__", None)
    if len(header) > MAX_TENSORS:
        raise file.damaged(f"its header lists more than {MAX_TENSORS} tensors")
    data_offset = 8 + header_bytes
    ranges: list[tuple[int, int, str]] = []
    placements: dict[str, Placement] = {}
    for name, entry in header.items():
        tensor, begin, end = _parse_entry(file, name, entry)
        ranges.append((begin, end, name))
        placements[name] = Placement(tensor, file, data_offset + begin)
    _check_ranges(file, sorted(ranges), file.size_bytes - data_offset)
    return placements


def _header_bytes(file: ByteFile) -> int:
    head = file.read(0, min(file.size_bytes, 64))
    refuse_foreign(file.path, head)
    header_bytes = int.from_bytes(head[:8], "little")
    if len(head) < 10 or header_bytes > file.size_bytes - 8:
        raise file.damaged(f"it ends inside its header (the file has {file.size_bytes} bytes)")
    if header_bytes > MAX_HEADER_BYTES:
        raise file.damaged(f"its header claims {header_bytes} bytes, more than {MAX_HEADER_BYTES}")
    return header_bytes


def _parse_entry(file: ByteFile, name: str, entry: object) -> tuple[SourceTensor, int, int]:
    """The tensor and its byte range in the data."""
    if len(name) > _MAX_NAME_CHARS or not isinstance(entry, dict):
        raise file.damaged(f"the header entry of {quoted(name)} is not a tensor")
    dtype, shape, offsets = entry.get("dtype"), _sizes(entry.get("shape")), _sizes(entry.get("data_offsets"))
    if not isinstance(dtype, str) or shape is None or offsets is None or len(offsets) != 2:
        raise file.damaged(f"the header entry of {quoted(name)} lacks a valid dtype, shape or data_offsets")
    begin, end = offsets
    if not begin <= end <= file.size_bytes:
        raise file.damaged(f"tensor {quoted(name)} is not inside the file")
    if len(shape) > MAX_DIMENSIONS or math.prod(max(1, size) for size in shape) > _MAX_TENSOR_VALUES:
        raise file.damaged(f"tensor {quoted(name)} has an impossible shape")
    if dtype in _TYPE_BYTES and math.prod(shape) * _TYPE_BYTES[dtype] != end - begin:
        raise file.damaged(f"tensor {quoted(name)}: {dtype} {list(shape)} does not fill {end - begin} bytes")
    return SourceTensor(name, dtype, shape), begin, end


def _sizes(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list) or not all(type(item) is int and item >= 0 for item in value):
        return None
    return tuple(value)


def _check_ranges(file: ByteFile, ranges: list[tuple[int, int, str]], data_bytes: int) -> None:
    end = 0
    for begin, next_end, name in ranges:
        if begin != end:
            what = "overlaps the one before it" if begin < end else "follows a hole"
            raise file.damaged(f"tensor {quoted(name)} {what}")
        end = next_end
    if end != data_bytes:
        raise file.damaged(f"its tensors take {end} bytes, but the file holds {data_bytes}")
