"""Values to codes and back: the formats q4s, q4a, q4p, q6s and q8s, in blocks of 32 inputs. Pure numpy, row by row.

Each function takes float32 (rows, columns) and gives `Planes`; columns are padded with zeros to 32. Scales are rounded
to float16 first and codes chosen for the rounded scale, so the error is that of the values the runtime will see.

    q8s   d = amax / 127                                         code = round half to even(x / d)
    q4s   d of the best of a few tried grids, refitted by least squares: about 5 % less error than d = signed max / -8
    q6s   the same with 64 levels and grids around signed max / -32
    q4p   see `two_level`
    q4a   m and d from the block's range, then one least-squares refit kept only where it lowers the error

Values must be finite and the scales within float16: FormatError otherwise (the caller adds the tensor's name).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.pack import ZERO_CODE, Planes
from pocketseek.convert.two_level import code_two_levels
from pocketseek.errors import FormatError
from pocketseek.formats import BLOCK_COLS, SUPERBLOCK_BLOCKS, num_blocks

Floats = NDArray[np.float32]
_Coder = Callable[[Floats], tuple[NDArray[np.uint8] | NDArray[np.int8], Floats, Floats | None]]

_BLOCKS_AT_ONCE = 4096  # 512 KiB of float32: temporaries stay in the cache of one core
_Q4S_GRIDS = (-9.0, -8.5, -8.0, -7.5, -7.0)  # where the largest value lands; 39 finer ones gain 0.4 % more
_Q6S_GRIDS = (-34.0, -33.0, -32.0, -31.0, -30.0)  # 5 % less error than -32 alone; 40 finer ones gain 2 % more
_MAX_F16 = 65504.0
_NOT_FINITE = "holds values that are not finite or too large for float16 scales; get an undamaged checkpoint"
_NO_PEAK = np.float32(1e-8)  # below it every float16 scale is 0 anyway, and dividing by it could overflow


def quantize(format_name: str, values: Floats) -> Planes:
    """Choose codes and scales for `values` (rows, columns). Raises FormatError for values no such scale can carry."""
    rows, cols = values.shape
    blocks = num_blocks(cols)
    if cols != blocks * BLOCK_COLS:
        values = np.pad(values, ((0, 0), (0, blocks * BLOCK_COLS - cols)))
    if format_name == "q4p":
        return _quantize_two_levels(values, rows, blocks)
    flat = np.ascontiguousarray(values).reshape(-1, BLOCK_COLS)
    code = _CODERS[format_name]
    quants: NDArray[np.uint8] | NDArray[np.int8]
    quants = np.empty(flat.shape, np.int8) if format_name == "q8s" else np.empty(flat.shape, np.uint8)
    scales = np.empty(len(flat), np.float16)
    minima = np.empty(len(flat), np.float16) if format_name == "q4a" else None
    for start in range(0, len(flat), _BLOCKS_AT_ONCE):
        part = slice(start, start + _BLOCKS_AT_ONCE)
        quants[part], scales[part], low = code(flat[part])
        if minima is not None and low is not None:
            minima[part] = low
    return Planes(
        quants.reshape(rows, blocks, BLOCK_COLS),
        scales.reshape(rows, blocks),
        None if minima is None else minima.reshape(rows, blocks),
    )


def _quantize_two_levels(values: Floats, rows: int, blocks: int) -> Planes:
    missing = -blocks % SUPERBLOCK_BLOCKS
    padded = np.pad(values, ((0, 0), (0, missing * BLOCK_COLS))) if missing else values
    superblocks = np.ascontiguousarray(padded).reshape(-1, SUPERBLOCK_BLOCKS, BLOCK_COLS)
    codes = np.empty(superblocks.shape, np.uint8)
    steps = np.empty(superblocks.shape[:2], np.uint8)
    scales = np.empty(len(superblocks), np.float16)
    at_once = _BLOCKS_AT_ONCE // SUPERBLOCK_BLOCKS
    for start in range(0, len(superblocks), at_once):
        part = slice(start, start + at_once)
        codes[part], steps[part], scales[part] = code_two_levels(superblocks[part])
    return Planes(
        np.ascontiguousarray(codes.reshape(rows, -1, BLOCK_COLS)[:, :blocks]),
        scales.reshape(rows, -1),
        steps=np.ascontiguousarray(steps.reshape(rows, -1)[:, :blocks]),
    )


def dequantize(format_name: str, planes: Planes) -> Floats:
    """The float32 values that codes stand for, (rows, blocks * 32), as the runtime reads them."""
    codes = planes.quants.astype(np.float32)
    if planes.minima is None and ZERO_CODE[format_name]:
        codes -= np.float32(ZERO_CODE[format_name])
    scales = planes.scales.astype(np.float32)
    if planes.steps is not None:
        scales = np.repeat(scales, SUPERBLOCK_BLOCKS, axis=1)[:, : planes.steps.shape[1]] * planes.steps
    codes *= scales[..., None]
    if planes.minima is not None:
        codes += planes.minima.astype(np.float32)[..., None]
    return codes.reshape(codes.shape[0], -1)


def _code_q8s(x: Floats) -> tuple[NDArray[np.int8], Floats, None]:
    scale = _round_to_f16(_over_blocks(np.maximum, np.abs(x)) / np.float32(127))
    return _codes(x, _inverse(scale), -127, 127).astype(np.int8), scale, None


def _code_signed(x: Floats, grids: Sequence[float], zero: int) -> tuple[NDArray[np.uint8], Floats, None]:
    """Codes 0 .. 2 * zero - 1 that stand for d * (code - zero)."""
    high, low = _range_of(x)
    peak = np.where(high >= -low, high, low)
    per_peak = _inverse(peak)
    best_score, best_scale = np.full(len(x), -1, np.float32), np.zeros(len(x), np.float32)
    for grid in grids:
        codes = _codes(x, per_peak * np.float32(grid), -zero, zero - 1)
        product = np.einsum("nk,nk->n", x, codes)
        square = np.maximum(np.einsum("nk,nk->n", codes, codes), np.float32(1))
        score = product * product / square  # what the fit explains of sum(x*x)
        better = score > best_score
        best_score = np.where(better, score, best_score)
        best_scale = np.where(better, product / square, best_scale)
    scale = _round_to_f16(best_scale)
    return (_codes(x, _inverse(scale), -zero, zero - 1) + np.float32(zero)).astype(np.uint8), scale, None


def _code_q4s(x: Floats) -> tuple[NDArray[np.uint8], Floats, None]:
    return _code_signed(x, _Q4S_GRIDS, ZERO_CODE["q4s"])


def _code_q6s(x: Floats) -> tuple[NDArray[np.uint8], Floats, None]:
    return _code_signed(x, _Q6S_GRIDS, ZERO_CODE["q6s"])


def _code_q4a(x: Floats) -> tuple[NDArray[np.uint8], Floats, Floats]:
    high, low = _range_of(x)
    scale, offset = _round_to_f16((high - low) / np.float32(15)), _round_to_f16(low)
    codes = _codes(x - offset[:, None], _inverse(scale), 0, 15)
    new_scale, new_offset = _fit_line(x, codes)
    new_codes = _codes(x - new_offset[:, None], _inverse(new_scale), 0, 15)
    better = _squared_error(x, new_codes, new_scale, new_offset) < _squared_error(x, codes, scale, offset)
    codes[better] = new_codes[better]
    return codes.astype(np.uint8), np.where(better, new_scale, scale), np.where(better, new_offset, offset)


_CODERS: dict[str, _Coder] = {"q8s": _code_q8s, "q4s": _code_q4s, "q4a": _code_q4a, "q6s": _code_q6s}


def _fit_line(x: Floats, codes: Floats) -> tuple[Floats, Floats]:
    """Least-squares scale and offset of x over its codes; a block whose codes are all equal keeps scale 0."""
    count = np.float32(BLOCK_COLS)
    mean_x, mean_code = x.sum(axis=1) / count, codes.sum(axis=1) / count
    spread = np.einsum("nk,nk->n", codes, codes) - count * mean_code * mean_code
    shared = np.einsum("nk,nk->n", x, codes) - count * mean_x * mean_code
    scale = _round_to_f16(np.divide(shared, spread, out=np.zeros_like(spread), where=spread > 0))
    return scale, _round_to_f16(np.clip(mean_x - scale * mean_code, -_MAX_F16, _MAX_F16))


def _squared_error(x: Floats, codes: Floats, scale: Floats, offset: Floats) -> Floats:
    error = codes * scale[:, None] + offset[:, None] - x
    squares: Floats = np.einsum("nk,nk->n", error, error)
    return squares


def _codes(x: Floats, per_scale: Floats, low: int, high: int) -> Floats:
    """x * per_scale rounded half to even and clipped."""
    codes = x * per_scale[:, None]
    np.rint(codes, out=codes)
    return np.clip(codes, low, high, out=codes)


def _inverse(scale: Floats) -> Floats:
    """1 / scale, and 0 for a scale that is 0 (then every code is that of 0)."""
    return np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=np.abs(scale) > _NO_PEAK)


def _range_of(x: Floats) -> tuple[Floats, Floats]:
    high, low = _over_blocks(np.maximum, x), _over_blocks(np.minimum, x)
    if not bool(np.isfinite(high).all() and np.isfinite(low).all()):
        raise FormatError(_NOT_FINITE)
    return high, low


def _over_blocks(op: np.ufunc, x: Floats) -> Floats:
    """Reduce (n, 32) to (n,) by halving neighbours; ten times faster than ufunc.reduce over so short an axis."""
    flat = x.reshape(-1)
    while len(flat) > len(x):
        flat = op(flat[0::2], flat[1::2])
    return flat


def _round_to_f16(values: Floats) -> Floats:
    if not bool(np.all(np.abs(values) <= _MAX_F16)):  # also false for NaN
        raise FormatError(_NOT_FINITE)
    return values.astype(np.float16).astype(np.float32)
