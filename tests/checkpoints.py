"""Writers of small checkpoints for tests: GGUF and safetensors, byte for byte under the test's control.

Written from the formats' descriptions, without the product's readers, so that a mistake cannot cancel itself out.
Whole models (weights, configuration, tokenizer) are in `tiny_models.py`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# name: (type id, values in a block, bytes of a block)
GGUF_TYPES = {
    "F32": (0, 1, 4),
    "F16": (1, 1, 2),
    "Q4_0": (2, 32, 18),
    "Q4_1": (3, 32, 20),
    "Q5_0": (6, 32, 22),
    "Q5_1": (7, 32, 24),
    "Q8_0": (8, 32, 34),
    "Q2_K": (10, 256, 84),
    "Q3_K": (11, 256, 110),
    "Q4_K": (12, 256, 144),
    "Q5_K": (13, 256, 176),
    "Q6_K": (14, 256, 210),
    "IQ4_XS": (23, 256, 136),
    "I32": (26, 1, 4),
    "BF16": (30, 1, 2),
}
# name: (bytes where an f16 scale stands, and the scale's usual size for weights of standard deviation 1)
_SCALES: dict[str, tuple[tuple[int, float], ...]] = {
    "Q4_0": ((0, 0.22),),
    "Q4_1": ((0, 0.22), (2, -1.6)),
    "Q5_0": ((0, 0.11),),
    "Q5_1": ((0, 0.11), (2, -1.7)),
    "Q8_0": ((0, 0.0135),),
    "Q2_K": ((80, 0.1), (82, 0.15)),
    "Q3_K": ((108, 0.035),),
    "Q4_K": ((0, 0.006), (2, 0.045)),
    "Q5_K": ((0, 0.003), (2, 0.045)),
    "Q6_K": ((208, 0.0007),),
}
_VALUE_TYPES = {
    "u8": (0, "<B"),
    "i8": (1, "<b"),
    "u16": (2, "<H"),
    "i16": (3, "<h"),
    "u32": (4, "<I"),
    "i32": (5, "<i"),
    "f32": (6, "<f"),
    "bool": (7, "<?"),
    "string": (8, ""),
    "array": (9, ""),
    "u64": (10, "<Q"),
    "i64": (11, "<q"),
    "f64": (12, "<d"),
}
_SAFETENSORS_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "<u1", "BOOL": "<u1"}

Tensor = tuple[str, np.ndarray]


@dataclass(frozen=True)
class Typed:
    """A GGUF value whose type is not left to `value_type`; of a list, the type of its items."""

    kind: str
    value: object


def encode(type_name: str, values: np.ndarray) -> np.ndarray:
    """Bytes of values in a plain type, Q8_0, Q4_0 or Q4_1, rounded: (..., cols) -> (..., row_bytes) uint8."""
    values = np.ascontiguousarray(values, np.float32)
    if type_name == "BF16":
        bits = values.view(np.uint32).astype(np.uint64)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").view(np.uint8)
    if type_name in ("F32", "F16"):
        return values.astype("<f4" if type_name == "F32" else "<f2").view(np.uint8)
    blocks = values.reshape(-1, 32)
    stored = _QUANTISERS[type_name](blocks)
    return stored.reshape(*values.shape[:-1], -1)


def random_blocks(type_name: str, rows: int, cols: int, rng: np.random.Generator, std: float = 0.05) -> np.ndarray:
    """Stored rows of a quantised type with random content and values of about that standard deviation."""
    _, block_values, block_bytes = GGUF_TYPES[type_name]
    blocks = rng.integers(0, 256, (rows * cols // block_values, block_bytes), np.uint8)
    for at, scale in _SCALES[type_name]:
        scales = (std * scale * rng.uniform(0.5, 1.5, len(blocks))).astype("<f2")
        blocks[:, at : at + 2] = scales.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(rows, -1)


def _nibbles(quants: np.ndarray) -> np.ndarray:
    quants = quants.astype(np.uint8)
    return quants[:, :16] | quants[:, 16:] << 4


def _f16_bytes(column: np.ndarray) -> np.ndarray:
    return column.astype("<f2").view(np.uint8)


def _to_scale(blocks: np.ndarray, scale: np.ndarray) -> np.ndarray:
    scale = scale.astype(np.float16).astype(np.float32)
    return np.round(np.divide(blocks, scale, out=np.zeros_like(blocks), where=scale != 0))


def _q8_0(blocks: np.ndarray) -> np.ndarray:
    scale = np.abs(blocks).max(1, keepdims=True) / 127
    quants = np.clip(_to_scale(blocks, scale), -127, 127).astype(np.int8)
    return np.hstack([_f16_bytes(scale), quants.view(np.uint8)])


def _q4_0(blocks: np.ndarray) -> np.ndarray:
    scale = np.abs(blocks).max(1, keepdims=True) / 7
    return np.hstack([_f16_bytes(scale), _nibbles(np.clip(_to_scale(blocks, scale), -8, 7) + 8)])


def _q4_1(blocks: np.ndarray) -> np.ndarray:
    low = blocks.min(1, keepdims=True)
    scale = (blocks.max(1, keepdims=True) - low) / 15
    return np.hstack([_f16_bytes(scale), _f16_bytes(low), _nibbles(np.clip(_to_scale(blocks - low, scale), 0, 15))])


_QUANTISERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"Q8_0": _q8_0, "Q4_0": _q4_0, "Q4_1": _q4_1}


# --- GGUF ---


def gguf_bytes(
    metadata: Mapping[str, object], tensors: Mapping[str, Tensor], *, version: int = 3, alignment: int = 32
) -> bytes:
    """A GGUF file. A tensor is (type, array): values to encode, or uint8 rows that are stored as they are.

    Values of metadata: bool, int (u32, or the smallest of i32 u64 i64 that holds it), float (f32), str, list, or Typed.
    An alignment other than 32 must also be in the metadata as "general.alignment".
    """
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    head += b"".join(gguf_string(key) + gguf_value(value) for key, value in metadata.items())
    data = b""
    for name, (type_name, array) in tensors.items():
        shape, stored = _stored(type_name, array)
        head += gguf_tensor_info(name, shape, GGUF_TYPES[type_name][0], len(data))
        data += _padded(stored, alignment)
    return _padded(head, alignment) + data


def write_gguf(path: Path, metadata: Mapping[str, object], tensors: Mapping[str, Tensor]) -> Path:
    path.write_bytes(gguf_bytes(metadata, tensors))
    return path


def gguf_string(text: str) -> bytes:
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def gguf_tensor_info(name: str, shape: Sequence[int], type_id: int, offset: int) -> bytes:
    """shape in numpy order."""
    dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
    return gguf_string(name) + dimensions + struct.pack("<IQ", type_id, offset)


def gguf_value(value: object) -> bytes:
    """Type and content of one metadata value."""
    kind = value_type(value)
    plain = value.value if isinstance(value, Typed) else value
    if isinstance(plain, list):
        return struct.pack("<I", 9) + _array(plain, value.kind if isinstance(value, Typed) else None)
    return struct.pack("<I", _VALUE_TYPES[kind][0]) + _content(kind, plain)


def value_type(value: object) -> str:
    if isinstance(value, Typed):
        return value.kind
    if isinstance(value, int) and not isinstance(value, bool):
        ranges = {"u32": (0, 1 << 32), "i32": (-(1 << 31), 1 << 31), "u64": (0, 1 << 64)}
        return next((kind for kind, (low, high) in ranges.items() if low <= value < high), "i64")
    kinds: dict[type, str] = {bool: "bool", float: "f32", str: "string", list: "array"}
    return kinds[type(value)]


def _array(items: list[object], kind: str | None) -> bytes:
    kind = kind or _item_type(items)
    content = b"".join(_content(kind, item) for item in items)
    return struct.pack("<IQ", _VALUE_TYPES[kind][0], len(items)) + content


def _item_type(items: list[object]) -> str:
    kind = value_type(items[0]) if items else "i32"
    return "i32" if kind == "u32" else kind  # what converters write, and llama.cpp insists on for token types


def _content(kind: str, value: object) -> bytes:
    if kind == "string":
        assert isinstance(value, str)
        return gguf_string(value)
    if kind == "array":
        assert isinstance(value, list)
        return _array(value, None)
    return struct.pack(_VALUE_TYPES[kind][1], value)


def _stored(type_name: str, array: np.ndarray) -> tuple[tuple[int, ...], bytes]:
    _, block_values, block_bytes = GGUF_TYPES[type_name]
    if array.dtype == np.uint8:
        return (*array.shape[:-1], array.shape[-1] // block_bytes * block_values), array.tobytes()
    return array.shape, encode(type_name, array).tobytes()


def _padded(data: bytes, alignment: int) -> bytes:
    return data + bytes(-len(data) % alignment)


# --- safetensors ---


def safetensors_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """A safetensors file. A tensor is (dtype, array of values)."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    data = b""
    for name, (dtype, array) in tensors.items():
        stored = encode("BF16", array) if dtype == "BF16" else array.astype(_SAFETENSORS_DTYPES[dtype])
        begin = len(data)
        data += stored.tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [begin, len(data)]}
    return safetensors_file(header, data)


def safetensors_file(header: object, data: bytes = b"") -> bytes:
    """Any header, honest or not, in front of any data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Path:
    path.write_bytes(safetensors_bytes(tensors, metadata))
    return path


def write_sharded(directory: Path, tensors: Mapping[str, Tensor], num_shards: int) -> Path:
    """Shards with an index, tensors dealt out in turn."""
    names = list(tensors)
    weight_map = {}
    for number in range(num_shards):
        shard = f"model-{number + 1:05}-of-{num_shards:05}.safetensors"
        members = names[number::num_shards]
        write_safetensors(directory / shard, {name: tensors[name] for name in members})
        weight_map.update(dict.fromkeys(members, shard))
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    return directory
