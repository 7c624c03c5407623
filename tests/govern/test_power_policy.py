"""The table of docs/govern.md, row by row."""

from itertools import pairwise

import pytest

from pocketseek.device.sensor_facts import Battery
from pocketseek.govern.power_policy import SCREEN_OFF_COALESCE_S, power_policy


def battery(level: float | None = 0.8, charging: bool | None = False, saver: bool | None = None) -> Battery:
    return Battery(level, charging, None, None, None, saver, "test")


@pytest.mark.parametrize(
    ("told", "situation"),
    [
        (None, "mains"),
        (battery(0.05, charging=True), "mains"),
        (battery(charging=None), "mains"),
        (battery(), "battery"),
        (battery(level=None), "battery"),
        (battery(saver=True), "saver"),
        (battery(0.19), "low"),
        (battery(0.09, saver=True), "very low"),
    ],
)
def test_each_situation_is_recognised(told: Battery | None, situation: str) -> None:
    assert power_policy(told).situation == situation


def test_less_battery_never_means_more_work() -> None:
    policies = [power_policy(battery(level)) for level in (0.8, 0.15, 0.05)]
    for more, less in pairwise(policies):
        assert less.duty < more.duty
        assert less.background_duty < more.background_duty
        assert less.coalesce_s > more.coalesce_s


def test_background_gives_way_before_those_who_wait() -> None:
    assert all(
        policy.background_duty <= policy.duty for policy in map(power_policy, [battery(0.5), battery(0.1), None])
    )


def test_with_the_screen_off_background_is_gathered_and_nobody_else_slowed() -> None:
    on, off = power_policy(battery()), power_policy(battery(), screen_off=True)
    assert off.coalesce_s == SCREEN_OFF_COALESCE_S > on.coalesce_s
    assert off.duty == on.duty
    assert off.background_duty < on.background_duty
