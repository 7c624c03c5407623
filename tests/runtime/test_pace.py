"""Rests after passes, on a clock of the test's own."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.runtime.pace import Pace


def worked(pace: Pace, seconds: float, now_s: float) -> float:
    pace.worked(seconds, now_s + seconds)
    return now_s + seconds


def test_at_full_duty_there_is_no_rest() -> None:
    pace = Pace(0.0)
    assert pace.rest_s(worked(pace, 5.0, 0.0)) == 0.0


@given(st.floats(0.05, 1.0), st.lists(st.floats(0.01, 3.0), min_size=1, max_size=30))
def test_passes_take_their_share_of_the_time(duty: float, passes_s: list[float]) -> None:
    pace, now_s = Pace(0.0), 0.0
    pace.set_duty(duty, now_s)
    for seconds in passes_s:
        now_s = worked(pace, seconds, now_s)
        now_s += pace.rest_s(now_s)
    assert sum(passes_s) / now_s == pytest.approx(duty)


def test_a_pause_saves_nothing_up() -> None:
    pace = Pace(0.0)
    pace.set_duty(0.5, 0.0)
    assert pace.rest_s(worked(pace, 2.0, 1000.0)) == pytest.approx(2.0)


def test_a_duty_that_changes_counts_from_then_on() -> None:
    pace = Pace(0.0)
    pace.set_duty(0.1, 0.0)
    now_s = worked(pace, 1.0, 0.0)
    assert pace.rest_s(now_s) == pytest.approx(9.0)
    pace.set_duty(0.9, now_s)
    assert pace.rest_s(now_s) == pytest.approx(1.0)


def test_at_duty_zero_the_rest_does_not_end_until_something_changes() -> None:
    pace = Pace(0.0)
    pace.set_duty(0.0, 0.0)
    assert pace.rest_s(100.0) == math.inf
    pace.set_duty(1.0, 100.0)
    assert pace.rest_s(100.0) == 0.0


def test_what_is_forgiven_is_not_owed() -> None:
    pace = Pace(0.0)
    pace.set_duty(0.1, 0.0)
    now_s = worked(pace, 1.0, 0.0)
    pace.forgive()
    assert pace.rest_s(now_s) == 0.0


def test_rests_come_to_an_end_on_a_clock_with_rounding() -> None:
    pace, now_s = Pace(0.0), 0.0
    pace.set_duty(0.3, now_s)
    for _ in range(1000):
        now_s = worked(pace, 0.123, now_s)
        for _ in range(5):
            rest_s = pace.rest_s(now_s)
            now_s += rest_s
        assert rest_s == 0.0
