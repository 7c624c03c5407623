"""What sampling asks of a row of logits, in numpy: for kernels without a core, and the text to read first.

The compiled core's (native.py) are the same bits on every processor; numpy's agree with them within rounding.
"""

from __future__ import annotations

import math

import numpy as np

from pocketseek.kernels.contract import Floats, Indices

_BLOCK = 32768  # values at a time: small arrays stay in the cache


class NumpyLogits:
    """LogitsMath in numpy."""

    def exp_weights(self, values: Floats, best: np.float32, divisor: np.float32) -> Floats:
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(np.exp((values - best) / divisor), np.float32)

    def exp_mass(self, values: Floats, best: np.float32, divisor: np.float32) -> float:
        blocks = (values[start : start + _BLOCK] for start in range(0, len(values), _BLOCK))
        return math.fsum(self.exp_weights(block, best, divisor).sum(dtype=np.float64) for block in blocks)

    def at_least(self, values: Floats, threshold: float, most: int) -> Indices | None:
        found = (values >= np.float32(threshold)).nonzero()[0]
        return found if len(found) <= most else None
