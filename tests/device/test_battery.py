"""What drivers of batteries say, in their units and with their signs, as one battery; and the same from Termux:API."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensor_trees import KIRIN, MEDIATEK, PC, PIXEL, SNAPDRAGON, TERMUX_BATTERY, THERMAL_SERVICE, battery, charger

from pocketseek.device.android_reports import parse_low_power, parse_termux_battery, parse_thermal_service
from pocketseek.device.battery import SystemBattery
from pocketseek.device.battery_units import CurrentUnit, TemperatureUnit, volts
from pocketseek.device.sensor_facts import Battery

FakeRoot = Callable[[Mapping[str, object]], Path]


def read(root: Path) -> Battery:
    found, _ = SystemBattery(root).read()
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("tree", "level", "charging", "power_w"),
    [
        (SNAPDRAGON, 0.76, False, 0.812 * 3.912),  # uA, below 0 while discharging
        (MEDIATEK, 0.41, True, -2.310 * 4.105),  # mA and mV, above 0 while charging
        (KIRIN, 0.88, False, 0.512 * 4.021),  # mA, below 0 while discharging
        (PC, (0.5 * 40 + 1.0 * 20) / 60, False, 9.12),  # two, one at rest; the mouse does not count
    ],
    ids=["snapdragon", "mediatek", "kirin", "pc"],
)
def test_level_charging_and_power_of_a_device(
    fake_root: FakeRoot, tree: Mapping[str, object], level: float, charging: bool, power_w: float
) -> None:
    found = read(fake_root(tree))
    assert (found.level, found.charging) == (pytest.approx(level), charging)
    assert found.power_w == pytest.approx(power_w)


def test_a_battery_that_is_neither_charged_nor_drained_has_no_known_power(fake_root: FakeRoot) -> None:
    found = read(fake_root(PIXEL))
    assert (found.power_w, found.charging) == (None, True)
    assert found.source == "/sys/class/power_supply/battery"  # its fuel gauge is not a second one


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("status", "direction"), [("Discharging", 1), ("Charging", -1)])
def test_the_direction_comes_from_the_status_whatever_the_sign(
    fake_root: FakeRoot, sign: int, status: str, direction: int
) -> None:
    found = read(fake_root(battery(status=status, current_now=sign * 700_000, voltage_now=4_000_000)))
    assert found.power_w == pytest.approx(direction * 2.8)


@pytest.mark.parametrize(("online", "charging"), [(1, True), (0, False)])
def test_without_a_clear_status_the_charger_tells(fake_root: FakeRoot, online: int, charging: bool) -> None:
    assert read(fake_root(battery(status="Unknown", capacity=50) | charger("usb", online))).charging is charging


def test_files_are_read_where_uevent_says_less(fake_root: FakeRoot) -> None:
    folder = "sys/class/power_supply/battery"
    files = {"type": "Battery", "status": "Full", "capacity": 100, "temp": 301}
    root = fake_root({f"{folder}/{name}": value for name, value in files.items()})
    found, readings = SystemBattery(root).read()
    assert found == Battery(1.0, True, None, None, None, None, f"/{folder}")
    assert [temperature.celsius for temperature in readings.temperatures] == [30.1]


def test_without_a_battery_there_is_none(fake_root: FakeRoot) -> None:
    assert SystemBattery(fake_root(charger("AC", 1, "Mains"))).read()[0] is None


@pytest.mark.parametrize("fields", [{"present": 0}, {"scope": "Device"}])
def test_empty_slots_and_batteries_of_mice_do_not_count(fake_root: FakeRoot, fields: dict[str, object]) -> None:
    files = {f"sys/class/power_supply/BAT9/{name}": value for name, value in fields.items()}
    assert SystemBattery(fake_root(battery("BAT9", capacity=5, status="Discharging") | files)).read()[0] is None


def test_a_battery_says_no_impossible_temperature(fake_root: FakeRoot) -> None:
    _, readings = SystemBattery(fake_root(battery(capacity=50, temp=-2730))).read()
    assert (readings.temperatures, readings.complaints) == (
        (),
        ("battery battery says -2730: no temperature, or in an unknown unit",),
    )


@pytest.mark.parametrize(
    ("raws", "celsius"),
    [
        ([312], 31.2),
        ([31_250], 31.25),
        ([-12_000], -12.0),
        ([31], None),  # 3.1 or 31 °C
        ([105, 98, -40], -4.0),  # it gets cold outside
        ([30_000, 9_000], 9.0),
        ([312, 31_200], None),
        ([65_535_000], None),
    ],
)
def test_a_temperature_has_the_unit_that_its_size_tells_once(raws: list[int], celsius: float | None) -> None:
    unit = TemperatureUnit()
    *_, last_c = [unit.celsius(raw) for raw in raws]
    assert last_c == celsius


# Units


def test_microamperes_are_recognised_for_good() -> None:
    unit = CurrentUnit()
    assert unit.drawn_a(-700_000, "Discharging") == 0.7
    assert unit.drawn_a(-900, "Discharging") == 0.0009


@given(milliamperes=st.integers(1, 5000), sign=st.sampled_from([1, -1]))
def test_any_current_of_a_phone_is_read_in_either_unit(milliamperes: int, sign: int) -> None:
    assert CurrentUnit().drawn_a(sign * milliamperes, "DISCHARGING") == milliamperes / 1e3
    if milliamperes > 5:  # less is drawn by nobody who asks
        assert CurrentUnit().drawn_a(sign * milliamperes * 1000, "DISCHARGING") == pytest.approx(milliamperes / 1e3)


@pytest.mark.parametrize(
    ("raw", "voltage_v"), [(3_912_000, 3.912), (4105, 4.105), (11_400_000, 11.4), (0, None), (-4, None), (4, None)]
)
def test_volts(raw: int, voltage_v: float | None) -> None:
    assert volts(raw) == voltage_v


# Android's programs


def test_termux_battery_status_is_read() -> None:
    found, temperatures = parse_termux_battery(TERMUX_BATTERY, CurrentUnit())
    assert found == Battery(
        0.88, False, pytest.approx(1.6926, abs=1e-4), 0.421875, 4.012, None, "termux-battery-status"
    )
    assert [(t.kind, t.celsius) for t in temperatures] == [("battery", pytest.approx(31.6))]


def test_termux_without_a_voltage_gives_a_current_and_no_power() -> None:
    text = json.dumps({"percentage": 50, "plugged": "PLUGGED_AC", "status": "CHARGING", "current": 1200})
    found, temperatures = parse_termux_battery(text, CurrentUnit())
    assert found == Battery(0.5, True, None, -1.2, None, None, "termux-battery-status")
    assert temperatures == ()


@pytest.mark.parametrize("plugged", ["PLUGGED_USB", "UNPLUGGED"])
def test_a_full_or_resting_battery_is_fed_if_it_is_plugged(plugged: str) -> None:
    found, _ = parse_termux_battery(json.dumps({"plugged": plugged, "status": "NOT_CHARGING"}), CurrentUnit())
    assert found is not None
    assert found.charging is (plugged != "UNPLUGGED")


@pytest.mark.parametrize("text", [None, "", "[]", "{", '{"present": false}', "[" * 100_000, "1" * 300_000])
def test_what_is_no_answer_of_termux_is_no_battery(text: str | None) -> None:
    assert parse_termux_battery(text, CurrentUnit()) == (None, ())


json_values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers()))


@given(
    fields=st.dictionaries(
        st.sampled_from(["percentage", "plugged", "status", "temperature", "current", "voltage", "present"]),
        json_values,
    )
)
def test_no_answer_makes_reading_it_fail(fields: dict[str, object]) -> None:
    found, temperatures = parse_termux_battery(json.dumps(fields), CurrentUnit())
    assert found is None or found.level is None or 0 <= found.level <= 1
    assert all(-35 < temperature.celsius < 125 for temperature in temperatures)


def test_of_the_thermal_service_the_values_of_this_moment_count() -> None:
    report = parse_thermal_service(THERMAL_SERVICE)
    assert (report.status, report.headroom) == (1, (37.5 - 45 + 30) / 30)
    assert [(t.name, t.kind, t.celsius) for t in report.temperatures] == [
        ("AP", "soc", 44.8),
        ("BAT", "battery", 32.2),
        ("SKIN", "skin", 37.5),
    ]


@pytest.mark.parametrize("text", [None, "", "Permission Denial: can't dump thermalservice from pid=1, uid=10234"])
def test_where_the_thermal_service_may_not_be_asked_all_is_unknown(text: str | None) -> None:
    report = parse_thermal_service(text)
    assert (report.status, report.headroom, report.temperatures) == (None, None, ())


@given(text=st.text())
def test_no_dump_makes_reading_it_fail(text: str) -> None:
    parse_thermal_service("Current temperatures from HAL:\n" + text)
    parse_thermal_service(text + THERMAL_SERVICE)


@pytest.mark.parametrize(("text", "saver"), [("1\n", True), ("0", False), ("null\n", False), ("", None), (None, None)])
def test_battery_saver(text: str | None, saver: bool | None) -> None:
    assert parse_low_power(text) is saver
