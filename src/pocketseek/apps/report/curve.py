"""A long row of samples as the few points that a chart shows: means of so many neighbours each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from pocketseek.apps.report.record import Samples

MAX_POINTS = 120


def interval_of(samples: Samples) -> float:
    """Seconds that a point stands for, on average."""
    return samples.time_s[-1] / _num_points(samples)


def averaged(
    samples: Samples, values: Sequence[float | None], seconds_per_unit: float = 1.0
) -> list[tuple[float, float | None]]:
    """(middle of the interval, mean of the values that are known; None if none is), in order."""
    num_samples, num_points = len(samples.time_s), _num_points(samples)
    borders = [index * num_samples // num_points for index in range(num_points + 1)]
    starts_s = (0.0, *samples.time_s)
    points: list[tuple[float, float | None]] = []
    for start, end in pairwise(borders):
        known = [value for value in values[start:end] if value is not None]
        middle = (starts_s[start] + samples.time_s[end - 1]) / 2 / seconds_per_unit
        points.append((middle, sum(known) / len(known) if known else None))
    return points


def _num_points(samples: Samples) -> int:
    return max(1, min(MAX_POINTS, len(samples.time_s)))
