"""Work that can wait for weeks waits for power and coolness."""

import pytest

from pocketseek.device.sensor_facts import Battery, Kind, SensorFacts, Temperature
from pocketseek.govern.idle_work import LEAST_LEVEL, WARM_C, idle_work_allowed


def battery(level: float | None, *, charging: bool | None = False, saver: bool | None = None) -> Battery:
    return Battery(level, charging, None, None, None, saver, "test")


def facts(
    power: Battery | None = None, celsius: float | None = None, kind: Kind = "skin", status: int | None = None
) -> SensorFacts:
    heat = () if celsius is None else (Temperature("sensor", kind, celsius, "/x"),)
    return SensorFacts(0.0, heat, power, thermal_status=status)


@pytest.mark.parametrize(
    ("power", "allowed"),
    [
        (None, True),
        (battery(0.1, charging=True), True),
        (battery(LEAST_LEVEL + 0.01), True),
        (battery(LEAST_LEVEL), False),
        (battery(0.9, saver=True), False),
        (battery(None), False),
        (battery(None, charging=None), False),
    ],
)
def test_it_needs_mains_or_half_a_battery(power: Battery | None, allowed: bool) -> None:
    assert idle_work_allowed(facts(power)) is allowed


@pytest.mark.parametrize("kind", ["skin", "battery"])
def test_it_waits_while_anything_felt_is_warm(kind: Kind) -> None:
    assert idle_work_allowed(facts(celsius=WARM_C - 0.1, kind=kind))
    assert not idle_work_allowed(facts(celsius=WARM_C, kind=kind))


def test_a_chip_is_always_warm() -> None:
    assert idle_work_allowed(facts(celsius=60.0, kind="soc"))


def test_it_waits_while_android_is_hot() -> None:
    assert idle_work_allowed(facts(status=0))
    assert not idle_work_allowed(facts(status=1))
