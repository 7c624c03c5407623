"""The best scales of a group of columns for given importances: what is minimised is sum(importance * error^2).

A group is what shares its scales: a superblock of 256 inputs for q4p, a block of 32 for the others. Scales come out as
the format stores them (float16, whole steps), so codes are chosen for what the runtime will read. Pure numpy; rows are
independent of each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import FormatError
from pocketseek.formats import BLOCK_COLS, SUPERBLOCK_BLOCKS

Floats = NDArray[np.float32]

GROUP_COLS = {
    "q4p": SUPERBLOCK_BLOCKS * BLOCK_COLS,
    "q4s": BLOCK_COLS,
    "q4a": BLOCK_COLS,
    "q6s": BLOCK_COLS,
    "q8s": BLOCK_COLS,
}
_RANGE = {"q4p": (-8, 7), "q4s": (-8, 7), "q4a": (0, 15), "q6s": (-32, 31), "q8s": (-127, 127)}
_SHRINK = tuple(1.06 - 0.04 * step for step in range(12))  # of the scale that just reaches the largest value
_LARGEST_STEPS = (15.0, 14.2, 13.4, 12.6, 11.8, 11.0)
_MAX_STEP = 15
_MAX_F16 = 65504.0
_NOT_FINITE = "holds values that are not finite or too large for float16 scales; get an undamaged checkpoint"


@dataclass(frozen=True)
class Grid:
    """value = scales * code + offsets, code between low and high; scales and offsets (rows, blocks) float32.

    units, steps: of q4p, what scales are made of: float16 (rows,), whole (rows, blocks).
    """

    scales: Floats
    offsets: Floats | None
    low: int
    high: int
    units: Floats | None = None
    steps: Floats | None = None

    def codes(self, column: Floats, block: int) -> Floats:
        """Nearest codes of one column (rows,)."""
        scale = self.scales[:, block]
        shifted = column if self.offsets is None else column - self.offsets[:, block]
        codes: Floats = np.rint(shifted * _inverse(scale))
        np.clip(codes, self.low, self.high, out=codes)
        return codes

    def values(self, codes: Floats, block: int) -> Floats:
        values: Floats = codes * self.scales[:, block]
        return values if self.offsets is None else values + self.offsets[:, block]


def search_grid(format_name: str, values: Floats, importance: Floats) -> Grid:
    """values (rows, columns of the group, a multiple of 32), importance (columns,), not negative.

    Raises FormatError for values that are not finite or too large for a float16 scale.
    """
    if not bool(np.all(np.abs(values) <= _MAX_F16)):  # also false for NaN
        raise FormatError(_NOT_FINITE)
    blocks = np.ascontiguousarray(values).reshape(len(values), -1, BLOCK_COLS)
    weights = np.maximum(importance.reshape(-1, BLOCK_COLS), np.float32(1e-30))
    low, high = _RANGE[format_name]
    if format_name == "q4p":
        return _two_levels(blocks, weights)
    if format_name == "q4a":
        scales, offsets = _lines(blocks, weights)
        return Grid(scales, offsets, low, high)
    if format_name == "q8s":
        return Grid(_to_f16(np.abs(blocks).max(axis=2) / np.float32(127)), None, low, high)
    up, up_score = _signed(blocks, weights, 1, high)
    down, down_score = _signed(blocks, weights, -1, high)
    return Grid(_to_f16(np.where(up_score >= down_score, up, -down)), None, low, high)


def _signed(blocks: Floats, weights: Floats, sign: int, high: int) -> tuple[Floats, Floats]:
    """|scale| (rows, blocks) by weighted least squares of the best of a few grids, and how much it explains.

    high: the largest code; the smallest is -high - 1.
    """
    low = -high - 1
    signed = blocks * np.float32(sign)
    base = np.maximum(np.maximum(signed.max(axis=2) / np.float32(high), signed.min(axis=2) / np.float32(low)), 0)
    weighted = signed * weights
    best_score, best_scale = np.zeros(base.shape, np.float32), np.zeros(base.shape, np.float32)
    for shrink in _SHRINK:
        codes = signed * _inverse(base * np.float32(shrink))[..., None]
        np.rint(codes, out=codes)
        np.clip(codes, low, high, out=codes)
        product = np.einsum("rbk,rbk->rb", weighted, codes)
        square = np.maximum(np.einsum("rbk,rbk,bk->rb", codes, codes, weights), np.float32(1e-30))
        score = product * product / square
        better = (score > best_score) & (product > 0)
        best_score = np.where(better, score, best_score)
        best_scale = np.where(better, product / square, best_scale)
    return best_scale, best_score


def _two_levels(blocks: Floats, weights: Floats) -> Grid:
    up, up_score = _signed(blocks, weights, 1, 7)
    down, down_score = _signed(blocks, weights, -1, 7)
    is_up = up_score.sum(axis=1) >= down_score.sum(axis=1)
    scales = np.where(is_up[:, None], up, down)
    sign = np.where(is_up, np.float32(1), np.float32(-1))
    best_error = np.full(len(blocks), np.inf, np.float32)
    best_unit, best_steps = np.zeros(len(blocks), np.float32), np.zeros(scales.shape, np.float32)
    for top in _LARGEST_STEPS:
        unit = _to_f16(sign * scales.max(axis=1) / np.float32(top))
        for _ in range(2):
            steps, codes, error = _choose_steps(blocks, weights, scales, unit)
            better = error < best_error
            best_error = np.where(better, error, best_error)
            best_unit = np.where(better, unit, best_unit)
            best_steps[better] = steps[better]
            unit = _refitted(blocks, weights, steps, codes, unit)
    best_steps = np.where(best_unit[:, None] == 0, np.float32(0), best_steps)
    return Grid(best_unit[:, None] * best_steps, None, -8, 7, best_unit, best_steps)


def _choose_steps(blocks: Floats, weights: Floats, scales: Floats, unit: Floats) -> tuple[Floats, Floats, Floats]:
    """For every block the best of the whole numbers around scale / |unit|; its codes; error of the superblock."""
    exact = scales * np.abs(_inverse(unit))[:, None]
    best_steps, best_codes = np.zeros_like(exact), np.zeros_like(blocks)
    best_error = np.full(exact.shape, np.inf, np.float32)
    for shift in (0.0, 1.0):
        steps = np.clip(np.floor(exact) + np.float32(shift), 1, _MAX_STEP).astype(np.float32)
        scale = steps * unit[:, None]
        codes = blocks * _inverse(scale)[..., None]
        np.rint(codes, out=codes)
        np.clip(codes, -8, 7, out=codes)
        difference = codes * scale[..., None] - blocks
        error = np.einsum("rbk,rbk,bk->rb", difference, difference, weights)
        better = error < best_error
        best_error = np.where(better, error, best_error)
        best_steps = np.where(better, steps, best_steps)
        best_codes[better] = codes[better]
    return best_steps, best_codes, best_error.sum(axis=1)


def _refitted(blocks: Floats, weights: Floats, steps: Floats, codes: Floats, unit: Floats) -> Floats:
    levels = codes * steps[..., None]
    square = np.einsum("rbk,rbk,bk->r", levels, levels, weights)
    fitted = np.einsum("rbk,rbk,bk->r", blocks, levels, weights) / np.maximum(square, np.float32(1e-30))
    return _to_f16(np.where(square > 0, fitted, unit))


def _lines(blocks: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Scale and offset of q4a: the range, narrowed a little at a time, each refitted by weighted least squares."""
    high, low = blocks.max(axis=2), blocks.min(axis=2)
    total = weights.sum(axis=1)
    mean = np.einsum("rbk,bk->rb", blocks, weights) / total
    best_error = np.full(high.shape, np.inf, np.float32)
    best_scale, best_offset = np.zeros_like(high), np.zeros_like(high)
    for shrink in _SHRINK:
        middle, half = (high + low) / 2, (high - low) / 2 * np.float32(shrink)
        scale, offset = _to_f16(half * np.float32(2 / 15)), _to_f16(middle - half)
        for _ in range(2):
            codes = (blocks - offset[..., None]) * _inverse(scale)[..., None]
            np.rint(codes, out=codes)
            np.clip(codes, 0, 15, out=codes)
            difference = codes * scale[..., None] + offset[..., None] - blocks
            error = np.einsum("rbk,rbk,bk->rb", difference, difference, weights)
            better = error < best_error
            best_error = np.where(better, error, best_error)
            best_scale, best_offset = np.where(better, scale, best_scale), np.where(better, offset, best_offset)
            mean_code = np.einsum("rbk,bk->rb", codes, weights) / total
            spread = np.einsum("rbk,rbk,bk->rb", codes, codes, weights) - total * mean_code**2
            shared = np.einsum("rbk,rbk,bk->rb", blocks, codes, weights) - total * mean * mean_code
            scale = _to_f16(np.divide(shared, spread, out=np.zeros_like(spread), where=spread > 1e-30))
            offset = _to_f16(mean - scale * mean_code)
    return best_scale, best_offset


def _inverse(scale: Floats) -> Floats:
    return np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=np.abs(scale) > np.float32(1e-12))


def _to_f16(values: Floats) -> Floats:
    if not bool(np.all(np.abs(values) <= _MAX_F16)):
        raise FormatError(_NOT_FINITE)
    return values.astype(np.float16).astype(np.float32)
