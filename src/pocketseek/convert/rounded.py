"""Matrices as plain rounding to a format leaves them, and matrices of any height a slab of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pocketseek.convert.layer_math import Floats
from pocketseek.convert.quantize import dequantize, quantize
from pocketseek.convert.static_walk import FloatWeights
from pocketseek.formats import TILE_ROWS

SLAB_VALUES = 1 << 22  # 16 MB of float32; as many in each format may be beside it
_ROWS_AT_ONCE = 4096


def rounded(format_name: str, values: Floats) -> Floats:
    """The values of a matrix in a format, made by plain rounding."""
    result = np.empty_like(values)
    for start in range(0, len(values), _ROWS_AT_ONCE):
        rows = values[start : start + _ROWS_AT_ONCE]
        result[start : start + _ROWS_AT_ONCE] = dequantize(format_name, quantize(format_name, rows))[:, : rows.shape[1]]
    return result


def matrix_slabs(weights: FloatWeights, name: str) -> Iterator[Floats]:
    """All rows of a matrix in order, whole tiles of at most SLAB_VALUES (but at least one)."""
    rows, cols = weights.shape(name)
    step = max(1, SLAB_VALUES // cols // TILE_ROWS) * TILE_ROWS
    for start in range(0, rows, step):
        yield weights.rows(name, np.arange(start, min(start + step, rows), dtype=np.int32))
