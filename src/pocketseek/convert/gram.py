"""What the inputs of a matrix have in common: sums of x x^T over calibration rows, the Hessian of its output's error.

Of wide inputs only blocks on the diagonal are kept, so that memory is bounded: WIDEST columns each. Errors are made up
for within a block alone then. How large an output's error is has terms between blocks, too, so that is told from a
sample of the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

WIDEST = 4096  # a multiple of the superblock; 64 MB
SAMPLED_EVERY = 32  # rows of wide inputs
_MOST_SAMPLED = 1024  # 78 MB of 18,944 columns


@dataclass(frozen=True)
class GramBlock:
    """matrix: (stop - start, stop - start) float32."""

    start: int
    stop: int
    matrix: Floats


class Gram:
    """Adds up rows; mean over them. One for all matrices with the same inputs."""

    def __init__(self, num_cols: int) -> None:
        self.num_rows = 0
        self.blocks = [
            GramBlock(start, min(start + WIDEST, num_cols), np.zeros((min(WIDEST, num_cols - start),) * 2, np.float32))
            for start in range(0, num_cols, WIDEST)
        ]
        self._sample = np.empty((0, num_cols), np.float32)
        self._factors: list[Floats] | None = None

    def add(self, rows: Floats) -> None:
        self.num_rows += len(rows)
        for block in self.blocks:
            part = rows[:, block.start : block.stop]
            np.add(block.matrix, part.T @ part, out=block.matrix)
        if len(self.blocks) > 1 and len(self._sample) < _MOST_SAMPLED:
            self._sample = np.concatenate([self._sample, rows[::SAMPLED_EVERY]])
        self._factors = None

    def factors(self, factor_of: Callable[[GramBlock], Floats]) -> list[Floats]:
        """Of each block, computed once for all matrices."""
        if self._factors is None:
            self._factors = [factor_of(block) for block in self.blocks]
        return self._factors

    @property
    def importance(self) -> Floats:
        """Mean square of each input, (columns,)."""
        squares: Floats = np.concatenate([np.diagonal(block.matrix) for block in self.blocks])
        return squares / np.float32(max(1, self.num_rows))

    def error_of(self, difference: Floats) -> float:
        """Mean of |difference x|^2 for differences (outputs, inputs): over all rows, of wide inputs over the sample."""
        if len(self.blocks) > 1:
            outputs = self._sample @ difference.T
            return float(np.einsum("ro,ro->", outputs, outputs, dtype=np.float64)) / max(1, len(self._sample))
        products = difference @ self.blocks[0].matrix
        return float(np.einsum("oc,oc->", products, difference, dtype=np.float64)) / max(1, self.num_rows)
