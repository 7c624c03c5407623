"""A training rests when heat or the battery ask for it, on a clock of the test's own."""

from __future__ import annotations

from dataclasses import replace

from pocketseek.adapt.train_pace import TrainingPace, Waiting
from pocketseek.device.sensor_facts import Battery
from pocketseek.types import Limits


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.on_sleep = lambda: None

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        assert 0 < seconds <= 2.0
        self.now_s += seconds
        self.on_sleep()


class Governor:
    def __init__(self) -> None:
        self.current = Limits(num_threads=1)

    def limits(self) -> Limits:
        return self.current


def battery(charging: bool | None) -> Battery:
    return Battery(0.5, charging, None, None, None, None, "test")


def test_at_full_pace_nobody_waits() -> None:
    clock = Clock()
    pace = TrainingPace(clock=clock, sleep=clock.sleep)
    for _ in range(3):
        pace.pause()
        clock.now_s += 4.0
        pace.worked(4.0)
    assert pace.waited_s == 0.0
    assert pace.busy_s == 12.0


def test_at_a_quarter_of_the_pace_work_is_a_quarter_of_the_time() -> None:
    clock, governor = Clock(), Governor()
    governor.current = replace(governor.current, duty=0.5, background_duty=0.5)
    pace = TrainingPace(governor, clock=clock, sleep=clock.sleep)
    for _ in range(20):
        pace.pause()
        clock.now_s += 1.0
        pace.worked(1.0)
    pace.pause()
    assert abs(pace.busy_s / clock.now_s - 0.25) < 0.02


def test_it_waits_for_the_charger_and_says_so_once() -> None:
    clock = Clock()
    told: list[Waiting | None] = []
    state = [battery(charging=False)]

    def plug_in() -> None:
        if clock.now_s > 60:
            state[0] = battery(charging=True)

    clock.on_sleep = plug_in
    pace = TrainingPace(battery=lambda: state[0], clock=clock, sleep=clock.sleep, tell=told.append)
    pace.pause()
    assert told == ["charging", None]
    assert pace.waited_s > 60


def test_without_a_battery_nobody_waits_for_one() -> None:
    clock = Clock()
    for found in (None, battery(charging=None)):
        TrainingPace(battery=lambda found=found: found, clock=clock, sleep=clock.sleep).pause()
    assert clock.now_s == 0.0


def test_while_heat_allows_nothing_it_rests_until_it_does() -> None:
    clock, governor = Clock(), Governor()
    told: list[Waiting | None] = []
    governor.current = replace(governor.current, duty=0.0)

    def cool_down() -> None:
        if clock.now_s > 30:
            governor.current = replace(governor.current, duty=1.0)

    clock.on_sleep = cool_down
    TrainingPace(governor, clock=clock, sleep=clock.sleep, tell=told.append).pause()
    assert told == ["heat", None]
