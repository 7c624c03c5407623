"""Tensor types of GGUF files: ids, block sizes, and the exact values that stored blocks stand for.

A row of a quantised tensor is a sequence of blocks; a block is cut into groups that share a scale (and an offset):

    value = scale * q + offset          scale, offset: f32, one per group; q: small integer

`unpack` gives these planes, `dequantise` the values. Both follow ggml's reference dequantisation to the bit: products
are taken in the same order in f32 (and hardly ever round: a scale has at most 19 bits, a q at most 8). Numbers are
little-endian. Bytes that mean infinity or NaN are passed on, not judged.

Byte layouts of one block (d, m, dmin: f16; K-quants hold 256 values, the others 32):

    Q4_0  d, 16 x nibbles                             q = nibble - 8; low nibbles are values 0..15, high ones 16..31
    Q4_1  d, m, 16 x nibbles                          q = nibble, offset m
    Q5_0  d, 32 high bits, 16 x nibbles               q = 5 bits - 16
    Q5_1  d, m, 32 high bits, 16 x nibbles            q = 5 bits, offset m
    Q8_0  d, 32 x int8
    Q2_K  16 x (4-bit scale, 4-bit minimum), 64 x 2-bit quads, d, dmin              16 groups
    Q3_K  32 x 8 high bits, 64 x 2-bit quads, 16 x 6-bit scales (12 bytes), d       16 groups; q = 3 bits - 4
    Q4_K  d, dmin, 8 x (6-bit scale, 6-bit minimum) in 12 bytes, 128 x nibbles       8 groups
    Q5_K  d, dmin, the same 12 bytes, 32 x 8 high bits, 128 x nibbles                8 groups
    Q6_K  128 x nibbles, 64 x 2-bit quads of high bits, 16 x int8 scale, d          16 groups; q = 6 bits - 32

K-quants interleave: a run of bytes holds the first values in its low fields, the following ones in the next fields, ...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.sources.fp8 import FP8_TYPE
from pocketseek.errors import UnsupportedError

F32Array = NDArray[np.float32]
U8Array = NDArray[np.uint8]
I8Array = NDArray[np.int8]

_PIECE_VALUES = 1 << 18  # values decoded at a time: temporaries stay in the cache and small next to the slab


@dataclass(frozen=True)
class GgmlType:
    """Sizes of one type: block_values values are stored in block_bytes bytes."""

    name: str
    block_values: int
    block_bytes: int

    def row_bytes(self, num_values: int) -> int:
        """Bytes of a row; num_values must be a multiple of block_values."""
        return num_values // self.block_values * self.block_bytes


GGML_TYPES: dict[int, GgmlType] = {
    type_id: GgmlType(name, values, num_bytes)
    for type_id, name, values, num_bytes in (
        (0, "F32", 1, 4),
        (1, "F16", 1, 2),
        (2, "Q4_0", 32, 18),
        (3, "Q4_1", 32, 20),
        (6, "Q5_0", 32, 22),
        (7, "Q5_1", 32, 24),
        (8, "Q8_0", 32, 34),
        (9, "Q8_1", 32, 36),
        (10, "Q2_K", 256, 84),
        (11, "Q3_K", 256, 110),
        (12, "Q4_K", 256, 144),
        (13, "Q5_K", 256, 176),
        (14, "Q6_K", 256, 210),
        (15, "Q8_K", 256, 292),
        (16, "IQ2_XXS", 256, 66),
        (17, "IQ2_XS", 256, 74),
        (18, "IQ3_XXS", 256, 98),
        (19, "IQ1_S", 256, 50),
        (20, "IQ4_NL", 32, 18),
        (21, "IQ3_S", 256, 110),
        (22, "IQ2_S", 256, 82),
        (23, "IQ4_XS", 256, 136),
        (24, "I8", 1, 1),
        (25, "I16", 1, 2),
        (26, "I32", 1, 4),
        (27, "I64", 1, 8),
        (28, "F64", 1, 8),
        (29, "IQ1_M", 256, 56),
        (30, "BF16", 1, 2),
        (34, "TQ1_0", 256, 54),
        (35, "TQ2_0", 256, 66),
        (39, "MXFP4", 32, 17),
        (40, "NVFP4", 64, 36),
        (41, "Q1_0", 128, 18),
    )
}
TYPES_BY_NAME: dict[str, GgmlType] = {entry.name: entry for entry in GGML_TYPES.values()}
TYPES_BY_NAME[FP8_TYPE] = GgmlType(FP8_TYPE, 1, 1)  # of safetensors; its values need scales (fp8.py)


@dataclass(frozen=True)
class BlockPlanes:
    """Rows of a quantised tensor taken apart: value = scales * quants + offsets, per group of `group_values` inputs.

    quants (rows, cols) int8; scales and offsets (rows, cols / group_values) f32; offsets is None where a type has none.
    """

    quants: I8Array
    scales: F32Array
    offsets: F32Array | None

    @property
    def group_values(self) -> int:
        return int(self.quants.shape[1] // self.scales.shape[1])


# Planes of blocks while decoding: quants (blocks, groups, values of a group), scales and offsets (blocks, groups).
_Planes = tuple[I8Array, F32Array, F32Array | None]


def unpack(type_name: str, raw: U8Array) -> BlockPlanes:
    """Take rows of a block-quantised type apart. raw (rows, row_bytes). Raises UnsupportedError for any other type."""
    if type_name not in _UNPACKERS:
        raise UnsupportedError(f"tensor type {type_name} has no quantisation blocks; read its values instead")
    rows = raw.shape[0]
    quants, scales, offsets = _UNPACKERS[type_name](_blocks_of(type_name, raw))
    cols = raw.shape[1] // TYPES_BY_NAME[type_name].block_bytes * TYPES_BY_NAME[type_name].block_values
    num_groups = cols // quants.shape[2]
    return BlockPlanes(
        quants.reshape(rows, cols),
        scales.reshape(rows, num_groups),
        None if offsets is None else offsets.reshape(rows, num_groups),
    )


def dequantise(type_name: str, raw: U8Array) -> F32Array:
    """The values of stored rows: raw (rows, row_bytes) -> (rows, cols). UnsupportedError for an unreadable type."""
    require_readable(type_name)
    if type_name in _PLAIN:
        return _PLAIN[type_name](np.ascontiguousarray(raw))
    entry = TYPES_BY_NAME[type_name]
    blocks = _blocks_of(type_name, raw)
    values = np.empty((len(blocks), entry.block_values), np.float32)
    step = _PIECE_VALUES // entry.block_values
    with np.errstate(
        invalid="ignore", over="ignore"
    ):  # hostile scales: infinity and NaN are values like any other here
        for first in range(0, len(blocks), step):
            _combine(_UNPACKERS[type_name](blocks[first : first + step]), values[first : first + step])
    return values.reshape(raw.shape[0], raw.shape[1] // entry.block_bytes * entry.block_values)


def require_readable(type_name: str) -> None:
    """Raise UnsupportedError, naming what can be read, unless `dequantise` knows the type."""
    if type_name not in READABLE_TYPES:
        known = " ".join(sorted(READABLE_TYPES))
        raise UnsupportedError(f"tensor type {type_name} cannot be read; use a checkpoint with the types {known}")


def _blocks_of(type_name: str, raw: U8Array) -> U8Array:
    """All blocks of all rows, one after the other. A row that is no whole number of blocks is the caller's mistake."""
    block_bytes = TYPES_BY_NAME[type_name].block_bytes
    if raw.shape[1] % block_bytes:
        raise ValueError(
            f"a row of {raw.shape[1]} bytes is no whole number of {type_name} blocks ({block_bytes} bytes)"
        )
    return np.ascontiguousarray(raw).reshape(-1, block_bytes)


