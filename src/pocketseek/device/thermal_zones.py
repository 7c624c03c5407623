"""The kernel's thermal zones (/sys/class/thermal/thermal_zone*) and cooling devices.

The unit should be a thousandth of a degree, but older drivers of phones give tenths or whole degrees. It is taken from
the zone's trip points, which the kernel compares with the value; without them from the value's size. What cannot be a
temperature is left out, with a complaint: exactly 0, exactly 125 degrees and up, -35 and below are what drivers give
when they have no reading. A zone whose mode is "disabled" is not looked after by the kernel: it is used only where no
other of its kind is. Xiaomi's thermal daemon writes the skin's temperature as it reckons it into a file beside them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pocketseek.device.reading import numbered_folders, read_line, read_signed
from pocketseek.device.sensor_facts import CoolingDevice, Kind, Readings, Temperature
from pocketseek.device.sensor_names import kind_of

COLDEST_C, HOTTEST_C = -35.0, 125.0  # neither belongs to it
_FOLDER = "sys/class/thermal"
_XIAOMI_SKIN = f"{_FOLDER}/thermal_message/board_sensor_temp"
_MAX_TRIPS = 12
_MAX_NAME = 60


@dataclass
class _Zone:
    label: str
    file: str
    source: str
    name: str
    kind: Kind
    disabled: bool
    per_degree: int | None


class ThermalZones:
    """Finds the zones once; `find` again if some may have come."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.find()

    def find(self) -> None:
        folders = numbered_folders(self._root / _FOLDER, "thermal_zone")
        zones = [zone for folder in folders if (zone := _zone(folder))] + _xiaomi(self._root)
        enabled = {zone.kind for zone in zones if not zone.disabled}
        self._zones = [zone for zone in zones if not zone.disabled or zone.kind not in enabled]
        self._complaints = [f"{zone.label} is disabled" for zone in zones if zone.disabled and zone.kind in enabled]

    @property
    def names(self) -> frozenset[str]:
        """As a driver in hwmon would write them."""
        return frozenset(zone.name.replace("-", "_") for zone in self._zones)

    def read(self) -> Readings:
        temperatures, complaints, num_silent = [], list(self._complaints), 0
        for zone in self._zones:
            raw = read_signed(zone.file)
            celsius = _celsius(zone, raw)
            if raw is None:
                num_silent += 1
            elif celsius is not None:
                temperatures.append(Temperature(zone.name, zone.kind, celsius, zone.source))
            else:
                complaints.append(f"{zone.label} says {raw}: no temperature")
        if num_silent:
            complaints.append(f"{num_silent} of {len(self._zones)} thermal zones cannot be read")
        return Readings(tuple(temperatures), tuple(complaints))


def read_cooling(root: Path) -> tuple[CoolingDevice, ...]:
    found = []
    for folder in numbered_folders(root / _FOLDER, "cooling_device"):
        step, max_step = read_signed(f"{folder}/cur_state"), read_signed(f"{folder}/max_state")
        if step is not None and max_step is not None and 0 <= step <= max_step:
            found.append(CoolingDevice(folder.name, (read_line(f"{folder}/type") or "?")[:_MAX_NAME], step, max_step))
    return tuple(found)


def is_temperature(celsius: float) -> bool:
    return COLDEST_C < celsius < HOTTEST_C and celsius != 0


def _zone(folder: Path) -> _Zone | None:
    name = read_line(f"{folder}/type")
    kind = kind_of(name) if name else None
    if name is None or kind is None:
        return None
    name = name[:_MAX_NAME]
    return _Zone(
        label=f"{folder.name} ({name})",
        file=f"{folder}/temp",
        source=f"/{_FOLDER}/{folder.name}",
        name=name,
        kind=kind,
        disabled=read_line(f"{folder}/mode") == "disabled",
        per_degree=_unit_of_trips(tuple(_trips(folder))),
    )


def _xiaomi(root: Path) -> list[_Zone]:
    file = f"{root}/{_XIAOMI_SKIN}"
    if read_signed(file) is None:
        return []
    name = Path(file).name
    return [_Zone(name, file, f"/{_XIAOMI_SKIN}", name, "skin", disabled=False, per_degree=1000)]


def _trips(folder: Path) -> Iterator[int]:
    for number in range(_MAX_TRIPS):
        trip = read_signed(f"{folder}/trip_point_{number}_temp")
        if trip is None:
            return
        yield trip


def _unit_of_trips(trips: tuple[int, ...]) -> int | None:
    """Trip points lie between 30 and 150 degrees; those switched off with 0 or a huge number say nothing."""
    for per_degree in (1000, 10, 1):
        if any(30 * per_degree <= trip <= 150 * per_degree for trip in trips):
            return per_degree
    return None


def _unit_of_value(raw: int) -> int:
    """45000 and 45123 are thousandths, 312 tenths, 45 whole degrees."""
    if abs(raw) >= 1000:
        return 1000
    return 10 if abs(raw) > 150 else 1


def _celsius(zone: _Zone, raw: int | None) -> float | None:
    if raw is None:
        return None
    celsius = raw / (zone.per_degree or _unit_of_value(raw))
    return celsius if is_temperature(celsius) else None
