"""What the observer learns of a phone that follows dT/dt = f + b u."""

import copy
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from pocketseek.govern.heat_observer import LEAST_GAIN, MOST_GAIN, HeatObserver


def watched(gain: float, loss: float, step_c: float = 0.1, minutes: float = 20) -> tuple[HeatObserver, float]:
    """Work in turns of two minutes, so that gain and loss can be told apart."""
    observer, temperature_c = HeatObserver(), 35.0
    for second in range(round(minutes * 60)):
        work = 1.0 if second // 120 % 2 == 0 else 0.1
        observer.see(math.floor(temperature_c / step_c) * step_c, work, float(second))
        temperature_c += gain * work - loss
    return observer, temperature_c


def test_temperature_and_gain_are_found() -> None:
    observer, temperature_c = watched(gain=0.04, loss=0.02)
    assert abs(observer.temperature_c - temperature_c) < 0.3
    assert 0.03 < observer.gain < 0.05


def test_a_sensor_of_whole_degrees_does() -> None:
    observer, temperature_c = watched(gain=0.04, loss=0.02, step_c=1.0)
    assert observer.is_coarse
    assert abs(observer.temperature_c - temperature_c) < 0.8
    assert 0.025 < observer.gain < 0.06


def test_a_restart_keeps_what_was_learnt_of_the_gain_only() -> None:
    observer, _ = watched(gain=0.1, loss=0.05)
    gain = observer.gain
    observer.restart()
    observer.see(20.0, 0.0, 5000.0)
    assert observer.gain == gain
    assert abs(observer.temperature_c - 20.0) < 0.2


@given(st.lists(st.tuples(st.floats(-20, 120), st.floats(0, 1), st.floats(0, 90)), min_size=1, max_size=60))
@settings(deadline=None)
def test_no_history_breaks_it(history: list[tuple[float, float, float]]) -> None:
    observer, time_s = HeatObserver(), 0.0
    for reading_c, work, seconds in history:
        time_s += seconds
        observer.see(reading_c, work, time_s)
        assert math.isfinite(observer.temperature_c)
        assert math.isfinite(observer.estimates()[0].own_slope)
        assert LEAST_GAIN <= observer.gain <= MOST_GAIN


def test_between_two_readings_it_goes_on_as_it_has_learnt() -> None:
    """An old reading told again would hold the estimate back."""
    observer, temperature_c = watched(gain=0.04, loss=0.02)
    goes_on, is_told = observer, copy.deepcopy(observer)
    for second in range(1200, 1260):
        goes_on.go_on(1.0, float(second))
        is_told.see(math.floor(temperature_c * 10) / 10, 1.0, float(second))
    assert abs(goes_on.temperature_c - (temperature_c + 60 * 0.02)) < 0.4
    assert is_told.temperature_c < temperature_c + 0.5


def test_a_first_reading_may_be_an_old_one() -> None:
    observer = HeatObserver()
    assert not observer.has_seen
    observer.see(30.0, 0.0, 5.0)
    assert observer.has_seen
