"""One look at made-up devices as a whole, how often it is taken, and that nothing a device says makes it fail."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensor_trees import PC, PIXEL, SNAPDRAGON, TERMUX_BATTERY, THERMAL_SERVICE, TREES, zones

from pocketseek.device.android_thermal import AndroidThermal, ThermalTold
from pocketseek.device.sensors import LONGEST_REPEAT_S, SensorFacts, Sensors

FakeRoot = Callable[[Mapping[str, object]], Path]
TERMUX = "data/data/com.termux/files/usr/bin/termux-battery-status"


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Device:
    """Programs that answer at once, in the caller's thread."""

    def __init__(self, answers: dict[str, str | None] | None = None) -> None:
        self.answers = answers or {}
        self.asked: list[str] = []

    def __call__(self, command: Sequence[str]) -> str | None:
        name = Path(command[0]).name
        self.asked.append(name)
        return self.answers.get(name)


def install(root: Path, *programs: str) -> None:
    for name in programs:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)


def look(root: Path, device: Device | None = None) -> SensorFacts:
    sensors = Sensors(root, clock=Clock(), run=device or Device(), start=lambda work: work())
    return sensors.read()


def by_kind(facts: SensorFacts, kind: str) -> dict[str, float]:
    return {t.name: t.celsius for t in facts.temperatures if t.kind == kind}


def test_an_empty_root_knows_nothing_and_complains_of_nothing(tmp_path: Path) -> None:
    assert look(tmp_path) == SensorFacts(time_s=100.0)


EXPECTED = {
    "snapdragon": (
        {"skin-msm-therm": 38.25, "xo-therm": 41.007, "quiet-therm": 39.1, "board_sensor_temp": 37.65},
        {"aoss-0": 43.2, "cpu-0-0-0": 51.1, "cpu-1-4-1": 63.9, "gpuss-0": 47.0, "nsphvx-0": 45.0},
        {"battery": 33.4},
    ),
    "mediatek": (
        {"mtktsAP": 41.0},
        {"mtktscpu": 58.0, "soc_max": 59.5},
        {"mtktsbattery": 33.0, "battery": 33.0},
    ),
    "kirin": (
        {"system_h": 40.0, "shell_front": 36.0, "shell_frame": 37.1},
        {"soc_thermal": 52.0, "cluster0": 54.0, "cluster1": 61.0, "gpu": 50.0},
        {"Battery": 31.5},
    ),
    "pixel": (
        {
            "skin_therm1": 37.012,
            "skin_therm2": 36.544,
            "quiet_therm": 38.9,
            "neutral_therm": 35.9,
            "VIRTUAL-SKIN": 37.4,
        },
        {"BIG": 66.0, "MID": 60.0, "LITTLE": 57.0, "G3D": 49.0, "TPU": 45.0},
        {"battery": 32.8},
    ),
    "raspberry-pi": ({}, {"cpu-thermal": 55.35}, {}),
    "pc": ({}, {"x86_pkg_temp": 61.0, "coretemp Package id 0": 61.0, "coretemp Core 0": 59.0}, {}),
}


@pytest.mark.parametrize("name", sorted(TREES))
def test_temperatures_of_a_device_by_kind(fake_root: FakeRoot, name: str) -> None:
    facts = look(fake_root(TREES[name]))
    assert (by_kind(facts, "skin"), by_kind(facts, "soc"), by_kind(facts, "battery")) == EXPECTED[name]


@pytest.mark.parametrize("name", sorted(TREES))
def test_no_two_sensors_of_a_device_have_the_same_source(fake_root: FakeRoot, name: str) -> None:
    sources = [t.source for t in look(fake_root(TREES[name])).temperatures]
    assert len(set(sources)) == len(sources) > 0


def test_what_is_no_temperature_is_left_out_with_a_complaint(fake_root: FakeRoot) -> None:
    facts = look(fake_root(SNAPDRAGON))
    assert facts.complaints == (
        "thermal_zone19 (cam-flash-therm) is disabled",
        "thermal_zone6 (modem-lte-sub6-pa1) says -40000: no temperature",
        "thermal_zone7 (sdr0) says -273000: no temperature",
        "thermal_zone18 (wlan-therm) says 125000: no temperature",
    )


def test_limits_of_the_battery_in_the_shape_of_thermal_zones_are_not_even_complained_of(fake_root: FakeRoot) -> None:
    facts = look(fake_root(zones([("soc", 76), ("socd", 24), ("ibat-high", 45000), ("vbat", 39), ("bcl-lvl0", 30)])))
    assert facts == SensorFacts(time_s=100.0)


def test_frequencies_cooling_and_pressure_of_a_device(fake_root: FakeRoot) -> None:
    facts = look(fake_root(SNAPDRAGON))
    assert facts.frequencies_hz == (
        (0, 1228.8e6), (1, 1228.8e6), (2, 2016e6), (3, 2016e6), (4, 2016e6), (7, 3187.2e6),
    )  # fmt: skip
    assert [(c.type, c.step, c.max_step) for c in facts.cooling] == [
        ("cpu-isolate0", 0, 1),
        ("thermal-cpufreq-7", 4, 21),
    ]
    assert facts.cpu_pressure is None


