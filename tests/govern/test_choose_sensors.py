"""Which sensor the set point is compared with, on every made-up device."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from sensor_trees import KIRIN, MEDIATEK, PC, PIXEL, RASPBERRY_PI, SNAPDRAGON, THERMAL_SERVICE

from pocketseek.device.android_reports import parse_thermal_service
from pocketseek.device.sensor_facts import Kind, SensorFacts, Temperature
from pocketseek.device.sensors import Sensors
from pocketseek.govern.choose_sensors import choose_sensors


def look(root: Path, tree: Mapping[str, object]) -> SensorFacts:
    for name, value in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{value}\n")
    return Sensors(root).read()


def facts_of(*sensors: tuple[str, Kind, float]) -> SensorFacts:
    return SensorFacts(0.0, tuple(Temperature(name, kind, celsius, f"/{name}") for name, kind, celsius in sensors))


@pytest.mark.parametrize(
    ("tree", "kind", "set_point_c", "soc_c"),
    [
        (SNAPDRAGON, "skin", 38.25, 63.9),
        (MEDIATEK, "battery", 33.0, 59.5),
        (KIRIN, "skin", 37.1, 61.0),
        (PIXEL, "skin", 37.4, 66.0),
        (RASPBERRY_PI, "none", None, 55.35),
        (PC, "none", None, 61.0),
        ({}, "none", None, None),
    ],
    ids=["snapdragon", "mediatek", "kirin", "pixel", "raspberry-pi", "pc", "nothing"],
)
def test_the_choice_on_a_device(
    tmp_path: Path, tree: Mapping[str, object], kind: str, set_point_c: float | None, soc_c: float | None
) -> None:
    choice = choose_sensors(look(tmp_path, tree))
    assert (choice.kind, choice.set_point_c, choice.soc_c) == (kind, set_point_c, soc_c)
    assert choice.reason


def test_the_next_best_is_taken_when_the_best_cannot_be_believed() -> None:
    facts = facts_of(
        ("cpu-0", "soc", 60.0),
        ("xo-therm", "skin", 44.0),
        ("battery", "battery", 36.0),
        ("quiet-therm", "skin", 40.0),
        ("skin-therm", "skin", 39.0),
    )
    distrusted: set[str] = set()
    kinds = []
    for _ in range(5):
        choice = choose_sensors(facts, distrusted)
        kinds.append((choice.kind, choice.set_point_c))
        distrusted |= {temperature.source for temperature in choice.set_point}
    assert kinds == [("skin", 39.0), ("quiet", 40.0), ("battery", 36.0), ("board", 44.0), ("none", None)]


def test_a_chip_sensor_that_cannot_be_believed_does_not_count() -> None:
    facts = facts_of(("cpu-0", "soc", 60.0), ("cpu-1", "soc", 110.0))
    assert choose_sensors(facts, {"/cpu-1"}).soc_c == 60.0


def test_what_android_calls_skin_is_skin_whatever_its_name() -> None:
    dump = THERMAL_SERVICE.replace("mName=SKIN", "mName=therm7")
    choice = choose_sensors(SensorFacts(0.0, parse_thermal_service(dump).temperatures))
    assert (choice.kind, choice.set_point_c) == ("skin", 37.5)
