"""Quantising a matrix so that its output changes least, not its weights: errors are made up for by later columns.

Columns are rounded one after another; what a column's error does to the output, as far as later columns can undo it, is
added to those (GPTQ: Frantar et al., 2022, "Accurate Post-Training Quantization for Generative Pre-trained
Transformers"). Scales of a group are searched when its turn comes, on the weights as they are by then, weighted by how
much each input matters. Refitting all units of a row to the chosen codes afterwards gained 3 % of the output's error
and nothing in the model's answers, so it is not done.

The inputs' Gram matrix gets a part of its mean diagonal added (damping), which also takes care of inputs never seen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.gram import Gram, GramBlock
from pocketseek.convert.pack import ZERO_CODE, Planes
from pocketseek.convert.scale_search import GROUP_COLS, Grid, search_grid
from pocketseek.formats import BLOCK_COLS, num_blocks

Floats = NDArray[np.float32]

DAMPING = 0.01
_SLAB_VALUES = 1 << 24  # 64 MB of weights at a time


def quantize_compensated(format_name: str, weights: Floats, gram: Gram) -> Planes:
    """weights (rows, columns) float32, gram of its inputs. Raises FormatError as `quantize` does."""
    rows, cols = weights.shape
    factors = gram.factors(_factor)
    step = max(16, _SLAB_VALUES // cols)
    parts = [
        _quantize_rows(format_name, weights[start : start + step], gram, factors) for start in range(0, rows, step)
    ]
    return _joined(parts) if len(parts) > 1 else parts[0]


def _factor(block: GramBlock) -> Floats:
    """The upper Cholesky factor of the damped Gram matrix's inverse: row j says how column j's error spreads."""
    inverse = np.linalg.inv(_damped(block))
    # numpy gives L with inverse = L L^T; U with inverse = U^T U is L^T.
    return np.ascontiguousarray(np.linalg.cholesky((inverse + inverse.T) / 2).T).astype(np.float32)


def _damped(block: GramBlock) -> NDArray[np.float64]:
    damped = block.matrix.astype(np.float64)
    damped[np.diag_indices_from(damped)] += DAMPING * float(np.diagonal(damped).mean()) or 1.0
    return damped


def _quantize_rows(format_name: str, weights: Floats, gram: Gram, factors: list[Floats]) -> Planes:
    rows, cols = weights.shape
    blocks = num_blocks(cols)
    padded = np.zeros((rows, blocks * BLOCK_COLS), np.float32)
    padded[:, :cols] = weights
    importance = np.zeros(blocks * BLOCK_COLS, np.float32)
    importance[:cols] = gram.importance
    importance[:cols] += DAMPING * importance.mean() or 1.0
    codes = np.full((rows, blocks * BLOCK_COLS), -ZERO_CODE[format_name], np.float32)
    grids: list[Grid] = []
    group_cols = GROUP_COLS[format_name]
    for block, factor in zip(gram.blocks, factors, strict=True):
        for start in range(block.start, block.stop, group_cols):
            stop = min(start + group_cols, block.stop)
            padded_stop = min(start + group_cols, blocks * BLOCK_COLS)
            grid = search_grid(format_name, padded[:, start:padded_stop], importance[start:padded_stop])
            grids.append(grid)
            _round_group(padded, codes, grid, factor, block, start, stop)
    return _planes(format_name, codes.reshape(rows, blocks, BLOCK_COLS), grids)


def _round_group(
    weights: Floats, codes: Floats, grid: Grid, factor: Floats, block: GramBlock, start: int, stop: int
) -> None:
    """Codes for the columns start..stop-1; all later columns of the block are changed."""
    first, last = start - block.start, stop - block.start
    inside = np.ascontiguousarray(factor[first:last, first:last])
    columns = np.ascontiguousarray(weights[:, start:stop].T)  # a column's values lie together
    errors = np.empty_like(columns)
    for index in range(stop - start):
        column = columns[index]
        chosen = grid.codes(column, index // BLOCK_COLS)
        codes[:, start + index] = chosen
        error = (column - grid.values(chosen, index // BLOCK_COLS)) / inside[index, index]
        errors[index] = error
        columns[index + 1 :] -= inside[index, index + 1 :, None] * error[None, :]
    weights[:, stop : block.stop] -= errors.T @ factor[first:last, last:]


def _planes(format_name: str, codes: Floats, grids: list[Grid]) -> Planes:
    if format_name == "q8s":
        quants: NDArray[np.uint8] | NDArray[np.int8] = codes.astype(np.int8)
    else:
        quants = (codes + np.float32(ZERO_CODE[format_name])).astype(np.uint8)
    if format_name == "q4p":
        units = np.stack([grid.units for grid in grids if grid.units is not None], axis=1)
        steps = np.concatenate([grid.steps for grid in grids if grid.steps is not None], axis=1)
        return Planes(quants, units.astype(np.float16), steps=steps.astype(np.uint8))
    scales = np.concatenate([grid.scales for grid in grids], axis=1).astype(np.float16)
    offsets = [grid.offsets for grid in grids if grid.offsets is not None]
    return Planes(quants, scales, np.concatenate(offsets, axis=1).astype(np.float16) if offsets else None)


def _joined(parts: list[Planes]) -> Planes:
    """The rows of all parts; all of one format."""
    minima = [part.minima for part in parts if part.minima is not None]
    steps = [part.steps for part in parts if part.steps is not None]
    return Planes(
        np.concatenate([part.quants for part in parts]),
        np.concatenate([part.scales for part in parts]),
        np.concatenate(minima) if minima else None,
        np.concatenate(steps) if steps else None,
    )
