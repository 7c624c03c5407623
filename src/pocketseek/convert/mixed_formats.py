"""Formats for groups of matrices so that a package stays within a size and loses as little as can be. Pure.

Every group has costs and bytes by format. Only formats on the lower convex hull of cost over bytes can be in a best
choice by Lagrange's multipliers; from the smallest of each group on, the step is taken that saves the most cost for a
byte, until none fits any more. What is left over is less than the smallest step that did not fit. Small steps can use
up what one large step (a tied head) would have needed, so the largest of those refused are each taken first once, and
the cheapest of these choices wins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pocketseek.errors import UsageError

_SECOND_LOOKS = 8


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
    groups: Sequence[FormatGroup],
    target_bytes: int,
    size_of: Callable[[Mapping[str, str]], int],
    refusal: Callable[[int], UsageError],
) -> dict[str, str]:
    """The format of every matrix. size_of: of a package with these formats, in bytes.

    Raises refusal(least bytes) if the smallest is larger than target_bytes.
    """
    hulls = [_hull(group.choices) for group in groups]
    steps = _steps(hulls)

    def formats(places: Sequence[int]) -> dict[str, str]:
        pairs = zip(groups, hulls, places, strict=True)
        return {name: hull[place].format for group, hull, place in pairs for name in group.names}

    def fits(places: Sequence[int]) -> bool:
        return size_of(formats(places)) <= target_bytes

    def cost(places: Sequence[int]) -> float:
        return sum(hull[place].cost for hull, place in zip(hulls, places, strict=True))

    smallest = [0] * len(groups)
    if not fits(smallest):
        raise refusal(size_of(formats(smallest)))
    plans = [_filled(smallest, steps, fits)]
    for group, place in _refused(plans[0], hulls)[:_SECOND_LOOKS]:
        first = smallest.copy()
        first[group] = place
        if fits(first):
            plans.append(_filled(first, steps, fits))
    return formats(min(plans, key=cost))


def _filled(places: Sequence[int], steps: Sequence[_Step], fits: Callable[[Sequence[int]], bool]) -> list[int]:
    """Every step that fits, the best first."""
    chosen = list(places)
    for step in steps:
        if chosen[step.group] != step.place - 1:
            continue  # done already, or the step before did not fit
        chosen[step.group] = step.place
        if not fits(chosen):
            chosen[step.group] = step.place - 1
    return chosen


def _refused(places: Sequence[int], hulls: Sequence[Sequence[Choice]]) -> list[tuple[int, int]]:
    """Groups and places that were not reached; first what would have saved most."""
    beyond = [
        (hull[places[group]].cost - hull[place].cost, group, place)
        for group, hull in enumerate(hulls)
        for place in range(places[group] + 1, len(hull))
    ]
    return [(group, place) for _, group, place in sorted(beyond, key=lambda one: (-one[0], one[1], one[2]))]


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
