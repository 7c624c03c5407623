"""What is put together for a device, by made-up roots."""

import logging
from functools import partial
from pathlib import Path

import pytest

from pocketseek.device.sensors import Sensors
from pocketseek.errors import UsageError
from pocketseek.govern.governor import FixedGovernor
from pocketseek.govern.thermal_governor import ThermalGovernor, ThermalStatus
from pocketseek.runtime import heat
from pocketseek.runtime.heat import connect, watch_heat

INNER = FixedGovernor(2)
API = "data/data/com.termux/files/usr/bin/termux-battery-status"


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Of sensors and governor; programs answer at once."""
    clock = Clock()
    monkeypatch.setattr(heat, "Sensors", partial(Sensors, clock=clock, start=lambda work: work()))
    monkeypatch.setattr(heat, "ThermalGovernor", partial(ThermalGovernor, clock=clock))
    return clock


def program(root: Path, name: str, script: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def phone(root: Path) -> None:
    """As an app finds Android: the programs are there and refuse."""
    for name in ("dumpsys", "settings"):
        program(root, f"system/bin/{name}", "echo 'Permission Denial: can not dump' >&2; exit 255")


def looks(watch: heat.HeatWatch, clock: Clock, count: int = 8) -> ThermalStatus:
    for _ in range(count):
        watch.governor.limits()
        clock.now_s += 1.0
    assert watch.thermal is not None
    assert watch.thermal.status is not None
    return watch.thermal.status


def battery_file(root: Path, **fields: object) -> None:
    folder = root / "sys/class/power_supply/battery"
    folder.mkdir(parents=True)
    for name, value in {"type": "Battery", "status": "Discharging", "capacity": 80, **fields}.items():
        (folder / name).write_text(f"{value}\n")


def zone(root: Path, name: str, celsius: float) -> Path:
    folder = root / "sys/class/thermal/thermal_zone0"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "type").write_text(f"{name}\n")
    (folder / "temp").write_text(f"{round(celsius * 1000)}\n")
    return folder


def policy(root: Path) -> Path:
    folder = root / "sys/devices/system/cpu/cpufreq/policy0"
    folder.mkdir(parents=True)
    for name, khz in (("cpuinfo_min_freq", 300_000), ("cpuinfo_max_freq", 3_000_000), ("scaling_min_freq", 300_000)):
        (folder / name).write_text(f"{khz}\n")
    (folder / "scaling_max_freq").write_text("3000000\n")
    (folder / "scaling_cur_freq").write_text("3000000\n")
    return folder / "scaling_max_freq"


def test_where_nothing_can_be_read_nobody_watches(tmp_path: Path) -> None:
    watch = watch_heat(INNER, tmp_path / "home", root=tmp_path)
    assert watch.governor is INNER
    assert watch.thermal is None
    connect(watch, lambda: 0.0)
    watch.close()


def test_a_skin_sensor_is_watched_at_45_degrees(tmp_path: Path) -> None:
    zone(tmp_path, "skin-therm", 31.5)
    watch = watch_heat(INNER, tmp_path / "home", root=tmp_path)
    assert watch.thermal is not None
    watch.governor.limits()
    assert watch.thermal.status is not None
    assert watch.thermal.status.set_point_c == 45.0
    assert watch.thermal.status.skin_c == pytest.approx(31.5, abs=0.1)


def test_0_switches_it_off(tmp_path: Path) -> None:
    zone(tmp_path, "skin-therm", 60.0)
    assert watch_heat(INNER, tmp_path / "home", limit_c=0.0, root=tmp_path).thermal is None


@pytest.mark.parametrize("limit_c", [5.0, 120.0])
def test_a_limit_that_no_device_could_keep_is_refused(tmp_path: Path, limit_c: float) -> None:
    with pytest.raises(UsageError, match="25 to 80"):
        watch_heat(INNER, tmp_path / "home", limit_c=limit_c, root=tmp_path)


def test_on_android_a_program_may_answer_later(tmp_path: Path) -> None:
    program(tmp_path, API, "exit 1")
    watch = watch_heat(INNER, tmp_path / "home", root=tmp_path)
    assert watch.thermal is not None
    assert watch.governor.limits().duty == 1.0


@pytest.mark.parametrize("limit_c", [40.0, None])
def test_on_a_phone_that_tells_apps_nothing_the_limit_is_said_to_be_without_effect(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture, limit_c: float | None
) -> None:
    phone(tmp_path)
    with caplog.at_level(logging.INFO, logger="pocketseek"):
        status = looks(watch_heat(INNER, tmp_path / "home", limit_c=limit_c, root=tmp_path), clock)
    assert not status.holds_limit
    (line,) = caplog.messages
    assert "without effect" in line
    assert "pocketseek doctor" in line


def test_a_battery_without_a_temperature_holds_no_limit_either(tmp_path: Path, clock: Clock) -> None:
    battery_file(tmp_path)
    status = looks(watch_heat(INNER, tmp_path / "home", limit_c=40.0, root=tmp_path), clock)
    assert (status.holds_limit, status.power) == (False, "battery")


def test_nor_does_a_chip(tmp_path: Path, clock: Clock) -> None:
    zone(tmp_path, "cpu-0-0", 50.0)
    status = looks(watch_heat(INNER, tmp_path / "home", limit_c=40.0, root=tmp_path), clock)
    assert (status.holds_limit, status.chip_c) == (False, 50.0)


def test_a_limit_that_was_asked_for_is_spoken_of_where_nothing_at_all_can_be_read(tmp_path: Path, clock: Clock) -> None:
    assert not looks(watch_heat(INNER, tmp_path / "home", limit_c=40.0, root=tmp_path), clock, 1).holds_limit


def test_a_pc_on_which_nobody_asked_for_a_limit_misses_no_skin(tmp_path: Path, clock: Clock) -> None:
    zone(tmp_path, "x86_pkg_temp", 50.0)
    assert looks(watch_heat(INNER, tmp_path / "home", root=tmp_path), clock).holds_limit


def test_a_phone_whose_battery_tells_its_temperature_holds_it(tmp_path: Path, clock: Clock) -> None:
    phone(tmp_path)
    program(tmp_path, API, """echo '{"percentage": 80, "status": "DISCHARGING", "temperature": 31.5}'""")
    status = looks(watch_heat(INNER, tmp_path / "home", root=tmp_path), clock)
    assert (status.holds_limit, status.sensor) == (True, "battery")


@pytest.mark.parametrize("limit_c", [0.0, None])
def test_the_screen_policy_holds_without_any_sensor_and_without_a_limit(tmp_path: Path, limit_c: float | None) -> None:
    watch = watch_heat(INNER, tmp_path / "home", limit_c=limit_c, screen_off=True, root=tmp_path)
    limits = watch.governor.limits()
    assert (limits.background_duty, limits.coalesce_s) == (0.5, 15.0)
    assert watch.thermal is None


def test_a_low_battery_is_spared_without_a_limit_too(tmp_path: Path) -> None:
    battery_file(tmp_path, capacity=15)
    limits = watch_heat(INNER, tmp_path / "home", limit_c=0.0, root=tmp_path).governor.limits()
    assert (limits.duty, limits.coalesce_s) == (0.7, 5.0)


def test_threads_that_the_executor_cannot_change_are_left_alone(tmp_path: Path, clock: Clock) -> None:
    zone(tmp_path, "skin-therm", 45.5)
    duties = []
    for changes_threads in (True, False):
        watch = watch_heat(INNER, tmp_path / "home", changes_threads=changes_threads, root=tmp_path)
        status = looks(watch, clock, 30)
        duties.append((status.threads, status.duty < 1.0))
    assert duties == [(1, True), (2, True)]


def test_clocks_that_were_capped_are_put_back(tmp_path: Path) -> None:
    zone(tmp_path, "skin-therm", 31.0)
    cap = policy(tmp_path)
    watch = watch_heat(INNER, tmp_path / "home", root=tmp_path)
    assert watch.clocks is not None
    watch.clocks.apply(0.5)
    assert int(cap.read_text()) < 3_000_000
    watch.close()
    assert int(cap.read_text()) == 3_000_000