def _combine(planes: _Planes, values: F32Array) -> None:
    quants, scales, offsets = planes
    grouped = values.reshape(quants.shape)
    np.multiply(quants, scales[:, :, None], out=grouped)
    if offsets is not None:
        np.add(grouped, offsets[:, :, None], out=grouped)


def _from_bf16(raw: U8Array) -> F32Array:
    widened = raw.view("<u2").astype("<u4")
    widened <<= 16
    return widened.view(np.float32)


def _half(blocks: U8Array, at: int) -> F32Array:
    """The f16 at byte `at` of every block, as a column."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)


def _fields(data: U8Array, run_bytes: int, bits: int) -> U8Array:
    """Split bytes into fields of `bits`, low ones first, in runs: all low fields of a run, then all next ones, ..."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    fields = data.reshape(len(data), -1, 1, run_bytes) >> shifts
    fields &= np.uint8((1 << bits) - 1)
    return fields.reshape(len(data), -1)


def _signed(fields: U8Array, minus: int, num_groups: int) -> I8Array:
    quants = fields.view(np.int8)
    if minus:
        quants = quants - np.int8(minus)
    return quants.reshape(len(fields), num_groups, -1)


def _q4_0(blocks: U8Array) -> _Planes:
    return _signed(_fields(blocks[:, 2:], 16, 4), 8, 1), _half(blocks, 0), None


