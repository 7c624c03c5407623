"""The range of an activation that is quantised with one scale for all of it: collected piece by piece, then decided.

A histogram is kept and not the values, so memory does not grow with the text. Three methods:

- minmax: everything that was seen fits. Nothing is clipped; one large value makes all steps coarse.
- percentile: the rarest values at both ends are clipped, half of `100 - percentile` at each.
- entropy: magnitudes are clipped at the place where the distribution after quantisation is closest to that before
  (smallest Kullback-Leibler divergence; clipped values count as the last ones within).

Of 16 bits all three are minmax: there is room for the large values, and language models need the few that they have.
Every range holds 0, so that 0 is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
RangeMethod = Literal["minmax", "percentile", "entropy"]
DEFAULT_PERCENTILE = 99.99

_BINS = 16_384
_HALF = _BINS // 2
_MOST_COUNTED = 1 << 20  # values of one piece that go into the histogram; of more an even sample does
_ENTROPY_CANDIDATES = 64
_NO_WIDTH = 1e-8
_BULK = 0.99


@dataclass(frozen=True)
class Range:
    """low <= 0 <= high."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= 0 <= self.high:
            raise ValueError(f"0 is not between {self.low} and {self.high}")


class Histogram:
    """Counts over [-reach, reach]; reach doubles when a value lies outside, and neighbouring bins are merged.

    Smallest and largest value are exact, whatever is sampled.
    """

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(_BINS, np.int64)
        self.reach = 0.0
        self.low, self.high = 0.0, 0.0

    @property
    def peak(self) -> float:
        """Largest magnitude."""
        return max(-self.low, self.high)

    @property
    def bin_width(self) -> float:
        return self.reach / _HALF

    def add(self, values: Floats) -> None:
        """Raises ValueError for values that are not finite."""
        flat = values.reshape(-1)
        low, high = float(flat.min(initial=0)), float(flat.max(initial=0))
        if not np.isfinite(low) or not np.isfinite(high):
            raise ValueError("activations are not finite")
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._reach_to(max(-low, high))
        if self.reach == 0:
            self.counts[_HALF] += flat.size
            return
        flat = flat[:: -(-flat.size // _MOST_COUNTED) | 1]  # odd steps, so that no column is looked at alone
        places = (flat * np.float32(1 / self.bin_width)).astype(np.int32)  # towards 0
        places -= flat < 0
        places += _HALF
        np.clip(places, 0, _BINS - 1, out=places)
        self.counts += np.bincount(places, minlength=_BINS)

    def range(self, method: RangeMethod, *, bits: int = 8, percentile: float = DEFAULT_PERCENTILE) -> Range:
        if bits > 8 or method == "minmax":
            return Range(self.low, self.high)
        return self._percentile(percentile) if method == "percentile" else self._least_divergent(2**bits)

    def rounding_noise(self, bits: int = 8) -> float:
        """Mean square of the error of rounding to levels from low to high, over that of the values but the largest 1 %.

        Those are left out because they make both the steps and the mean square large: what suffers is the rest.
        """
        centres = (np.arange(_BINS) - _HALF + 0.5) * self.bin_width
        order = np.argsort(np.abs(centres), kind="stable")
        counts = self.counts[order]
        number = int(np.searchsorted(np.cumsum(counts), _BULK * counts.sum())) + 1
        squares = float(counts[:number] @ centres[order[:number]] ** 2) / max(1, int(counts[:number].sum()))
        step = (self.high - self.low) / (2**bits - 1)
        return step * step / 12 / squares if squares > 0 else 0.0

    def _reach_to(self, peak: float) -> None:
        if self.reach == 0 and peak > 0:
            self.reach = max(2.0 ** np.ceil(np.log2(peak)), _NO_WIDTH)
        while peak > self.reach:
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts[:] = 0
            self.counts[_HALF // 2 : _HALF // 2 + _HALF] = merged
            self.reach *= 2

    def _percentile(self, percentile: float) -> Range:
        total = int(self.counts.sum())
        if total == 0 or self.reach == 0:
            return Range(self.low, self.high)
        clipped = total * (1 - percentile / 100) / 2
        below = np.cumsum(self.counts)
        first = int(np.searchsorted(below, clipped, side="right"))
        last = int(np.searchsorted(below, total - clipped, side="left"))
        low = (first - _HALF) * self.bin_width
        high = (last + 1 - _HALF) * self.bin_width
        return Range(min(0.0, max(low, self.low)), max(0.0, min(high, self.high)))

    def _least_divergent(self, num_levels: int) -> Range:
        best = (float("inf"), 1.0)
        for share in np.linspace(1, 0, _ENTROPY_CANDIDATES, endpoint=False).tolist():
            first, last = self._bins_of(self._clipped_at(share))
            if last - first < num_levels:
                break
            best = min(best, (_divergence(self.counts, first, last, num_levels), -share))
        return self._clipped_at(abs(best[1]))

    def _clipped_at(self, share: float) -> Range:
        limit = max(-self.low, self.high) * share
        return Range(max(self.low, -limit), min(self.high, limit))

    def _bins_of(self, limits: Range) -> tuple[int, int]:
        """first, last + 1 of those that a range touches."""
        if self.reach == 0:
            return _HALF, _HALF
        first = int(np.floor(limits.low / self.bin_width)) + _HALF
        last = int(np.ceil(limits.high / self.bin_width)) + _HALF
        return max(0, first), min(_BINS, last)


def _divergence(counts: NDArray[np.int64], first: int, last: int, num_levels: int) -> float:
    """KL of counts clipped to first:last against the same rounded to levels, each spread over its non-empty bins."""
    inside = counts[first:last].astype(np.float64)
    occupied = inside > 0
    if not occupied.any():
        return float("inf")
    clipped = inside.copy()
    clipped[np.argmax(occupied)] += counts[:first].sum()
    clipped[len(inside) - 1 - np.argmax(occupied[::-1])] += counts[last:].sum()
    level = np.arange(len(inside)) * num_levels // len(inside)
    mass = np.bincount(level, weights=inside, minlength=num_levels)
    bins = np.bincount(level, weights=occupied, minlength=num_levels)
    spread = np.where(occupied, (mass / np.maximum(bins, 1))[level], 0)
    p, q = clipped[occupied] / clipped.sum(), spread[occupied] / spread.sum()
    return float(np.sum(p * np.log(p / q)))
