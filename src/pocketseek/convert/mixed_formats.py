"""Formats for groups of matrices so that a package stays within a size and loses as little as can be. Pure.

Every group has costs and bytes by format. Only formats on the lower convex hull of cost over bytes can be in a best
choice by Lagrange's multipliers; from the smallest of each group on, the step is taken that saves the most cost for a
byte, until none fits any more. What is left over is less than the smallest step that did not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pocketseek.errors import UsageError


@dataclass(frozen=True)
class Choice:
    """What one format means for a group: bytes on disk, and what is lost in some unit that all groups share."""

    format: str
    num_bytes: int
    cost: float


@dataclass(frozen=True)
class FormatGroup:
    """Matrices that get one format, by name."""

    names: tuple[str, ...]
    choices: tuple[Choice, ...]


@dataclass(frozen=True)
class _Step:
    group: int
    place: int
    saved_per_byte: float


def choose_formats(
    groups: Sequence[FormatGroup], target_bytes: int, size_of: Callable[[Mapping[str, str]], int]
) -> dict[str, str]:
    """The format of every matrix. size_of: of a package with these formats, in bytes.

    Raises UsageError if the smallest is larger than target_bytes.
    """
    hulls = [_hull(group.choices) for group in groups]
    chosen = [0] * len(groups)

    def formats() -> dict[str, str]:
        pairs = zip(groups, hulls, chosen, strict=True)
        return {name: hull[place].format for group, hull, place in pairs for name in group.names}

    least_bytes = size_of(formats())
    if least_bytes > target_bytes:
        raise UsageError(
            f"the smallest package of this model has {least_bytes / 1e6:.1f} MB, and {target_bytes / 1e6:.1f} are "
            "wanted; ask for more, or take a smaller model"
        )
    for step in _steps(hulls):
        if chosen[step.group] != step.place - 1:
            continue  # the step before did not fit
        chosen[step.group] = step.place
        if size_of(formats()) > target_bytes:
            chosen[step.group] = step.place - 1
    return formats()


def _hull(choices: Sequence[Choice]) -> list[Choice]:
    """The lower convex hull, from the smallest on."""
    hull: list[Choice] = []
    for choice in sorted(choices, key=lambda one: (one.num_bytes, one.cost)):
        if hull and choice.cost >= hull[-1].cost:
            continue
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) <= _slope(hull[-2], choice):
            hull.pop()
        hull.append(choice)
    return hull


def _slope(first: Choice, second: Choice) -> float:
    """What a byte saves between two."""
    return (first.cost - second.cost) / max(1, second.num_bytes - first.num_bytes)


def _steps(hulls: Sequence[Sequence[Choice]]) -> list[_Step]:
    """The best first; those of one group are in order, since its hull is convex."""
    steps = [
        _Step(group, place, _slope(hull[place - 1], hull[place]))
        for group, hull in enumerate(hulls)
        for place in range(1, len(hull))
    ]
    return sorted(steps, key=lambda step: (-step.saved_per_byte, step.group, step.place))