def test_pressure_is_a_share(fake_root: FakeRoot) -> None:
    assert look(fake_root(PC)).cpu_pressure == 0.125


def test_an_early_call_gives_the_same_object(fake_root: FakeRoot) -> None:
    clock = Clock()
    sensors = Sensors(fake_root(PC), clock=clock, interval_s=2.0)
    first = sensors.read()
    clock.now_s += 1.9
    assert sensors.read() is first
    clock.now_s += 0.2
    assert sensors.read().time_s == clock.now_s


def test_a_slow_look_is_taken_more_rarely(fake_root: FakeRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    sensors = Sensors(fake_root(PIXEL), clock=clock)

    def slow(root: Path) -> tuple[tuple[int, float], ...]:
        clock.now_s += 0.2
        return ()

    monkeypatch.setattr("pocketseek.device.sensors.read_frequencies", slow)
    first = sensors.read()
    clock.now_s += 9.9
    assert sensors.read() is first
    clock.now_s += 0.2
    assert sensors.read() is not first


def test_a_look_that_takes_very_long_is_not_told_again_for_ever(
    fake_root: FakeRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    sensors = Sensors(fake_root(PIXEL), clock=clock)

    def very_slow(root: Path) -> tuple[tuple[int, float], ...]:
        clock.now_s += 2.0
        return ()

    monkeypatch.setattr("pocketseek.device.sensors.read_frequencies", very_slow)
    first = sensors.read()
    clock.now_s += LONGEST_REPEAT_S - 0.1
    assert sensors.read() is first
    clock.now_s += 0.2
    assert sensors.read() is not first


def test_what_a_program_told_is_marked_with_its_age_and_what_a_file_says_is_new(fake_root: FakeRoot) -> None:
    root, clock = fake_root(TREES["raspberry-pi"]), Clock()
    install(root, TERMUX, "system/bin/dumpsys")
    device = Device({"termux-battery-status": TERMUX_BATTERY, "dumpsys": THERMAL_SERVICE})
    waiting: list[Callable[[], None]] = []
    sensors = Sensors(root, clock=clock, run=device, start=waiting.append)
    sensors.read()
    while waiting:
        waiting.pop()()
    clock.now_s += 4.0
    ages_s = {one.source: one.age_s for one in sensors.read().temperatures}
    assert ages_s.pop("termux-battery-status") == 4.0
    assert {age_s for source, age_s in ages_s.items() if source.startswith("dumpsys")} == {4.0}
    assert {age_s for source, age_s in ages_s.items() if source.startswith("/sys")} == {0.0}


def test_power_of_a_pc_is_the_mean_since_the_last_look_also_when_the_counter_starts_again(fake_root: FakeRoot) -> None:
    clock = Clock()
    root = fake_root(PC)
    sensors = Sensors(root, clock=clock)
    assert sensors.read().package_power_w is None
    for energy_uj, watts in ((262_100_000_000, 50.0), (20_000_000, 31.66442)):
        clock.now_s += 2.0
        fake_root({"sys/class/powercap/intel-rapl:0/energy_uj": energy_uj})
        assert sensors.read().package_power_w == pytest.approx(watts)


def test_sensors_that_come_later_are_found(fake_root: FakeRoot, tmp_path: Path) -> None:
    clock = Clock()
    sensors = Sensors(tmp_path, clock=clock)
    assert sensors.read().temperatures == ()
    fake_root(PIXEL)
    clock.now_s += 61
    assert by_kind(sensors.read(), "battery") == {"battery": 32.8}


def test_a_sensor_that_vanishes_is_missing_from_the_next_look(fake_root: FakeRoot) -> None:
    clock = Clock()
    root = fake_root(TREES["raspberry-pi"])
    sensors = Sensors(root, clock=clock)
    assert by_kind(sensors.read(), "soc")
    (root / "sys/class/thermal/thermal_zone0/temp").unlink()
    clock.now_s += 2
    facts = sensors.read()
    assert by_kind(facts, "soc") == {}
    assert facts.complaints == ("1 of 1 thermal zones cannot be read",)


def test_folders_that_may_not_be_listed_are_looked_through_by_name(
    fake_root: FakeRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(path: object) -> list[str]:
        raise PermissionError(13, "no")

    monkeypatch.setattr(os, "listdir", forbid)
    facts = look(fake_root(SNAPDRAGON))
    assert (by_kind(facts, "battery"), len(facts.frequencies_hz)) == ({"battery": 33.4}, 6)
    assert by_kind(facts, "skin")["quiet-therm"] == 39.1


# Programs of Android


def test_termux_tells_of_the_battery_where_the_kernel_does_not(tmp_path: Path) -> None:
    install(tmp_path, TERMUX)
    facts = look(tmp_path, Device({"termux-battery-status": TERMUX_BATTERY}))
    assert by_kind(facts, "battery") == {"battery": pytest.approx(31.6)}
    assert facts.battery is not None
    assert facts.battery.power_w == pytest.approx(0.421875 * 4.012)


def test_termux_is_not_started_where_the_kernel_tells(fake_root: FakeRoot) -> None:
    root = fake_root(SNAPDRAGON)
    install(root, TERMUX)
    device = Device({"termux-battery-status": TERMUX_BATTERY})
    assert by_kind(look(root, device), "battery") == {"battery": 33.4}
    assert device.asked == []


def test_nothing_is_started_that_is_not_there(fake_root: FakeRoot) -> None:
    device = Device()
    look(fake_root(SNAPDRAGON), device)
    assert device.asked == []


def test_what_android_knows_of_heat_is_taken_over(fake_root: FakeRoot) -> None:
    root = fake_root({})
    install(root, "system/bin/dumpsys")
    facts = look(root, Device({"dumpsys": THERMAL_SERVICE}))
    assert (facts.thermal_status, facts.thermal_headroom) == (1, 0.75)
    assert by_kind(facts, "skin") == {"SKIN": 37.5}


def test_a_look_is_incomplete_until_those_have_answered_who_may_tell_a_temperature(fake_root: FakeRoot) -> None:
    root, clock = fake_root(SNAPDRAGON), Clock()
    install(root, "system/bin/settings", TERMUX)
    waiting: list[Callable[[], None]] = []
    assert Sensors(root, clock=clock, run=Device(), start=waiting.append).read().is_complete  # the kernel tells
    install(root, "system/bin/dumpsys")
    sensors = Sensors(root, clock=clock, run=Device(), start=waiting.append)
    assert not sensors.read().is_complete
    while waiting:
        waiting.pop()()
    clock.now_s += 1.0
    assert sensors.read().is_complete


class Ndk(AndroidThermal):
    def __init__(self, told: ThermalTold) -> None:
        super().__init__()
        self.told = told

    def read(self) -> ThermalTold:
        return self.told


@pytest.mark.parametrize(
    ("ndk", "expected"),
    [
        (ThermalTold(2, 0.5, 4.0), (2, 0.5, 4.0)),
        (ThermalTold(2), (2, 0.75, 0.0)),
        (ThermalTold(), (1, 0.75, 0.0)),
    ],
)
def test_what_the_ndk_tells_counts_before_what_dumpsys_prints(
    fake_root: FakeRoot, ndk: ThermalTold, expected: tuple[int, float, float]
) -> None:
    root = fake_root({})
    install(root, "system/bin/dumpsys")
    device = Device({"dumpsys": THERMAL_SERVICE})
    sensors = Sensors(root, clock=Clock(), run=device, start=lambda work: work(), thermal=Ndk(ndk))
    facts = sensors.read()
    assert (facts.thermal_status, facts.thermal_headroom, facts.thermal_headroom_age_s) == expected


def test_the_saver_is_known_where_settings_may_be_read(fake_root: FakeRoot) -> None:
    root = fake_root(SNAPDRAGON)
    install(root, "system/bin/settings")
    battery = look(root, Device({"settings": "1\n"})).battery
    assert battery is not None
    assert battery.saver is True


# Hostile devices


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\0", b"9" * 100_000, b"-", b"1e9", b"nan", "４５".encode()])
def test_garbage_in_every_file_is_unknown(fake_root: FakeRoot, content: bytes) -> None:
    tree = {name: value for devices in TREES.values() for name, value in devices.items()}
    root = fake_root(tree)
    for name in tree:
        (root / name).write_bytes(content)
    facts = look(root)
    assert (facts.temperatures, facts.battery, facts.frequencies_hz) == ((), None, ())


def test_pipes_folders_and_loops_in_place_of_files_are_unknown(fake_root: FakeRoot) -> None:
    root = fake_root(zones([("cpu-0", 1), ("cpu-1", 1), ("cpu-2", 1), ("cpu-3", 41000)]))
    files = [root / f"sys/class/thermal/thermal_zone{number}/temp" for number in range(3)]
    for file in files:
        file.unlink()
    os.mkfifo(files[0])
    files[1].mkdir()
    files[2].symlink_to(files[2])
    facts = look(root)
    assert by_kind(facts, "soc") == {"cpu-3": 41.0}
    assert facts.complaints == ("3 of 4 thermal zones cannot be read",)


@given(name=st.text(min_size=1, max_size=80), temp=st.text(max_size=30))
def test_no_name_and_no_value_makes_a_look_fail(tmp_path_factory: pytest.TempPathFactory, name: str, temp: str) -> None:
    root = tmp_path_factory.mktemp("hostile")
    zone = root / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text(name, errors="replace")
    (zone / "temp").write_text(temp, errors="replace")
    for temperature in look(root).temperatures:
        assert temperature.name.isprintable()
        assert -35 < temperature.celsius < 125
