"""What counts as a movement of a reading, and what flickers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.device.movement import FASTEST_C_PER_S, Movement


def moves(values_c: list[float | None], step_s: float = 1.0, movement: Movement | None = None) -> list[bool]:
    movement = movement or Movement("battery")
    return [movement.see(value_c, number * step_s) for number, value_c in enumerate(values_c)]


def test_a_constant_never_moves() -> None:
    assert moves([31.0] * 100) == [True] + [False] * 99


@pytest.mark.parametrize("gap_c", [0.1, 1.0, 2.0])
def test_a_flicker_moves_once(gap_c: float) -> None:
    assert sum(moves([31.0, 31.0 + gap_c] * 200)) == 2


def test_a_flicker_that_ends_at_the_other_value_has_moved_once_it_stays() -> None:
    seen = moves([31.0, 30.0] * 20 + [31.0] * 40)
    assert seen[:2] == [True, True]
    assert [number for number, has_moved in enumerate(seen) if has_moved][2:] == [40 + 25]


def test_what_comes_and_goes_slower_than_physics_moves_every_time() -> None:
    assert all(moves([31.0, 30.0] * 20, step_s=30.0))


def test_to_vanish_is_to_move() -> None:
    assert moves([31.0, None, None, 31.0]) == [True, True, False, True]


@given(st.lists(st.floats(-0.12, 0.12), min_size=1, max_size=100), st.sampled_from([0.1, 1.0]))
def test_a_temperature_that_goes_one_way_moves_with_every_reading(slopes: list[float], step_c: float) -> None:
    movement, celsius, shown_c = Movement("battery"), 20.0, None
    for second, slope in enumerate(slopes):
        celsius += abs(slope) * FASTEST_C_PER_S["battery"]
        now_c = celsius // step_c * step_c
        assert movement.see(now_c, float(second)) == (now_c != shown_c)
        shown_c = now_c
