"""q4p: values to D * g * (code - 8), one D for 256 inputs and a whole number g from 0 to 15 for each 32.

A plain search that lowers the squared error, without calibration: for each block the least-squares scale of the best of
a few grids, once for each sign, since all blocks of a superblock share the sign of D; the better sign per superblock;
then for a few D the better of the two neighbouring g per block; last, D refitted by least squares to its codes. Pure
numpy, rows independent of each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import FormatError
from pocketseek.formats import BLOCK_COLS, SUPERBLOCK_BLOCKS

Floats = NDArray[np.float32]

_GRIDS = (1.0, 0.93, 0.86, 0.79)  # of the scale that reaches the largest value of a block
_LARGEST_STEPS = (15.0, 13.4, 12.0)  # g of the block with the largest scale
_MAX_STEP = 15
_MAX_F16 = 65504.0
_LARGEST_VALUE = 1e18  # squares of it stay within float32
_NOT_FINITE = "holds values that are not finite or too large for float16 scales; get an undamaged checkpoint"


def code_two_levels(blocks: Floats) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float16]]:
    """blocks: (superblocks, 8, 32), zero where a row ends. Returns codes (superblocks, 8, 32), g (superblocks, 8), D.

    Raises FormatError for values that are not finite or too large for a float16 scale.
    """
    if not bool(np.all(np.abs(blocks) <= _LARGEST_VALUE)):  # also false for NaN
        raise FormatError(_NOT_FINITE)
    flat = blocks.reshape(-1, BLOCK_COLS)
    scales, sign = _signed_scales(flat)
    largest = scales.max(axis=1)
    best_error = np.full(len(scales), np.inf, np.float32)
    best_scale = np.zeros(len(scales), np.float32)
    best_steps = np.zeros(scales.shape, np.float32)
    for top in _LARGEST_STEPS:
        unit = _round_to_f16(sign * largest / np.float32(top))
        steps, error = _choose_steps(flat, scales, unit)
        better = error < best_error
        best_error = np.where(better, error, best_error)
        best_scale = np.where(better, unit, best_scale)
        best_steps[better] = steps[better]
    return _refit(flat, best_scale, best_steps)


def _signed_scales(flat: Floats) -> tuple[Floats, Floats]:
    """|scale| of every block by least squares (superblocks, 8), and the sign that explains more of each superblock."""
    high, low = flat.max(axis=1), flat.min(axis=1)
    scores, scales = [], []
    for positive, negative in ((high, -low), (-low, high)):  # what lies on the side of +7, and of -8
        sign = np.float32(1) if positive is high else np.float32(-1)
        base = np.maximum(np.maximum(positive / np.float32(7), negative / np.float32(8)), 0)
        best_score, best_scale = np.zeros(len(flat), np.float32), np.zeros(len(flat), np.float32)
        for grid in _GRIDS:
            codes = _codes(flat, sign * _inverse(base * np.float32(grid)))
            product = sign * np.einsum("nk,nk->n", flat, codes)
            square = np.maximum(np.einsum("nk,nk->n", codes, codes), np.float32(1))
            score = product * product / square
            better = (score > best_score) & (product > 0)
            best_score = np.where(better, score, best_score)
            best_scale = np.where(better, product / square, best_scale)
        scores.append(best_score.reshape(-1, SUPERBLOCK_BLOCKS).sum(axis=1))
        scales.append(best_scale.reshape(-1, SUPERBLOCK_BLOCKS))
    up = scores[0] >= scores[1]
    return np.where(up[:, None], scales[0], scales[1]), np.where(up, np.float32(1), np.float32(-1))


def _choose_steps(flat: Floats, scales: Floats, unit: Floats) -> tuple[Floats, Floats]:
    """For every block the better of the two whole numbers around scale / |unit|; squared error per superblock."""
    exact = scales * np.abs(_inverse(unit))[:, None]
    best_steps = np.zeros_like(exact)
    best_error = np.full(exact.shape, np.inf, np.float32)
    for steps in (np.floor(exact), np.ceil(exact)):
        steps = np.clip(steps, 1, _MAX_STEP).astype(np.float32)
        scale = (steps * unit[:, None]).reshape(-1)
        error = _codes(flat, _inverse(scale)) * scale[:, None] - flat
        squared = np.einsum("nk,nk->n", error, error).reshape(exact.shape)
        better = squared < best_error
        best_error = np.where(better, squared, best_error)
        best_steps = np.where(better, steps, best_steps)
    return best_steps.astype(np.float32), best_error.sum(axis=1)


def _refit(
    flat: Floats, unit: Floats, steps: Floats
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float16]]:
    """Least squares for D over the codes chosen with `unit`, kept where it helps; then the final codes."""
    codes = _codes(flat, _inverse((steps * unit[:, None]).reshape(-1)))
    levels = (codes.reshape(*steps.shape, BLOCK_COLS) * steps[..., None]).reshape(len(unit), -1)
    values = flat.reshape(len(unit), -1)
    square = np.einsum("sk,sk->s", levels, levels)
    fitted = np.einsum("sk,sk->s", values, levels) / np.maximum(square, np.float32(1))
    fitted = _round_to_f16(np.where(square > 0, fitted, unit))
    keep = _squared_error(values, levels, fitted) <= _squared_error(values, levels, unit)
    unit = np.where(keep, fitted, unit)
    steps = np.where(unit[:, None] == 0, np.float32(0), steps)
    codes = _codes(flat, _inverse((steps * unit[:, None]).reshape(-1)))
    offset_codes = (codes + np.float32(8)).astype(np.uint8)
    return offset_codes.reshape(*steps.shape, BLOCK_COLS), steps.astype(np.uint8), unit.astype(np.float16)


def _squared_error(values: Floats, levels: Floats, unit: Floats) -> Floats:
    error = levels * unit[:, None] - values
    squares: Floats = np.einsum("sk,sk->s", error, error)
    return squares


def _codes(x: Floats, per_scale: Floats) -> Floats:
    codes = x * per_scale[:, None]
    np.rint(codes, out=codes)
    return np.clip(codes, -8, 7, out=codes)


def _inverse(scale: Floats) -> Floats:
    return np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=np.abs(scale) > np.float32(1e-12))


def _round_to_f16(values: Floats) -> Floats:
    if not bool(np.all(np.abs(values) <= _MAX_F16)):
        raise FormatError(_NOT_FINITE)
    return values.astype(np.float16).astype(np.float32)
