"""Tokens per second from totals."""

from pocketseek.apps.serve.speed_gauge import SpeedGauge


def test_speed_is_that_of_the_last_seconds() -> None:
    now = [0.0]
    gauge = SpeedGauge(clock=lambda: now[0])
    readings = []
    for second in range(8):
        now[0] = float(second)
        readings.append(gauge.read(10 * min(second, 4)))
    assert readings == [0.0, 10.0, 10.0, 10.0, 10.0, 20 / 3, 10 / 3, 0.0]


def test_totals_that_fall_because_a_model_was_closed_start_afresh() -> None:
    now = [0.0]
    gauge = SpeedGauge(clock=lambda: now[0])
    gauge.read(100)
    now[0] = 1.0
    assert gauge.read(5) == 0.0
    now[0] = 2.0
    assert gauge.read(15) == 10.0
