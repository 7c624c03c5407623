"""What the numbers of a report can be, by their names: the unit is in them. What lies outside was not measured.

Bounds are wide: no device of today or tomorrow shall be refused, only what would make a comparison nonsense.
"""

from __future__ import annotations

_MOST_BYTES = 1e15
_OF_UNIT: tuple[tuple[str, float, float], ...] = (  # how a name ends, the first that fits
    ("tokens_per_s", 0.0, 1e9),
    ("joule", 0.0, 1e9),
    ("_bytes", 0.0, _MOST_BYTES),
    ("_s", 0.0, 1e7),
    ("_c", -273.15, 1000.0),
    ("_w", -1e5, 1e5),  # below 0: more came in than was drawn
    ("_hz", 0.0, 1e12),
    ("duty", 0.0, 1e3),  # passes that end together may count more than the time they end in
    ("heat_share", 0.0, 1.0),
    ("num_parameters", 0.0, _MOST_BYTES),
)
_ANY_COUNT = (0.0, 1e12)


def bounds_of(name: str) -> tuple[float, float]:
    """The least and the most that a number of this name can be."""
    return next(((low, high) for end, low, high in _OF_UNIT if name.endswith(end)), _ANY_COUNT)
