"""Whole numbers from 0 on, as few bytes: how far changes lie apart, and how large they are.

    0, width, `width` blocks                                    the bytes of the same weight together, each by zstd
    k + 1, number of unary bits, unary bits, low bits           Rice's code

In Rice's code a number n is n >> k zeros and a one among the unary bits, and its k low bits among the others; bits go
into bytes from the lowest up. The writer takes the shorter form. The count is known to both.

The reader's memory follows the count, whatever the bytes say: the writer's choices bound the unary bits (see
`_most_unary`), and low bits are unpacked a slab at a time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pocketseek.package.delta.byte_parts import ByteReader, ByteWriter, delta_error

Naturals = NDArray[np.int64]

_MOST_LOW_BITS = 32
_WIDEST_BYTES = 5
_SLAB = 1 << 16  # numbers; a multiple of 8, so that slabs begin with a byte


def write_naturals(out: ByteWriter, numbers: Naturals) -> None:
    """At least one; below 2^40."""
    width = width_of(int(numbers.max()))
    plain = ByteWriter()
    for block in planes(numbers, width):
        plain.block(block)
    low_bits, num_bits = _best_split(numbers)
    if num_bits // 8 + 4 >= len(plain.data):
        out.number(0)
        out.number(width)
        out.data += plain.data
        return
    ends = np.cumsum((numbers >> low_bits) + 1) - 1
    unary = np.zeros(int(ends[-1]) + 1, np.uint8)
    unary[ends] = 1
    out.number(low_bits + 1)
    out.number(len(unary))
    out.data += np.packbits(unary, bitorder="little").tobytes()
    low = numbers[:, None] >> np.arange(low_bits) & 1
    out.data += np.packbits(low.astype(np.uint8).reshape(-1), bitorder="little").tobytes()


def read_naturals(data: ByteReader, count: int) -> Naturals:
    """At least one. Raises FormatError."""
    low_bits = data.number(_MOST_LOW_BITS + 1) - 1
    if low_bits < 0:
        return from_planes(data, data.number(_WIDEST_BYTES), count)
    num_unary = data.number(_most_unary(count))
    unary = np.unpackbits(_raw(data, num_unary), count=num_unary, bitorder="little")
    if np.count_nonzero(unary) != count or not unary[-1]:
        raise delta_error("numbers that do not fit their count")
    numbers = np.diff(np.flatnonzero(unary), prepend=-1) - 1
    numbers <<= low_bits
    _add_low(numbers, _raw(data, count * low_bits), low_bits)
    return numbers


def _most_unary(count: int) -> int:
    """With as many low bits as the mean has, less two, a number has 5 unary bits on average. Where that is more than
    _MOST_LOW_BITS, Rice's code is only taken if 8 of them and those low bits are no more than the bytes of planes,
    which have some more for their heads."""
    return (8 * _WIDEST_BYTES - _MOST_LOW_BITS) * count + 64 * _WIDEST_BYTES


def _add_low(numbers: Naturals, packed: NDArray[np.uint8], low_bits: int) -> None:
    weights = np.int64(1) << np.arange(low_bits, dtype=np.int64)
    for start in range(0, len(numbers), _SLAB):
        slab = numbers[start : start + _SLAB]
        bits = np.unpackbits(packed[start * low_bits // 8 :], count=len(slab) * low_bits, bitorder="little")
        slab += bits.reshape(len(slab), low_bits) @ weights


def width_of(largest: int) -> int:
    """Bytes that it takes."""
    return max(1, -(-largest.bit_length() // 8))


def planes(numbers: NDArray[np.integer], width: int) -> list[bytes]:
    """Bytes of the same weight together, the lowest first."""
    return [(numbers >> 8 * index & 255).astype(np.uint8).tobytes() for index in range(width)]


def from_planes(data: ByteReader, width: int, count: int) -> Naturals:
    numbers = np.zeros(count, np.int64)
    for index in range(width):
        numbers |= np.frombuffer(data.block(count), np.uint8).astype(np.int64) << 8 * index
    return numbers


def _best_split(numbers: Naturals) -> tuple[int, int]:
    """(low bits, bits in all) of the shortest code."""
    count, middle = len(numbers), min(_MOST_LOW_BITS, int(numbers.mean()).bit_length())
    splits = range(max(0, middle - 2), min(_MOST_LOW_BITS, middle + 1) + 1)
    sizes = {low_bits: int((numbers >> low_bits).sum()) + count * (1 + low_bits) for low_bits in splits}
    return min(sizes.items(), key=lambda item: item[1])


def _raw(data: ByteReader, num_bits: int) -> NDArray[np.uint8]:
    return np.frombuffer(data.raw(-(-num_bits // 8)), np.uint8)
