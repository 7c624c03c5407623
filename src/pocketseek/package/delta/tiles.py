"""A run of tile rows of a matrix, told by the same rows of an older version of it, in the same format or another.

The scales come first. Then every code is foretold: the old value is put on the new grid and rounded. What is left is
mostly zero, and the more so the less was changed. It may be sorted into classes that the reader can make, too, so that
each has its own statistics: by how far the old value lies from the code that was foretold, since near the border to the
next one it is easily crossed, in that direction. (Sorting by the size of a step, too, gained nothing on the changes of
docs/lab-notes.md.) A writer takes whichever is shorter.

    0 or 1: sorted; for every side its numbers; the numbers of every class

Without an older version (`old` is None) codes are told by themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketseek.formats import SUPERBLOCK_BLOCKS
from pocketseek.package.delta.byte_parts import ByteReader, ByteWriter, delta_error
from pocketseek.package.delta.planes import (
    SIDES,
    Floats,
    Grid,
    Numbers,
    Rows,
    codes_shape,
    is_float,
    join_rows,
    ordered_bits,
    side_shape,
    split_rows,
    values_of,
)
from pocketseek.package.delta.residuals import read_numbers, write_numbers

_Bytes = NDArray[np.uint8]

_PLACE_EDGES = np.array([0.02, 0.1, 0.2, 0.3, 0.4], np.float32)


@dataclass(frozen=True)
class OldRows:
    """data: whole tile rows in that format, of the same outputs and inputs."""

    format: str
    data: _Bytes


@np.errstate(all="ignore")
def write_tiles(format_name: str, cols: int, data: _Bytes, old: OldRows | None) -> bytes | None:
    """None if the bytes are not such as `read_tiles` would give (padding that is not zero)."""
    rows = split_rows(format_name, cols, data)
    if not np.array_equal(join_rows(format_name, cols, rows), data):
        return None
    foretold = _Foretold(format_name, cols, len(rows.codes), old)
    sides = ByteWriter()
    for name in SIDES[format_name]:
        write_numbers(sides, (rows.sides[name] - foretold.side(name)).reshape(-1))
        foretold.know_side(name, rows.sides[name])
    forms = [_written_codes(foretold, rows.codes, is_sorted=False)]
    if foretold.can_sort:
        forms.append(_written_codes(foretold, rows.codes, is_sorted=True))
    form, codes = min(enumerate(forms), key=lambda form: len(form[1]))
    return bytes([form]) + bytes(sides.data) + codes


@np.errstate(all="ignore")
def read_tiles(format_name: str, cols: int, num_rows: int, data: bytes | memoryview, old: OldRows | None) -> _Bytes:
    """The bytes of the rows. Raises FormatError."""
    source = ByteReader(data)
    is_sorted = source.number(1) == 1
    foretold = _Foretold(format_name, cols, num_rows, old)
    if is_sorted and not foretold.can_sort:
        raise delta_error("sorted by nothing")
    for name in SIDES[format_name]:
        expected = foretold.side(name)
        foretold.know_side(name, expected + read_numbers(source, expected.size).reshape(expected.shape))
    codes = np.empty(codes_shape(num_rows, cols), np.int32)
    flat, base, sign = codes.reshape(-1), *foretold.codes(is_sorted=is_sorted)
    for places in foretold.classes(is_sorted=is_sorted):
        flat[places] = base[places] + read_numbers(source, len(places)) * sign[places]
    source.end()
    return join_rows(format_name, cols, Rows(codes, foretold.sides))


def _written_codes(foretold: _Foretold, codes: Numbers, *, is_sorted: bool) -> bytes:
    out = ByteWriter()
    base, sign = foretold.codes(is_sorted=is_sorted)
    left = (codes.reshape(-1) - base) * sign
    for places in foretold.classes(is_sorted=is_sorted):
        write_numbers(out, left[places])
    return bytes(out.data)


class _Foretold:
    """What the old rows say about the new ones; the same for writer and reader, step by step: sides, then codes."""

    def __init__(self, format_name: str, cols: int, num_rows: int, old: OldRows | None) -> None:
        self.sides: dict[str, Numbers] = {}
        self._format, self._cols, self._num_rows = format_name, cols, num_rows
        self._old_format = old.format if old is not None else ""
        old_rows = split_rows(old.format, cols, old.data) if old is not None else None
        self._old_sides = old_rows.sides if old_rows is not None and old is not None else {}
        self._old_codes = old_rows.codes if old_rows is not None else None
        self._values = values_of(self._old_format, old_rows) if old_rows is not None else None
        self._places: Floats | None = None

    @property
    def can_sort(self) -> bool:
        """Whether old values say something about how sure a code is."""
        return self._values is not None and not is_float(self._format)

    def side(self, name: str) -> Numbers:
        if self._old_format == self._format:
            return self._old_sides[name]
        if self._values is None:
            return np.zeros(side_shape(name, self._num_rows, self._cols), np.int32)
        return _guessed_side(self._format, name, self._values, self.sides)

    def know_side(self, name: str, numbers: Numbers) -> None:
        self.sides[name] = numbers

    def codes(self, *, is_sorted: bool) -> tuple[Numbers, Numbers]:
        """What is added to, and what the difference is multiplied by (1 or -1); flat."""
        count = math.prod(codes_shape(self._num_rows, self._cols))
        ones = np.ones(count, np.int32)
        if is_float(self._format):
            return self._float_codes(count), ones
        grid = Grid.of(self._format, self.sides)
        if self._values is None:
            return np.full(count, grid.zero, np.int32), ones
        places = self._places_on(grid)
        base = grid.nearest(places).reshape(-1)
        if is_sorted:
            ones[places.reshape(-1) < base] = -1
        return base, ones

    def classes(self, *, is_sorted: bool) -> Iterator[NDArray[np.intp]]:
        """Places in the flat codes; every one is in one class."""
        if not is_sorted:
            yield np.arange(math.prod(codes_shape(self._num_rows, self._cols)))
            return
        grid = Grid.of(self._format, self.sides)
        places = self._places_on(grid)
        classes = np.digitize(np.abs(places - grid.nearest(places)), _PLACE_EDGES).reshape(-1)
        for number in np.flatnonzero(np.bincount(classes)):
            yield np.flatnonzero(classes == number)

    def _places_on(self, grid: Grid) -> Floats:
        if self._places is None:
            assert self._values is not None
            is_same = self._old_format == self._format
            self._places = grid.places(self._values, self._old_codes if is_same else None)
        return self._places

    def _float_codes(self, count: int) -> Numbers:
        if self._values is None or self._old_codes is None:
            return np.zeros(count, np.int32)
        if self._old_format == self._format:
            return self._old_codes.reshape(-1)
        return ordered_bits(self._values.astype(np.float16 if self._format == "f16" else np.float32)).reshape(-1)


def _guessed_side(format_name: str, name: str, values: Floats, known: dict[str, Numbers]) -> Numbers:
    """From values that were stored in another format: what a plain quantiser would choose."""
    values = np.nan_to_num(values, posinf=0.0, neginf=0.0)
    high, low = values.max(axis=(2, 4)), values.min(axis=(2, 4))  # (tile rows, blocks, 16)
    largest = np.maximum(high, -low)
    if name == "g":
        unit = np.repeat(_f16(known["D"]), SUPERBLOCK_BLOCKS, axis=1)[:, : largest.shape[1]]
        steps = np.rint(largest / (np.abs(unit) * np.float32(8)))
        g: Numbers = np.clip(np.nan_to_num(steps, posinf=0.0), 0, 15).astype(np.int32)
        return g
    if name == "D":
        starts = np.arange(0, largest.shape[1], SUPERBLOCK_BLOCKS)
        largest_of_8: Floats = np.maximum.reduceat(largest, starts, axis=1)
        return _bits(largest_of_8 / np.float32(8 * 15))
    if name == "m":
        return _bits(low)
    if format_name == "q4a":
        return _bits((high - low) / np.float32(15))
    return _bits(largest / np.float32({"q8s": 127, "q6s": 31, "q4s": 8}[format_name]))


def _f16(bits: Numbers) -> Floats:
    return bits.astype("<u2").view("<f2").astype(np.float32)


def _bits(values: Floats) -> Numbers:
    return values.astype("<f2").view("<u2").astype(np.int32)
