"""The choice of formats stays within the size and takes what saves most for a byte."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.convert.mixed_formats import Choice, FormatGroup, choose_formats
from pocketseek.errors import UsageError

FORMATS = ("a", "b", "c", "d")


def group(name: str, *pairs: tuple[int, float]) -> FormatGroup:
    choices = (Choice(format_name, *pair) for format_name, pair in zip(FORMATS, pairs, strict=False))
    return FormatGroup((name,), tuple(choices))


def total_of(groups: list[FormatGroup], formats: Mapping[str, str], what: str) -> float:
    return sum(
        getattr(choice, what) for one in groups for choice in one.choices if formats[one.names[0]] == choice.format
    )


def choose(groups: list[FormatGroup], target_bytes: int) -> dict[str, str]:
    def size_of(formats: Mapping[str, str]) -> int:
        return int(total_of(groups, formats, "num_bytes"))

    return choose_formats(groups, target_bytes, size_of, lambda least: UsageError(f"{least} bytes are the least"))


def test_what_saves_most_for_a_byte_comes_first() -> None:
    groups = [group("x", (10, 5.0), (20, 1.0)), group("y", (10, 50.0), (20, 10.0))]
    assert choose(groups, 30) == {"x": "a", "y": "b"}
    assert choose(groups, 40) == {"x": "b", "y": "b"}
    assert choose(groups, 29) == {"x": "a", "y": "a"}


def test_small_steps_do_not_use_up_what_a_large_one_needs() -> None:
    """The small ones save more for a byte, the large one more altogether."""
    small = [group(str(number), (10, 3.0), (20, 0.0)) for number in range(3)]
    groups = [*small, group("head", (100, 40.0), (200, 20.0))]
    assert choose(groups, 230) == {"0": "a", "1": "a", "2": "a", "head": "b"}
    assert choose(groups, 240) == {"0": "b", "1": "a", "2": "a", "head": "b"}
    assert choose(groups, 229) == {"0": "b", "1": "b", "2": "b", "head": "a"}


def test_a_format_that_is_larger_and_no_better_is_never_taken() -> None:
    groups = [group("x", (10, 5.0), (12, 6.0), (15, 5.0), (30, 0.0))]
    assert choose(groups, 29) == {"x": "a"}
    assert choose(groups, 30) == {"x": "d"}


def test_too_small_a_target_says_what_is_the_least() -> None:
    with pytest.raises(UsageError, match="10 bytes are the least"):
        choose([group("x", (10, 1.0))], 9)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 50), st.floats(0, 100)), min_size=1, max_size=4), min_size=1, max_size=5
    ),
    st.integers(0, 260),
)
def test_it_is_within_the_target_and_near_the_best(pairs: list[list[tuple[int, float]]], target_bytes: int) -> None:
    groups = [group(str(number), *some) for number, some in enumerate(pairs)]
    fitting = [
        choices
        for choices in product(*(one.choices for one in groups))
        if sum(choice.num_bytes for choice in choices) <= target_bytes
    ]
    if not fitting:
        with pytest.raises(UsageError):
            choose(groups, target_bytes)
        return
    formats = choose(groups, target_bytes)
    assert total_of(groups, formats, "num_bytes") <= target_bytes
    best = min(sum(choice.cost for choice in choices) for choices in fitting)
    largest_step = max(max(choice.cost for choice in one.choices) for one in groups)
    assert total_of(groups, formats, "cost") <= best + largest_step + 1e-9
