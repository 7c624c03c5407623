"""What the inputs of a matrix have in common: sums of x x^T over calibration rows, the Hessian of its output's error.

Of wide inputs only blocks on the diagonal are kept, so that memory is bounded: WIDEST columns each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

WIDEST = 4096  # a multiple of the superblock; 64 MB


@dataclass(frozen=True)
class GramBlock:
    """matrix: (stop - start, stop - start) float32."""

    start: int
    stop: int
    matrix: Floats


class Gram:
    """Adds up rows; mean over them."""

    def __init__(self, num_cols: int) -> None:
        self.num_rows = 0
        self.blocks = [
            GramBlock(start, min(start + WIDEST, num_cols), np.zeros((min(WIDEST, num_cols - start),) * 2, np.float32))
            for start in range(0, num_cols, WIDEST)
        ]

    def add(self, rows: Floats) -> None:
        self.num_rows += len(rows)
        for block in self.blocks:
            part = rows[:, block.start : block.stop]
            np.add(block.matrix, part.T @ part, out=block.matrix)

    @property
    def importance(self) -> Floats:
        """Mean square of each input, (columns,)."""
        squares: Floats = np.concatenate([np.diagonal(block.matrix) for block in self.blocks])
        return squares / np.float32(max(1, self.num_rows))

    def error_of(self, difference: Floats) -> float:
        """Mean over rows of |difference x|^2 for differences (outputs, inputs), each block by itself."""
        total = 0.0
        for block in self.blocks:
            part = difference[:, block.start : block.stop]
            total += float(np.einsum("rc,rc->", part @ block.matrix, part, dtype=np.float64))
        return total / max(1, self.num_rows)
