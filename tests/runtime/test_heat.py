"""What is put together for a device, by made-up roots."""

from pathlib import Path

import pytest

from pocketseek.errors import UsageError
from pocketseek.govern.governor import FixedGovernor
from pocketseek.runtime.heat import connect, watch_heat

INNER = FixedGovernor(2)


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
    program = tmp_path / "data/data/com.termux/files/usr/bin/termux-battery-status"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    watch = watch_heat(INNER, tmp_path / "home", root=tmp_path)
    assert watch.thermal is not None
    assert watch.governor.limits().duty == 1.0


def test_clocks_that_were_capped_are_put_back(tmp_path: Path) -> None:
    zone(tmp_path, "skin-therm", 31.0)
    cap = policy(tmp_path)
    watch = watch_heat(INNER, tmp_path / "home", root=tmp_path)
    assert watch.clocks is not None
    watch.clocks.apply(0.5)
    assert int(cap.read_text()) < 3_000_000
    watch.close()
    assert int(cap.read_text()) == 3_000_000
