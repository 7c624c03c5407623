"""A run of tile rows of a matrix, told by the same rows of an older version of it, in the same format or another.

The scales come first. Then every code is foretold: the old value is put on the new grid and rounded. What is left is
mostly zero, and the more so the less was changed. It is sorted into classes that the reader can make, too, so that
each has its own statistics: by how far the old value lies from the code that was foretold (near the border to the next
one it is easily crossed, in that direction), and by the size of a step of the grid (a change of the same size crosses
more borders where steps are small). A writer tries the ways of sorting and takes the shortest.

    way of sorting, then for every side its numbers, then the numbers of every class

Without an older version (`old` is None) codes are told by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketseek.formats import SUPERBLOCK_BLOCKS
from pocketseek.package.delta_bytes import ByteReader, ByteWriter
from pocketseek.package.delta_planes import (
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
from pocketseek.package.delta_residuals import read_numbers, write_numbers

_Bytes = NDArray[np.uint8]

_BY_PLACE, _BY_STEP = 1, 2
_WAYS = (0, _BY_PLACE, _BY_STEP, _BY_PLACE | _BY_STEP)
_PLACE_EDGES = np.array([0.02, 0.1, 0.2, 0.3, 0.4], np.float32)
_NUM_STEPS = 8
_HALF_OCTAVE_BITS = 22  # of a float32, from there on


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
    forms = [_written_codes(foretold, rows.codes, way) for way in _WAYS[: 1 if old is None else None]]
    way, codes = min(enumerate(forms), key=lambda form: len(form[1]))
    return bytes([way]) + bytes(sides.data) + codes


@np.errstate(all="ignore")
def read_tiles(format_name: str, cols: int, num_rows: int, data: bytes | memoryview, old: OldRows | None) -> _Bytes:
    """The bytes of the rows. Raises FormatError."""
    source = ByteReader(data)
    way = source.number(_WAYS[-1])
    foretold = _Foretold(format_name, cols, num_rows, old)
    for name in SIDES[format_name]:
        expected = foretold.side(name)
        foretold.know_side(name, expected + read_numbers(source, expected.size).reshape(expected.shape))
    codes = np.empty(codes_shape(num_rows, cols), np.int32)
    flat, base, sign = codes.reshape(-1), *foretold.codes(way)
    for places in foretold.classes(way):
        flat[places] = base[places] + read_numbers(source, len(places)) * sign[places]
    source.end()
    return join_rows(format_name, cols, Rows(codes, foretold.sides))


def _written_codes(foretold: _Foretold, codes: Numbers, way: int) -> bytes:
    out = ByteWriter()
    base, sign = foretold.codes(way)
    left = (codes.reshape(-1) - base) * sign
    for places in foretold.classes(way):
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

    def side(self, name: str) -> Numbers:
        if self._old_format == self._format:
            return self._old_sides[name]
        if self._values is None:
            return np.zeros(side_shape(name, self._num_rows, self._cols), np.int32)
        return _guessed_side(self._format, name, self._values, self.sides)

    def know_side(self, name: str, numbers: Numbers) -> None:
        self.sides[name] = numbers

    def codes(self, way: int) -> tuple[Numbers, Numbers]:
        """What is added to, and what the difference is multiplied by (1 or -1); flat."""
        count = int(np.prod(codes_shape(self._num_rows, self._cols)))
        ones = np.ones(count, np.int32)
        if is_float(self._format):
            return self._float_codes(count), ones
        grid = Grid.of(self._format, self.sides)
        if self._values is None:
            return np.full(count, grid.zero, np.int32), ones
        places = self._places_on(grid)
        base = grid.nearest(places).reshape(-1)
        if way & _BY_PLACE:
            ones[places.reshape(-1) < base] = -1
        return base, ones

    def classes(self, way: int) -> Iterator[NDArray[np.intp]]:
        """Places in the flat codes; every one is in one class."""
        shape = codes_shape(self._num_rows, self._cols)
        classes = np.zeros(shape, np.int16)
        if way & _BY_PLACE and self._values is not None and not is_float(self._format):
            grid = Grid.of(self._format, self.sides)
            places = self._places_on(grid)
            classes += np.digitize(np.abs(places - grid.nearest(places)), _PLACE_EDGES).astype(np.int16)
        if way & _BY_STEP and self._values is not None:
            classes += self._steps() * np.int16(len(_PLACE_EDGES) + 1)
        flat = classes.reshape(-1)
        for number in np.flatnonzero(np.bincount(flat)):
            yield np.flatnonzero(flat == number)

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

    def _steps(self) -> NDArray[np.int16]:
        """0 for the largest, one more for each half octave below; of floats, of the values themselves."""
        assert self._values is not None
        sizes = self._values if is_float(self._format) else Grid.of(self._format, self.sides).steps
        octaves = np.abs(sizes).view(np.int32) >> _HALF_OCTAVE_BITS
        steps = np.clip(int(octaves.max(initial=0)) - octaves, 0, _NUM_STEPS - 1).astype(np.int16)
        return np.broadcast_to(steps, self._values.shape)


def _guessed_side(format_name: str, name: str, values: Floats, known: dict[str, Numbers]) -> Numbers:
    """From values that were stored in another format: what a plain quantiser would choose."""
    values = np.nan_to_num(values, posinf=0.0, neginf=0.0)
    high, low = values.max(axis=(2, 4)), values.min(axis=(2, 4))  # (tile rows, blocks, 16)
    largest = np.maximum(high, -low)
    if name == "g":
        unit = np.repeat(_f16(known["D"]), SUPERBLOCK_BLOCKS, axis=1)[:, : largest.shape[1]]
        steps = np.rint(largest / (np.abs(unit) * np.float32(8)))
        return np.clip(np.nan_to_num(steps, posinf=0.0), 0, 15).astype(np.int32)
    if name == "D":
        starts = np.arange(0, largest.shape[1], SUPERBLOCK_BLOCKS)
        return _bits(np.maximum.reduceat(largest, starts, axis=1) / np.float32(8 * 15))
    if name == "m":
        return _bits(low)
    if format_name == "q4a":
        return _bits((high - low) / np.float32(15))
    return _bits(largest / np.float32({"q8s": 127, "q6s": 31, "q4s": 8}[format_name]))


def _f16(bits: Numbers) -> Floats:
    return bits.astype("<u2").view("<f2").astype(np.float32)


def _bits(values: Floats) -> Numbers:
    return values.astype("<f2").view("<u2").astype(np.int32)
