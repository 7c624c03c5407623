"""What was taken and soon given back is taken later the next time."""

from __future__ import annotations

from itertools import pairwise

from pocketseek.govern.swings import GROW_AFTER_S, LONGEST_GROW_AFTER_S, Swings


def test_it_waits_twice_as_long_after_every_swing_up_to_a_bound() -> None:
    swings, now_s = Swings(), 0.0
    waits = [swings.wait_s(now_s)]
    for _ in range(8):
        now_s += waits[-1]
        swings.grew(now_s)
        swings.shrank(now_s + 1)
        waits.append(swings.wait_s(now_s + 1))
    assert waits[0] == GROW_AFTER_S
    assert all(after == min(2 * before, LONGEST_GROW_AFTER_S) for before, after in pairwise(waits))
    assert waits[-1] == LONGEST_GROW_AFTER_S


def test_going_down_in_many_steps_is_one_swing() -> None:
    swings = Swings()
    swings.grew(10.0)
    for second in range(20):
        swings.shrank(11.0 + second)
    assert swings.wait_s(31.0) == 2 * GROW_AFTER_S


def test_what_was_held_for_long_is_no_swing() -> None:
    swings = Swings()
    swings.grew(10.0)
    swings.shrank(70.0)
    assert swings.wait_s(70.0) == GROW_AFTER_S


def test_swings_are_forgotten_once_it_has_been_calm() -> None:
    swings = Swings()
    for now_s in (10.0, 20.0, 30.0):
        swings.grew(now_s)
        swings.shrank(now_s + 1)
    assert swings.wait_s(60.0) == 8 * GROW_AFTER_S
    assert swings.wait_s(31.0 + 8 * 8 * GROW_AFTER_S + 1) == GROW_AFTER_S
