"""Temperatures of the kernel's hardware monitors (/sys/class/hwmon): PCs, boards. The unit is always 1/1000 degree.

A monitor that only repeats a thermal zone (the same name) is left out.
"""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from pocketseek.device.reading import numbered_folders, read_line, read_signed
from pocketseek.device.sensor_facts import Readings, Temperature
from pocketseek.device.sensor_names import kind_of
from pocketseek.device.thermal_zones import is_temperature

_FOLDER = "sys/class/hwmon"
_MOST_INPUTS = 32
_MAX_NAME = 60


def read_hwmon(root: Path, zone_names: Set[str]) -> Readings:
    temperatures, complaints = [], []
    for folder in numbered_folders(root / _FOLDER, "hwmon"):
        chip = (read_line(f"{folder}/name") or "?")[:_MAX_NAME]
        if chip in zone_names:
            continue
        for number in range(1, _MOST_INPUTS + 1):
            raw = read_signed(f"{folder}/temp{number}_input")
            if raw is None:
                continue
            label = (read_line(f"{folder}/temp{number}_label") or "")[:_MAX_NAME]
            name = f"{chip} {label}".strip()
            if not is_temperature(raw / 1000):
                complaints.append(f"{folder.name} ({name}) says {raw}: no temperature")
            elif kind := kind_of(chip):
                source = f"/{_FOLDER}/{folder.name}/temp{number}_input"
                temperatures.append(Temperature(name, kind, raw / 1000, source))
    return Readings(tuple(temperatures), tuple(complaints))
