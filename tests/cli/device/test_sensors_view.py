"""`device --sensors` on made-up devices: every fact in a row, in both languages, and all of it as JSON."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from sensor_trees import PC, RASPBERRY_PI, SNAPDRAGON, THERMAL_SERVICE

from pocketseek.cli.device import sensors_view
from pocketseek.cli.device.sensors_view import sensor_rows
from pocketseek.cli.messages import Words
from pocketseek.device.android_reports import parse_thermal_service
from pocketseek.device.sensors import Battery, SensorFacts, Sensors


def build(root: Path, tree: Mapping[str, object]) -> Sensors:
    for name, value in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{value}\n")
    return Sensors(root)


def rows_of(root: Path, tree: Mapping[str, object], language: str = "en") -> dict[str, str]:
    return dict(sensor_rows(build(root, tree).read(), Words(language)))


def test_a_phone_in_rows(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, SNAPDRAGON)
    assert rows["set point"] == "38.2 °C (skin-msm-therm, board_sensor_temp): stands for the skin"
    assert rows["chip"] == "63.9 °C (cpu-1-4-1), hottest of 5"
    assert rows["battery"] == "33.4 °C, 76%, on battery, 3.2 W drawn"
    assert rows["frequencies"] == "0-1: 1.2 GHz, 2-4: 2.0 GHz, 7: 3.2 GHz"
    assert rows["cooling at work"] == "thermal-cpufreq-7 4/21"
    assert "cam-flash-therm" in rows["left out"]


def test_a_computer_without_skin_says_so(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, RASPBERRY_PI)
    assert rows["set point"] == "no sensor near the skin; the chip's limit alone holds"
    assert "battery" not in rows


def test_rows_in_chinese(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, PC, "zh")
    assert rows["等待处理器"] == "12% 的时间"
    assert rows["电池"] == "67%, 使用电池, 放电 9.1 W"


def test_what_android_and_the_saver_say(tmp_path: Path) -> None:
    report = parse_thermal_service(THERMAL_SERVICE)
    facts = SensorFacts(
        0.0,
        report.temperatures,
        Battery(0.15, True, -7.5, None, None, True, "x"),
        thermal_status=report.status,
        thermal_headroom=report.headroom,
    )
    rows = dict(sensor_rows(facts, Words("en")))
    assert rows["Android's thermal status"] == "1 of 6, headroom used 75%"
    assert rows["battery"] == "32.2 °C, 15%, external power, 7.5 W into it, saver on"


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    assert rows_of(tmp_path, {}) == {"set point": "no sensor can be read"}


@pytest.mark.parametrize(("api", "is_told"), [(False, True), (True, False)])
def test_termux_without_its_api_is_told_what_would_help(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], api: bool, is_told: bool
) -> None:
    commands = tmp_path / "data/data/com.termux/files/usr/bin"
    commands.mkdir(parents=True)
    if api:
        (commands / "termux-battery-status").touch()
    sensors_view.show_sensors("en", sensors=Sensors(tmp_path / "empty"), root=tmp_path)
    assert ("pkg install termux-api" in capsys.readouterr().err) is is_told


def test_json_has_everything(run: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sensors = build(tmp_path / "root", SNAPDRAGON)
    monkeypatch.setattr(sensors_view, "Sensors", lambda: sensors)
    shown = run("device", "--sensors", "--json").json
    assert shown["set_point"]["kind"] == "skin"
    assert shown["set_point"]["soc_celsius"] == 63.9
    assert shown["battery"]["level"] == 0.76
    assert len(shown["temperatures"]) == 13
    assert shown["thermal_headroom"] is None


def test_watching_looks_again_until_it_is_ended(run: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sensors = build(tmp_path / "root", SNAPDRAGON)
    monkeypatch.setattr(sensors_view, "Sensors", lambda: sensors)
    left = [None, None]

    def sleep(seconds: float) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop()

    monkeypatch.setattr(time, "sleep", sleep)
    ended = run("device", "--watch")
    assert (ended.code, ended.out.count("set point\t")) == (0, 3)


def test_watching_and_json_exclude_each_other(run: Callable) -> None:
    assert "choose one" in run("device", "--watch", "--json").error
