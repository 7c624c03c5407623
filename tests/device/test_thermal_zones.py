"""Units, nonsense and disabled zones; and what part of a device a name stands for."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensor_trees import zones

from pocketseek.device.sensor_names import kind_of, skin_rank
from pocketseek.device.thermal_zones import ThermalZones

FakeRoot = Callable[[Mapping[str, object]], Path]


def celsius_of(root: Path) -> list[float]:
    return [temperature.celsius for temperature in ThermalZones(root).read().temperatures]


@pytest.mark.parametrize(
    ("raw", "trip", "celsius"),
    [
        (45123, None, 45.123),
        (-5000, None, -5.0),
        (312, None, 31.2),
        (45, None, 45.0),
        (45, 60, 45.0),
        (120, 95, 120.0),  # without the trip the same
        (120, 650, 12.0),  # tenths
        (900, 95000, 0.9),  # thousandths, just above freezing
        (312, 95000, 0.312),
    ],
)
def test_the_unit_comes_from_the_trip_points_else_from_the_size(
    fake_root: FakeRoot, raw: int, trip: int | None, celsius: float
) -> None:
    more: dict[str, object] = {} if trip is None else {"trip_point_0_temp": 0, "trip_point_1_temp": trip}
    assert celsius_of(fake_root(zones([("cpu-0", raw, more)]))) == [celsius]


@given(milli=st.integers(1000, 124_999))
def test_thousandths_of_any_usual_temperature_are_read_as_such(
    tmp_path_factory: pytest.TempPathFactory, milli: int
) -> None:
    zone = tmp_path_factory.mktemp("zone") / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu-0\n")
    (zone / "temp").write_text(f"{milli}\n")
    assert celsius_of(zone.parents[3]) == [milli / 1000]


@pytest.mark.parametrize("raw", [0, -40000, -273200, 125000, 127000, 255000, 2147483647, -127])
def test_placeholders_are_no_temperatures(fake_root: FakeRoot, raw: int) -> None:
    readings = ThermalZones(fake_root(zones([("cpu-0", raw)]))).read()
    assert readings.temperatures == ()
    assert readings.complaints == (f"thermal_zone0 (cpu-0) says {raw}: no temperature",)


def test_a_disabled_zone_counts_where_no_other_of_its_kind_is(fake_root: FakeRoot) -> None:
    off: dict[str, object] = {"mode": "disabled"}
    readings = ThermalZones(
        fake_root(zones([("cpu-0", 41000, off), ("cpu-1", 42000), ("xo-therm", 39000, off)]))
    ).read()
    assert [temperature.name for temperature in readings.temperatures] == ["cpu-1", "xo-therm"]
    assert readings.complaints == ("thermal_zone0 (cpu-0) is disabled",)


def test_zones_are_in_the_order_of_their_numbers(fake_root: FakeRoot) -> None:
    listed = [(f"cpu-{number}", 40000 + number) for number in range(12)]
    assert celsius_of(fake_root(zones(listed))) == [temp / 1000 for _, temp in listed]


KINDS = {
    "skin": "skin-therm skin-msm-therm VIRTUAL-SKIN skin_therm1 shell_front quiet-therm quiet_therm neutral_therm"
    " xo-therm mtktsAP AP_NTC board_sensor_temp",
    "battery": "battery Battery BAT0 BAT batt_therm mtktsbattery bms",
    "soc": "cpu-0-0 cpu-1-3-usr cpuss-2 gpuss-0 gpu aoss-0 nspss-1 tsens_tz_sensor4 mtktscpu soc_max soc-thermal"
    " soc_thermal BIG LITTLE MID G3D TPU apc_1 cluster0 cpu-thermal x86_pkg_temp coretemp k10temp",
    "other": "pm8550_tz modem-0 wlan-therm usb-therm cam-flash-therm VIRTUAL-SKIN-HINT acpitz nvme iwlwifi_1 conn_therm"
    " battery-charger-therm charger_skin_therm pa-therm0 ddr",
}


@pytest.mark.parametrize(("kind", "names"), sorted(KINDS.items()))
def test_names_of_makers_tell_the_kind(kind: str, names: str) -> None:
    assert {name: kind_of(name) for name in names.split()} == dict.fromkeys(names.split(), kind)


@pytest.mark.parametrize("name", ["soc", "socd", "ibat-low", "vbat", "vph-pwr", "pm8550-ibat-lvl0", "pm8350b-bcl-lvl2"])
def test_limits_of_the_battery_are_no_temperatures(name: str) -> None:
    assert kind_of(name) is None


def test_a_skin_sensor_is_better_than_a_quiet_place_is_better_than_the_board() -> None:
    names = ("VIRTUAL-SKIN", "quiet-therm", "xo-therm", "cpu-0")
    assert [skin_rank(name) for name in names] == [0, 1, 2, None]


@given(name=st.text(max_size=60))
def test_every_name_has_an_answer(name: str) -> None:
    assert kind_of(name) in ("skin", "battery", "soc", "other", None)
