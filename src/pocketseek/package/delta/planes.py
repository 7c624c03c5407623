"""Tile rows taken apart into what a delta compares: codes in one order for every format, and scales beside them.

`split_rows` gives codes (tile rows, blocks, 8 groups, 16 outputs, 4 inputs) as whole numbers, which for f16 and f32 are
bit patterns put in the order of their values, and the *sides*: per block or superblock and output, the bits of d and m,
g, and the bits of D (formats.py). `join_rows` is the way back, and gives the same bytes unless padding is not zero;
the writer of a delta checks that. `values_of` and `Grid` turn codes into float32 values and back; each step is one
correctly rounded operation, so that every machine foretells the same. Bytes that were never weights may be infinite or
no numbers at all; callers switch numpy's warnings about that off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketseek.formats import FORMATS, SUPERBLOCK_BLOCKS, TILE_ROWS, num_blocks, num_superblocks, tile_row_bytes

Floats = NDArray[np.float32]
Numbers = NDArray[np.int32]  # as in residuals.py
_Bytes = NDArray[np.uint8]

_GROUPS, _INPUTS = 8, 4
_QUANT_BYTES = {"q4s": 256, "q4a": 256, "q4p": 256, "q6s": 384, "q8s": 512}
_ZEROS = {"q4s": 8, "q4a": 0, "q4p": 8, "q6s": 32, "q8s": 0}
_RANGES = {"q4s": (0, 15), "q4a": (0, 15), "q4p": (0, 15), "q6s": (0, 63), "q8s": (-128, 127)}
SIDES = {"q4s": ("d",), "q4a": ("d", "m"), "q4p": ("D", "g"), "q6s": ("d",), "q8s": ("d",), "f16": (), "f32": ()}
"""Names of the sides in the order in which a delta has them; a later one may depend on those before."""

_FLOATS: dict[str, np.dtype[np.floating]] = {"f16": np.dtype("<f2"), "f32": np.dtype("<f4")}


@dataclass(frozen=True)
class Rows:
    """codes: int32. sides: by name, int32: "d", "m", "g" (tile rows, blocks, 16), "D" (tile rows, superblocks, 16)."""

    codes: Numbers
    sides: dict[str, Numbers]


def is_float(format_name: str) -> bool:
    return not FORMATS[format_name].quantised


def codes_shape(num_rows: int, cols: int) -> tuple[int, int, int, int, int]:
    return num_rows, num_blocks(cols), _GROUPS, TILE_ROWS, _INPUTS


def side_shape(name: str, num_rows: int, cols: int) -> tuple[int, int, int]:
    return num_rows, num_superblocks(cols) if name == "D" else num_blocks(cols), TILE_ROWS


def split_rows(format_name: str, cols: int, data: _Bytes) -> Rows:
    """data: whole tile rows."""
    rows = data.reshape(-1, tile_row_bytes(format_name, cols))
    shape = codes_shape(len(rows), cols)
    if is_float(format_name):
        return Rows(_split_floats(format_name, rows, shape), {})
    blocks = num_blocks(cols)
    quants = rows[:, : blocks * _QUANT_BYTES[format_name]].reshape(len(rows), blocks, -1, TILE_ROWS, _INPUTS)
    rest = rows[:, blocks * _QUANT_BYTES[format_name] :]
    return Rows(_split_codes(format_name, quants, shape), _split_sides(format_name, rest, cols))


def join_rows(format_name: str, cols: int, rows: Rows) -> _Bytes:
    """The bytes, one row after another."""
    num_rows = len(rows.codes)
    data = np.zeros((num_rows, tile_row_bytes(format_name, cols)), np.uint8)
    if is_float(format_name):
        planes: list[NDArray[np.generic]] = [_join_floats(format_name, rows.codes)]
    else:
        planes = [_join_codes(format_name, rows.codes), *_join_sides(format_name, rows.sides)]
    start = 0
    for plane in planes:
        flat = np.ascontiguousarray(plane).view(np.uint8).reshape(num_rows, -1)
        data[:, start : start + flat.shape[1]] = flat
        start += flat.shape[1]
    return data.reshape(-1)


def ordered_bits(values: NDArray[np.floating]) -> Numbers:
    """Bit patterns as whole numbers that have the order of the values, 0 for +0, -1 for -0."""
    bits = values.view(np.dtype(f"<i{values.itemsize}")).astype(np.int32)
    return np.where(bits >= 0, bits, _lowest(values.dtype) - bits - 1)


def from_ordered(numbers: Numbers, dtype: np.dtype[np.floating]) -> NDArray[np.floating]:
    """The way back. Numbers beyond the type's bits wrap around: what comes of it is checked by its hash."""
    bits = np.where(numbers >= 0, numbers, _lowest(dtype) - numbers - 1)
    return bits.astype(np.dtype(f"<i{dtype.itemsize}")).view(dtype)


def _lowest(dtype: np.dtype[np.floating]) -> np.int32:
    return np.int32(-(1 << 8 * dtype.itemsize - 1))


def values_of(format_name: str, rows: Rows) -> Floats:
    """What the codes stand for, in their shape."""
    if is_float(format_name):
        return from_ordered(rows.codes, _FLOATS[format_name]).astype(np.float32)
    return Grid.of(format_name, rows.sides).values(rows.codes)


