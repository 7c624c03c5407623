"""One look at the sensors becomes one figure for each kind, or none."""

import pytest

from pocketseek.apps.report.reading import heat_of_looks, look_at
from pocketseek.apps.report.record import Heat
from pocketseek.device.sensor_facts import Battery, SensorFacts, Temperature


def battery(*, charging: bool | None, power_w: float | None) -> Battery:
    return Battery(0.5, charging, power_w, None, None, None, "test")


def facts(*temperatures: Temperature, of: Battery | None = None, package_power_w: float | None = None) -> SensorFacts:
    return SensorFacts(1.0, temperatures, of, ((0, 1e9), (4, 3e9)), package_power_w=package_power_w)


def hot(name: str, kind: str, celsius: float) -> Temperature:
    return Temperature(name, kind, celsius, name)  # type: ignore[arg-type]  # one of the kinds


def test_the_hottest_of_a_kind_counts_and_other_kinds_do_not() -> None:
    look = look_at(facts(hot("a", "soc", 50), hot("b", "soc", 61), hot("c", "skin", 33), hot("d", "other", 99)))
    assert (look.skin_c, look.battery_c, look.soc_c) == (33, None, 61)
    assert look.frequency_hz == 3e9


def test_the_skin_is_the_one_that_the_governor_holds() -> None:
    look = look_at(facts(hot("skin-therm", "skin", 41), hot("xo-therm", "skin", 60), hot("b", "battery", 35)))
    assert (look.skin_c, look.battery_c) == (41, 35)
    assert look_at(facts(hot("b", "battery", 35))).skin_c is None


@pytest.mark.parametrize(
    ("of", "package_w", "expected"),
    [
        (None, None, (None, None, "no sensor")),
        (battery(charging=False, power_w=3.0), 9.0, (3.0, "battery", None)),
        (battery(charging=True, power_w=-5.0), None, (None, None, "charging")),
        (battery(charging=True, power_w=-5.0), 9.0, (9.0, "processor", None)),
        (battery(charging=None, power_w=3.0), None, (None, None, "no sensor")),
        (battery(charging=False, power_w=None), None, (None, None, "no sensor")),
    ],
)
def test_a_battery_tells_power_only_while_it_is_known_to_give_it(
    of: Battery | None, package_w: float | None, expected: tuple[float | None, str | None, str | None]
) -> None:
    look = look_at(facts(of=of, package_power_w=package_w))
    assert (look.power_w, look.power_source, look.power_gap) == expected


def test_heat_is_rest_peak_and_end_of_what_was_seen() -> None:
    rest, peak, end = (look_at(facts(hot("a", "soc", celsius))) for celsius in (40.0, 70.0, 65.0))
    blind = look_at(SensorFacts(0.0))
    assert heat_of_looks([rest, blind], [peak, end, blind]) == (Heat("soc", 40.0, 70.0, 65.0),)
    assert heat_of_looks([], [end]) == (Heat("soc", None, 65.0, 65.0),)
    assert heat_of_looks([blind], [blind]) == ()
