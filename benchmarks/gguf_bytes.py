"""The bytes of a GGUF file (version 3) around its tensors: header, key-values, padding. The benchmarks' files only."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

ALIGNMENT_BYTES = 32
FILE_TYPE_Q4_0 = 2
GGML_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 8}


@dataclass(frozen=True)
class GgufTensor:
    """shape: rows first, as numpy has it; the file has it the other way round."""

    name: str
    shape: tuple[int, ...]
    type_name: str
    num_bytes: int


def render_header(metadata: Mapping[str, object], tensors: Sequence[GgufTensor]) -> bytes:
    """Everything before the first tensor's padding; tensors follow in this order, each padded to ALIGNMENT_BYTES."""
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(metadata))]
    parts += [_string(key) + _value(value) for key, value in metadata.items()]
    offset = 0
    for tensor in tensors:
        dimensions, kind = tensor.shape[::-1], GGML_TYPES[tensor.type_name]
        numbers = struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, kind, offset)
        parts.append(_string(tensor.name) + numbers)
        offset = _aligned(offset + tensor.num_bytes)
    return b"".join(parts)


def pad(file: BinaryIO) -> None:
    """Zeros up to the next place where a tensor may begin."""
    file.write(bytes(_aligned(file.tell()) - file.tell()))


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: object) -> bytes:
    """Type number and value: uint32 4, int32 5, float32 6, bool 7, string 8, array 9."""
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + _string(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(_string, value))
    if isinstance(value, list):
        return struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)
    raise TypeError(f"no GGUF type for {type(value).__name__}")


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
