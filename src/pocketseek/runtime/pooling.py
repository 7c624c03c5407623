"""A text as one vector: the mean over all positions of the last hidden state, after the final norm.

The sum is kept in float64 and takes the rows one by one in the order of positions, each normed by itself. So the vector
is the same bits however the prompt was cut into passes, whatever else was in them, and after giving way in the middle;
for that the rows must be computed, so that nothing is taken from the prefix cache (it is given to it, though).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from pocketseek.errors import ModelOutputError

States = npt.NDArray[np.float32]

NO_STATES: States = np.empty((0, 0), np.float32)


class MeanPool:
    """Of one sequence's prompt."""

    def __init__(self, num_rows: int) -> None:
        self._num_rows = num_rows
        self._num_taken = 0
        self._sum: npt.NDArray[np.float64] | None = None

    @property
    def is_complete(self) -> bool:
        return self._num_taken == self._num_rows

    def take(self, first_position: int, rows: States) -> None:
        """Rows from this position on, none left out; those that were taken before are passed over.

        Raises ModelOutputError for NaN and infinities.
        """
        new = rows[self._num_taken - first_position : self._num_rows - first_position]
        if self._sum is None:
            self._sum = np.zeros(rows.shape[1], np.float64)
        for row in new:
            self._sum += row
        self._num_taken += len(new)
        if not np.isfinite(self._sum).all():
            raise ModelOutputError(
                "the model's hidden states are not numbers; check the installed model with 'pocketseek verify'"
            )

    def mean(self) -> tuple[float, ...]:
        """As float32 values; of all rows."""
        if self._sum is None or not self.is_complete:
            raise ValueError(f"only {self._num_taken} of {self._num_rows} rows were taken")
        return tuple((self._sum / self._num_rows).astype(np.float32).tolist())


def normed(hidden: States, weight: States, eps: float) -> States:
    """The root-mean-square norm of each row, by itself in float64, as float32."""
    result = np.empty(hidden.shape, np.float32)
    wide = weight.astype(np.float64)
    for row, out in zip(hidden.astype(np.float64), result, strict=True):
        out[:] = row / math.sqrt(float(np.square(row).mean()) + eps) * wide
    return result
