"""Whole numbers that are mostly small, as few bytes: what is left of new values after what the old ones foretell.

A run of numbers is split in two. Its *dense* part is every number, brought into a range low..high; as many as fit go
into one byte in base (high - low + 1), so that entropy coding can go below one bit for each. Its *rare* part is what
lies outside: the gaps between those numbers, and how far outside they are. With low = high only the rare part is left,
which costs nothing but what has changed. The writer chooses the range by what the histogram says it will cost.

    low (signed), high - low, dense blocks, number of rare ones, if any: their gaps, their values

Gaps (how many numbers lie between) and values (zigzag without zero) are naturals: either as blocks of bytes of the same
weight, or by Rice's code, which is close to the best for gaps of changes that fall at random and has no tables, so that
a handful of changes takes a handful of bytes. Numbers are int32 and what is done with them wraps around, so that
differences of any two patterns of 32 bits can be written; the count is known to reader and writer.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pocketseek.package.delta.byte_parts import ByteReader, ByteWriter, delta_error
from pocketseek.package.delta.naturals import from_planes, planes, read_naturals, width_of, write_naturals

Numbers = NDArray[np.int32]

_LARGEST_LOW = 2**31
_MOST_DENSE = 2**32 - 1
_RANGES = ((0, 0), (0, 1), (-1, 0), (-1, 1), (-2, 1), (-1, 2), (-2, 2), (-3, 3), (-8, 7), (-15, 16), (-32, 31))
_COUNTED = 64  # numbers beyond this are told apart only roughly when costs are guessed


def write_numbers(out: ByteWriter, numbers: Numbers) -> None:
    low, high = _cheapest_range(numbers)
    out.signed(low)
    out.number(high - low)
    dense = np.clip(numbers, low, high)
    for block in _packed((dense - np.int32(low)).view(np.uint32), high - low + 1):
        out.block(block)
    _write_rare(out, numbers - dense)


def read_numbers(data: ByteReader, count: int) -> Numbers:
    """Raises FormatError."""
    low = data.signed(_LARGEST_LOW)
    if low == _LARGEST_LOW:
        raise delta_error("a range beyond 32 bits")
    base = data.number(_MOST_DENSE) + 1
    numbers = _unpacked(data, base, count)
    numbers += np.int32(low)
    _add_rare(data, numbers)
    return numbers


# --- the dense part ---


def _per_byte(base: int) -> int:
    """How many digits of that base fit in a byte: 8, 5, 4, 3, 3, 2 ... 1."""
    digits, values = 0, 1
    while values * base <= 256:
        digits, values = digits + 1, values * base
    return digits


def _packed(digits: NDArray[np.uint32], base: int) -> list[bytes]:
    if base == 1:
        return []
    if base > 256:
        return planes(digits, width_of(base - 1))
    per_byte = _per_byte(base)
    padded = np.zeros(-(-len(digits) // per_byte) * per_byte, np.uint8)
    padded[: len(digits)] = digits
    weights = np.array([base**index for index in range(per_byte)], np.uint8)
    return [(padded.reshape(-1, per_byte) * weights).sum(axis=1, dtype=np.uint8).tobytes()]


def _unpacked(data: ByteReader, base: int, count: int) -> Numbers:
    if base == 1:
        return np.zeros(count, np.int32)
    if base > 256:
        return from_planes(data, width_of(base - 1), count).astype(np.int32)
    per_byte = _per_byte(base)
    packed = np.frombuffer(data.block(-(-count // per_byte)), np.uint8)
    if per_byte == 1:
        return packed.astype(np.int32)
    digits = np.empty((len(packed), per_byte), np.int32)
    for index in range(per_byte):
        packed, digits[:, index] = np.divmod(packed, np.uint8(base))
    return digits.reshape(-1)[:count]


# --- the rare part ---


def _write_rare(out: ByteWriter, rare: Numbers) -> None:
    places = np.flatnonzero(rare)
    out.number(len(places))
    if len(places):
        values = rare[places].astype(np.int64)
        write_naturals(out, np.diff(places, prepend=-1) - 1)
        write_naturals(out, np.where(values > 0, 2 * values, -2 * values + 1) - 2)


def _add_rare(data: ByteReader, numbers: Numbers) -> None:
    num_rare = data.number(len(numbers))
    if not num_rare:
        return
    gaps = read_naturals(data, num_rare)
    if int(gaps.max()) >= len(numbers):  # first of all, so that the sum cannot overflow
        raise delta_error("a gap is too wide")
    places = np.cumsum(gaps + 1) - 1
    if places[-1] >= len(numbers):
        raise delta_error("a number lies outside of its run")
    zigzag = read_naturals(data, num_rare) + 2
    numbers[places] += np.where(zigzag & 1, -(zigzag >> 1), zigzag >> 1).astype(np.int32)


# --- which range ---


def _cheapest_range(numbers: Numbers) -> tuple[int, int]:
    if not len(numbers):
        return 0, 0
    least, most = int(numbers.min()), int(numbers.max())
    if least == most:
        return least, least
    counts = np.bincount(np.clip(numbers, -_COUNTED, _COUNTED) + _COUNTED, minlength=2 * _COUNTED + 1)
    ranges = {(max(low, least), min(high, most)) for low, high in _RANGES if low <= most and high >= least}
    candidates = sorted({*ranges, (least, most)}, key=lambda ends: ends[1] - ends[0])
    return min(candidates, key=lambda ends: _guessed_bits(counts, len(numbers), ends, ends == (least, most)))


def _guessed_bits(counts: NDArray[np.integer], count: int, span: tuple[int, int], is_all: bool) -> float:
    """is_all: nothing lies outside of the span, whatever the counts, which end at _COUNTED, say."""
    low, high = span
    ends = np.clip([low + _COUNTED, high + _COUNTED], 0, 2 * _COUNTED)
    first, last = int(ends[0]), int(ends[1])
    inside = counts[first : last + 1].astype(np.float64)
    inside[0] += counts[:first].sum()
    inside[-1] += counts[last + 1 :].sum()
    num_rare = 0 if is_all else count - int(counts[first : last + 1].sum())
    base = high - low + 1
    lowest_bits = count / _per_byte(base) if 1 < base <= 256 else 0.0  # a byte takes a bit at least
    dense = max(_entropy_bits(inside) + max(0.0, math.log2(base / (2 * _COUNTED))) * count, lowest_bits)
    if not num_rare:
        return dense
    outside = np.concatenate([counts[:first], counts[last + 1 :]]).astype(np.float64)
    values = max(_entropy_bits(outside), num_rare)
    return dense + num_rare * (math.log2(count / num_rare) + 1.5) + values


def _entropy_bits(counts: NDArray[np.float64]) -> float:
    present = counts[counts > 0]
    return float(-(present * np.log2(present / present.sum())).sum())
