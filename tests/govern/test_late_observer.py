"""What is learnt of a skin that only a battery tells of, late."""

import math
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketseek.govern.heat_observer import FOLLOW_S, LEAST_GAIN, MOST_GAIN, WORK_LAG_S
from pocketseek.govern.late_observer import LAGS_S, MOST_HELD_S, LateObserver

GAIN = 0.05


class Phone:
    """As is assumed: at rest at 30 °C until the work begins; a battery that follows the skin by lag_s."""

    def __init__(self, lag_s: float, step_c: float = 0.1) -> None:
        self.skin_c = self._battery_c = 30.0
        self._heat = 0.0
        self._lag_s, self._step_c = lag_s, step_c

    @property
    def shown_c(self) -> float:
        return round(math.floor(self._battery_c / self._step_c + 1e-9) * self._step_c, 1)

    def go_on(self, work: float) -> None:
        self._heat += (work - self._heat) / WORK_LAG_S
        self.skin_c += GAIN * self._heat - (self.skin_c - 30.0) / FOLLOW_S
        self._battery_c += (self.skin_c - self._battery_c) / self._lag_s


def turns(seconds: int) -> Iterator[tuple[int, float]]:
    """Work in turns of two minutes."""
    return ((second, 1.0 if second // 120 % 2 == 0 else 0.1) for second in range(seconds))


def watched(phone: Phone, *, told_every_s: int = 10, held_s: int = 1, seconds: int = 900) -> LateObserver:
    """Told every so often, at times by a reading that is old and does not say so."""
    observer, held_c = LateObserver(), phone.shown_c
    for second, work in turns(seconds):
        held_c = phone.shown_c if second % held_s == 0 else held_c
        if second % told_every_s == 0:
            observer.see(held_c, work, float(second))
        else:
            observer.go_on(work, float(second))
        phone.go_on(work)
    return observer


@pytest.mark.parametrize("lag_s", [16.0, 42.0, 110.0])
def test_the_lag_and_the_skin_are_found(lag_s: float) -> None:
    phone = Phone(lag_s)
    observer = watched(phone)
    assert lag_s in observer.lags_s
    assert len(observer.lags_s) < len(LAGS_S)
    assert abs(observer.temperature_c - phone.skin_c) < 0.5


def test_a_lag_between_two_that_are_looked_at_will_do() -> None:
    phone = Phone(85.0)
    observer = watched(phone)
    assert {68.0, 110.0} & set(observer.lags_s)
    assert abs(observer.temperature_c - phone.skin_c) < 0.5


def test_readings_that_are_old_without_saying_so_will_do() -> None:
    phone = Phone(42.0)
    observer = watched(phone, held_s=60)
    assert abs(observer.temperature_c - phone.skin_c) < 1.0


def test_whole_degrees_will_do() -> None:
    phone = Phone(42.0, step_c=1.0)
    observer = watched(phone)
    assert observer.is_coarse
    assert abs(observer.temperature_c - phone.skin_c) < 1.5


def test_while_the_work_begins_the_skin_is_seen_ahead_of_the_battery() -> None:
    phone = Phone(68.0)
    observer = watched(phone, seconds=120)
    assert phone.skin_c - phone.shown_c > 1.5
    assert max(one.temperature_c for one in observer.estimates()) > phone.skin_c - 0.5


def test_a_reading_told_again_soon_says_nothing_and_later_it_does() -> None:
    """As of a battery that has never been seen to change faster."""
    told, alone = LateObserver(), LateObserver()
    for observer in (told, alone):
        observer.see(30.0, 0.0, 0.0)
    for second in range(10, 60, 10):
        told.see(30.0, 1.0, float(second))
        alone.go_on(1.0, float(second))
    assert told.temperature_c == alone.temperature_c
    told.see(30.0, 1.0, MOST_HELD_S)
    alone.go_on(1.0, MOST_HELD_S)
    assert told.temperature_c < alone.temperature_c


def test_at_first_it_is_uncertain_how_far_the_skin_is_from_the_battery_and_less_so_later() -> None:
    observer = LateObserver()
    observer.see(40.0, 0.0, 0.0)
    assert all(one.deviation_c > 2.0 for one in observer.estimates())
    assert all(one.deviation_c < 0.6 for one in watched(Phone(42.0)).estimates())


def test_a_restart_keeps_what_was_learnt_of_the_gain_only() -> None:
    observer = watched(Phone(42.0))
    gains = [one.gain for one in observer.estimates()]
    observer.restart()
    observer.see(20.0, 0.0, 5000.0)
    assert set(gains) <= {one.gain for one in observer.estimates()}
    assert abs(observer.temperature_c - 20.0) < 0.2
    assert observer.lags_s == LAGS_S


@given(st.lists(st.tuples(st.floats(-20, 120), st.floats(0, 1), st.floats(0, 90)), min_size=1, max_size=40))
@settings(deadline=None)
def test_no_history_breaks_it(history: list[tuple[float, float, float]]) -> None:
    observer, time_s = LateObserver(), 0.0
    for reading_c, work, seconds in history:
        time_s += seconds
        observer.see(reading_c, work, time_s)
        assert observer.estimates()
        for one in observer.estimates():
            assert math.isfinite(one.temperature_c)
            assert math.isfinite(one.own_slope)
            assert math.isfinite(one.deviation_c)
            assert LEAST_GAIN <= one.gain <= MOST_GAIN


def test_hours_without_news_leave_it_usable() -> None:
    observer = watched(Phone(42.0), seconds=300)
    for second in range(300, 300 + 4 * 3600, 10):
        observer.go_on(0.5, float(second))
    assert all(math.isfinite(one.temperature_c + one.deviation_c) for one in observer.estimates())
    observer.see(33.0, 0.5, 15000.0)
    assert abs(observer.temperature_c) < 200.0