def _q4_1(blocks: U8Array) -> _Planes:
    return _signed(_fields(blocks[:, 4:], 16, 4), 0, 1), _half(blocks, 0), _half(blocks, 2)


def _five_bits(blocks: U8Array, at: int) -> U8Array:
    high = np.unpackbits(blocks[:, at : at + 4], axis=1, bitorder="little")
    return _fields(blocks[:, at + 4 :], 16, 4) | (high << np.uint8(4))


def _q5_0(blocks: U8Array) -> _Planes:
    return _signed(_five_bits(blocks, 2), 16, 1), _half(blocks, 0), None


def _q5_1(blocks: U8Array) -> _Planes:
    return _signed(_five_bits(blocks, 4), 0, 1), _half(blocks, 0), _half(blocks, 2)


def _q8_0(blocks: U8Array) -> _Planes:
    return _signed(np.ascontiguousarray(blocks[:, 2:]), 0, 1), _half(blocks, 0), None


def _q2_k(blocks: U8Array) -> _Planes:
    packed = blocks[:, :16]
    scales = _half(blocks, 80) * (packed & np.uint8(15))
    offsets = -(_half(blocks, 82) * (packed >> np.uint8(4)))
    return _signed(_fields(blocks[:, 16:80], 32, 2), 0, 16), scales, offsets


def _q3_k(blocks: U8Array) -> _Planes:
    fields = _fields(blocks[:, 32:96], 32, 2) | (_fields(blocks[:, :32], 32, 1) << np.uint8(2))
    packed = blocks[:, 96:108]
    scales = (_fields(packed[:, :8], 8, 4) | (_fields(packed[:, 8:], 4, 2) << np.uint8(4))).view(np.int8) - np.int8(32)
    return _signed(fields, 4, 16), _half(blocks, 108) * scales, None


def _scales_and_offsets(blocks: U8Array) -> tuple[F32Array, F32Array]:
    """Q4_K and Q5_K: 4 bytes with scales 0..3, 4 with minima 0..3, both with the high bits of 4..7; 4 with low bits."""
    scales, minima, low = blocks[:, 4:8], blocks[:, 8:12], blocks[:, 12:16]
    scales = np.hstack([scales & 63, (low & 15) | (scales >> 6 << 4)])
    minima = np.hstack([minima & 63, (low >> 4) | (minima >> 6 << 4)])
    return _half(blocks, 0) * scales, -(_half(blocks, 2) * minima)


def _q4_k(blocks: U8Array) -> _Planes:
    scales, offsets = _scales_and_offsets(blocks)
    return _signed(_fields(blocks[:, 16:], 32, 4), 0, 8), scales, offsets


def _q5_k(blocks: U8Array) -> _Planes:
    scales, offsets = _scales_and_offsets(blocks)
    fields = _fields(blocks[:, 48:], 32, 4) | (_fields(blocks[:, 16:48], 32, 1) << np.uint8(4))
    return _signed(fields, 0, 8), scales, offsets


def _q6_k(blocks: U8Array) -> _Planes:
    fields = _fields(blocks[:, :128], 64, 4) | (_fields(blocks[:, 128:192], 32, 2) << np.uint8(4))
    scales = _half(blocks, 208) * np.ascontiguousarray(blocks[:, 192:208]).view(np.int8)
    return _signed(fields, 32, 16), scales, None


_UNPACKERS: dict[str, Callable[[U8Array], _Planes]] = {
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q5_0": _q5_0,
    "Q5_1": _q5_1,
    "Q8_0": _q8_0,
    "Q2_K": _q2_k,
    "Q3_K": _q3_k,
    "Q4_K": _q4_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
}
_PLAIN: dict[str, Callable[[U8Array], F32Array]] = {
    "F32": lambda raw: raw.view("<f4").astype(np.float32, copy=False),
    "F16": lambda raw: raw.view("<f2").astype(np.float32),
    "BF16": _from_bf16,
}
QUANTISED_TYPES = frozenset(_UNPACKERS)
READABLE_TYPES = QUANTISED_TYPES | frozenset(_PLAIN)
RAW_TYPES = READABLE_TYPES | {FP8_TYPE}  # whose rows can be read as stored