@dataclass(frozen=True)
class Grid:
    """The values that codes can stand for: scale * (code - zero) + offset. scale, offset: (tile rows, blocks, 16)."""

    scale: Floats
    offset: Floats | None
    zero: int
    lowest: int
    highest: int

    @classmethod
    def of(cls, format_name: str, sides: dict[str, Numbers]) -> Grid:
        offset = _as_f16(sides["m"]) if "m" in sides else None
        return cls(_scale(sides), offset, _ZEROS[format_name], *_RANGES[format_name])

    def values(self, codes: Numbers) -> Floats:
        values = (codes - self.zero).astype(np.float32) * _spread(self.scale)
        return values if self.offset is None else values + _spread(self.offset)

    def places(self, values: Floats, otherwise: Numbers | None) -> Floats:
        """Where values lie between the codes. Where the scale is 0 nothing follows from a value: there it is what
        `otherwise` says, or zero."""
        if self.offset is not None:
            values = values - _spread(self.offset)
        scale = _spread(self.scale)
        places = values / scale + np.float32(self.zero)
        places[~np.isfinite(places)] = self.zero
        places = np.clip(places, self.lowest - 1, self.highest + 1)
        fixed = np.float32(self.zero) if otherwise is None else otherwise.astype(np.float32)
        return np.where(scale == 0, fixed, places)

    def nearest(self, places: Floats) -> Numbers:
        return np.clip(np.rint(places), self.lowest, self.highest).astype(np.int32)


def _as_f16(bits: Numbers) -> Floats:
    return bits.astype("<u2").view("<f2").astype(np.float32)


def _scale(sides: dict[str, Numbers]) -> Floats:
    if "g" not in sides:
        return _as_f16(sides["d"])
    g = sides["g"]
    return np.repeat(_as_f16(sides["D"]), SUPERBLOCK_BLOCKS, axis=1)[:, : g.shape[1]] * g.astype(np.float32)


def _spread(per_block: Floats) -> Floats:
    return per_block[:, :, None, :, None]


# --- floats: 16 outputs side by side for each input ---


def _split_floats(format_name: str, rows: _Bytes, shape: tuple[int, ...]) -> Numbers:
    dtype = _FLOATS[format_name]
    num_rows, blocks, groups, outputs, inputs = shape
    values = np.ascontiguousarray(rows[:, : blocks * groups * outputs * inputs * dtype.itemsize]).view(dtype)
    return ordered_bits(values).reshape(num_rows, blocks, groups, inputs, outputs).swapaxes(-1, -2)


def _join_floats(format_name: str, codes: Numbers) -> NDArray[np.floating]:
    return from_ordered(codes.swapaxes(-1, -2), _FLOATS[format_name])


# --- codes ---


def _split_codes(format_name: str, quants: _Bytes, shape: tuple[int, ...]) -> Numbers:
    if format_name == "q8s":
        return quants.view(np.int8).astype(np.int32)
    codes = np.empty(shape, np.int32)
    codes[:, :, 0::2], codes[:, :, 1::2] = quants[:, :, :4] & 15, quants[:, :, :4] >> 4
    if format_name == "q6s":
        for part in range(4):
            high = quants[:, :, 4:] >> 2 * part & 3  # half 0 holds groups 0..3, half 1 groups 4..7
            codes[:, :, part::4] |= high.astype(np.int32) << 4
    return codes


def _join_codes(format_name: str, codes: Numbers) -> _Bytes:
    if format_name == "q8s":
        return codes.astype(np.int8).view(np.uint8)
    bits = codes.astype(np.uint8)
    low = (bits[:, :, 0::2] & 15 | (bits[:, :, 1::2] & 15) << 4).astype(np.uint8)
    if format_name != "q6s":
        return low
    high = np.zeros((*bits.shape[:2], 2, *bits.shape[3:]), np.uint8)
    for part in range(4):
        high |= (bits[:, :, part::4] >> 4 & 3) << 2 * part
    return np.concatenate([low, high], axis=2)


# --- sides ---


def _split_sides(format_name: str, rest: _Bytes, cols: int) -> dict[str, Numbers]:
    blocks, superblocks = num_blocks(cols), num_superblocks(cols)
    if format_name == "q4p":
        steps = rest[:, : blocks * 8].reshape(len(rest), blocks, 8)
        g = np.concatenate([steps & 15, steps >> 4], axis=2).astype(np.int32)
        return {"D": _f16_bits(rest[:, blocks * 8 :], superblocks), "g": g}
    sides = {"d": _f16_bits(rest, blocks)}
    if format_name == "q4a":
        sides["m"] = _f16_bits(rest[:, blocks * 32 :], blocks)
    return sides


def _join_sides(format_name: str, sides: dict[str, Numbers]) -> list[NDArray[np.generic]]:
    if format_name == "q4p":
        g = sides["g"].astype(np.uint8)
        return [g[:, :, :8] & 15 | (g[:, :, 8:] & 15) << 4, sides["D"].astype("<u2")]
    return [sides[name].astype("<u2") for name in SIDES[format_name]]


def _f16_bits(rest: _Bytes, count: int) -> Numbers:
    plane = np.ascontiguousarray(rest[:, : count * 32]).view("<u2")
    return plane.reshape(len(rest), count, TILE_ROWS).astype(np.int32)
