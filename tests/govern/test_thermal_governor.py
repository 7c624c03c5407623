"""The governor between sensors that are told to it and limits that are looked at."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from pocketseek.device.sensor_facts import Battery, SensorFacts, Temperature
from pocketseek.govern.governor import FixedGovernor
from pocketseek.govern.headroom import HEADROOM
from pocketseek.govern.sensor_probe import DIP
from pocketseek.govern.thermal_control import BLIND_SHARE
from pocketseek.govern.thermal_governor import HOT_COALESCE_S, ThermalGovernor, ThermalStatus
from pocketseek.types import Limits


@dataclass
class Device:
    """What the sensors say and how late it is."""

    now_s: float = 0.0
    skin_c: float | None = 30.0
    chip_c: float | None = None
    headroom: float | None = None
    battery: Battery | None = None
    is_complete: bool = True
    headroom_age_s: float = 0.0
    num_reads: int = 0
    told: list[ThermalStatus] = field(default_factory=list)

    def read(self) -> SensorFacts:
        self.num_reads += 1
        skin = [Temperature("skin-therm", "skin", self.skin_c, "skin")] if self.skin_c is not None else []
        chip = [Temperature("cpu-0-0", "soc", self.chip_c, "chip")] if self.chip_c is not None else []
        return SensorFacts(
            self.now_s,
            (*skin, *chip),
            battery=self.battery,
            thermal_headroom=self.headroom,
            thermal_headroom_age_s=self.headroom_age_s,
            is_complete=self.is_complete,
        )

    def governor(self, **options: Any) -> ThermalGovernor:
        governor = ThermalGovernor(
            FixedGovernor(4), self.read, clock=lambda: self.now_s, announce=self.told.append, **options
        )
        busy: Callable[[], float] = lambda: self.now_s  # noqa: E731  computes all the time
        governor.busy_s = busy
        return governor

    def wait(self, governor: ThermalGovernor, seconds: int) -> Limits:
        for _ in range(seconds):
            self.now_s += 1.0
            limits = governor.limits()
        return limits


def test_while_cool_the_inner_limits_stay_as_they_are() -> None:
    device = Device()
    governor = device.governor()
    limits = device.wait(governor, 10)
    assert limits == FixedGovernor(4).limits()
    assert governor.status is not None
    assert governor.status.state == "free"
    assert device.told == []


def test_sensors_are_read_once_a_second_and_the_answer_is_kept_meanwhile() -> None:
    device = Device()
    governor = device.governor()
    first = governor.limits()
    device.now_s = 0.9
    assert governor.limits() is first
    assert device.num_reads == 1


def test_an_old_look_told_again_is_no_reading() -> None:
    device = Device()
    governor = device.governor()
    device.wait(governor, 1)
    before, kept = governor.status, device.read()
    governor._sensors = lambda: kept
    device.wait(governor, 1)
    told = governor.status
    assert told is not before
    device.wait(governor, 600)
    assert governor.status is told


def test_when_hot_background_waits_and_the_pace_falls() -> None:
    device = Device(skin_c=46.0)
    governor = device.governor()
    limits = device.wait(governor, 120)
    assert limits.background_waits
    assert not limits.may_hurry
    assert limits.coalesce_s == HOT_COALESCE_S
    assert limits.max_sequences < FixedGovernor(4).limits().max_sequences
    assert limits.duty < 1.0
    assert limits.num_threads < 4
    assert limits.frequency_share == 1.0
    assert [status.state for status in device.told] == ["holding"]
    assert "46" in device.told[0].describe()


def test_fewer_threads_compute_on_the_cooler_cores() -> None:
    device = Device()
    governor = device.governor(cool_cores=(4, 5, 6))
    assert device.wait(governor, 60).cores == ()
    device.skin_c = 46.0
    limits = device.wait(governor, 120)
    assert limits.num_threads <= 2
    assert limits.cores == (4, 5, 6)
    device = Device(skin_c=46.0)
    assert device.wait(device.governor(cool_cores=()), 120).cores == ()


def test_clocks_are_capped_where_that_works() -> None:
    device = Device(skin_c=46.0)
    assert device.wait(device.governor(caps_clock=True), 120).frequency_share == 0.5


def test_far_above_nothing_runs() -> None:
    device = Device(skin_c=49.0)
    governor = device.governor()
    assert device.wait(governor, 3).duty == 0.0
    assert governor.status is not None
    assert governor.status.state == "emergency"


def test_a_sensor_that_vanishes_leads_to_the_careful_pace_and_back() -> None:
    device = Device()
    governor = device.governor()
    device.wait(governor, 60)
    device.skin_c = None
    device.wait(governor, 60)
    assert governor.status is not None
    assert (governor.status.state, governor.status.share) == ("blind", BLIND_SHARE)
    assert dict(governor.status.distrusted) == {"skin": "gone"}
    assert "gone" in governor.status.describe()
    device.skin_c = 31.0
    device.wait(governor, 180)
    assert governor.status.state == "free"
    assert [status.state for status in device.told] == ["blind", "holding", "free"]


def test_a_sensor_that_jumps_to_nonsense_is_not_believed() -> None:
    device = Device()
    governor = device.governor()
    device.wait(governor, 60)
    device.skin_c = 127.0
    device.wait(governor, 2)
    assert governor.status is not None
    assert governor.status.state == "blind"
    assert dict(governor.status.distrusted) == {"skin": "out of range"}


def test_androids_headroom_stands_for_a_missing_sensor() -> None:
    device = Device(skin_c=None, headroom=0.5)
    governor = device.governor()
    assert device.wait(governor, 60).duty == 1.0
    assert governor.status is not None
    assert governor.status.sensor == "headroom"
    device.headroom = 0.95
    assert device.wait(governor, 120).duty < 1.0


def test_a_headroom_told_again_is_no_new_reading() -> None:
    """49 °C told again for ten seconds is one slip, and no emergency."""
    device = Device(skin_c=None, headroom=0.8)
    governor = device.governor()
    device.wait(governor, 20)
    device.headroom = 1.05
    for age_s in range(10):
        device.headroom_age_s = float(age_s)
        device.wait(governor, 1)
        assert governor.status is not None
        assert governor.status.state != "emergency"
    device.headroom_age_s = 0.0
    device.wait(governor, 1)
    assert governor.status.state == "emergency"


@pytest.mark.parametrize("chip_c", [None, 50.0])
def test_that_nothing_stands_for_the_skin_is_said_once_all_have_answered(chip_c: float | None) -> None:
    device = Device(skin_c=None, chip_c=chip_c, is_complete=False)
    governor = device.governor(expects_skin=True, set_point_c=40.0)
    device.wait(governor, 10)
    assert device.told == []
    device.is_complete = True
    device.wait(governor, 10)
    (told,) = device.told
    assert not told.holds_limit
    assert "40 °C, which is without effect" in told.describe()
    device.skin_c = 30.0
    device.wait(governor, 10)
    assert [status.holds_limit for status in device.told] == [False, True]


def test_a_sensor_that_was_there_once_is_missed_as_one_that_is_gone() -> None:
    device = Device()
    governor = device.governor(expects_skin=True)
    device.wait(governor, 10)
    device.skin_c = None
    device.wait(governor, 10)
    assert governor.status is not None
    assert (governor.status.state, governor.status.holds_limit) == ("blind", True)


def test_where_no_skin_is_expected_nothing_is_said_of_it() -> None:
    device = Device(skin_c=None, chip_c=50.0)
    device.wait(device.governor(), 10)
    assert device.told == []


def test_with_only_a_chip_its_limit_counts() -> None:
    device = Device(skin_c=None, chip_c=70.0)
    governor = device.governor()
    assert device.wait(governor, 30) == FixedGovernor(4).limits()
    device.chip_c = 90.0
    device.wait(governor, 30)
    assert governor.status is not None
    assert (governor.status.state, governor.status.reason) == ("holding", "chip")


def test_a_low_battery_saves_at_background_first() -> None:
    device = Device(battery=Battery(0.15, False, None, None, None, None, "test"))
    limits = device.wait(device.governor(), 3)
    assert limits.duty == 0.7
    assert limits.duty * limits.background_duty == 0.5
    assert limits.coalesce_s == 5.0
    assert limits.may_hurry
    assert device.wait(device.governor(screen_off=True), 3).coalesce_s == 15.0


def test_headroom_does_not_bring_back_the_skin_sensor_that_it_comes_from() -> None:
    device = Device(headroom=0.5)
    governor = device.governor()
    device.wait(governor, 60)
    device.skin_c = 127.0
    device.wait(governor, 60)
    assert governor.status is not None
    assert governor.status.state == "blind"
    device.skin_c = None
    device.wait(governor, 60)
    assert governor.status.state == "blind"


def test_headroom_that_never_moves_under_a_steady_load_is_found_out() -> None:
    device = Device(skin_c=None, headroom=0.5)
    governor = device.governor()
    busy_s = 0.0

    def busy() -> float:
        return busy_s

    governor.busy_s = busy
    for _ in range(1200):
        busy_s += governor.limits().duty
        device.now_s += 1.0
    assert governor.status is not None
    assert (governor.status.state, dict(governor.status.distrusted)) == ("blind", {HEADROOM: "stuck"})


def test_while_a_sensor_is_tried_out_the_state_stays_and_the_reason_is_told() -> None:
    device = Device(skin_c=38.4)
    governor = device.governor()
    while governor.status is None or governor.status.reason != "sensor test":
        device.wait(governor, 1)
        assert device.now_s < 400
    assert governor.status.state == "free"
    assert governor.status.share == pytest.approx(DIP, abs=0.01)
    device.skin_c = 38.3
    device.wait(governor, 1)
    assert (governor.status.reason, governor.status.share) == ("cool", 1.0)
