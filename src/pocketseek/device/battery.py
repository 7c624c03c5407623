"""Batteries as the kernel shows them (/sys/class/power_supply): several are taken together.

Batteries of other devices (a mouse: scope "Device") and slots without one do not count. Phones show one cell several
times, as "battery" and as its fuel gauge (bms, maxfg): where there is a "battery", it alone counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketseek.device.battery_units import CurrentUnit, TemperatureUnit, is_fed, volts
from pocketseek.device.reading import list_names, parse_signed, read_bytes, read_line
from pocketseek.device.sensor_facts import Battery, Readings, Temperature

_FOLDER = "sys/class/power_supply"
_MOST_SUPPLIES = 32
_MAX_NAME = 60
_USUAL_NAMES = ("battery", "Battery", "BAT0", "bms", "usb", "USB", "ac", "AC", "Mains", "wireless")
_FIELDS = ("status", "capacity", "voltage_now", "current_now", "power_now", "temp", "energy_full", "charge_full")


@dataclass(frozen=True)
class _Cell:
    """One battery. weight: how much it holds, for the common level."""

    name: str
    level: float | None
    status: str
    current_a: float | None
    power_w: float | None
    voltage_v: float | None
    weight: float | None
    raw_temperature: int | None


class SystemBattery:
    """Finds the batteries once; `find` again if some may have come."""

    def __init__(self, root: Path) -> None:
        self._folder = root / _FOLDER
        self._units: dict[str, CurrentUnit] = {}
        self._temperature_units: dict[str, TemperatureUnit] = {}
        self.find()

    def find(self) -> None:
        names = list_names(self._folder, _USUAL_NAMES)[:_MOST_SUPPLIES]
        fields = {name: _fields(f"{self._folder}/{name}", ("type", "scope", "present")) for name in names}
        types = {name: found.get("type", "").lower() for name, found in fields.items()}
        batteries = [name for name in names if types[name] == "battery" and _is_ours(fields[name])]
        self._batteries = [name for name in batteries if name.lower() == "battery"] or batteries
        self._chargers = [name for name in names if types[name] not in ("battery", "bms", "")]

    def read(self) -> tuple[Battery | None, Readings]:
        cells = [self._cell(name) for name in self._batteries]
        temperatures, complaints = [], []
        for cell in cells:
            raw, name = cell.raw_temperature, cell.name[:_MAX_NAME]
            if raw is None:
                continue
            celsius = self._temperature_units.setdefault(cell.name, TemperatureUnit()).celsius(raw)
            if celsius is not None:
                temperatures.append(Temperature(name, "battery", celsius, f"/{_FOLDER}/{cell.name}"))
            else:
                complaints.append(f"battery {name} says {raw}: no temperature, or in an unknown unit")
        return self._together(cells), Readings(tuple(temperatures), tuple(complaints))

    def _together(self, cells: list[_Cell]) -> Battery | None:
        if all(cell.level is None and cell.power_w is None and not cell.status for cell in cells):
            return None
        fed = [is_fed(cell.status, self._plugged()) for cell in cells]
        return Battery(
            level=_common_level(cells),
            charging=True if True in fed else fed[0],
            power_w=_sum([cell.power_w for cell in cells]),
            current_a=_sum([cell.current_a for cell in cells]),
            voltage_v=next((cell.voltage_v for cell in cells if cell.voltage_v is not None), None),
            saver=None,
            source=", ".join(f"/{_FOLDER}/{cell.name}" for cell in cells),
        )

    def _plugged(self) -> bool | None:
        online = [read_line(f"{self._folder}/{name}/online") for name in self._chargers]
        known = [value != "0" for value in online if value is not None]
        return any(known) if known else None

    def _cell(self, name: str) -> _Cell:
        fields = _fields(f"{self._folder}/{name}")
        numbers = {key: parse_signed(value) for key, value in fields.items()}
        status = fields.get("status", "")
        voltage_v = volts(numbers.get("voltage_now"))
        unit = self._units.setdefault(name, CurrentUnit())
        current_a = unit.drawn_a(numbers.get("current_now"), status)
        capacity = numbers.get("capacity")
        return _Cell(
            name=name,
            level=capacity / 100 if capacity is not None and 0 <= capacity <= 100 else None,
            status=status,
            current_a=current_a,
            power_w=_power_w(numbers.get("power_now"), status, current_a, voltage_v),
            voltage_v=voltage_v,
            weight=numbers.get("energy_full") or numbers.get("charge_full"),
            raw_temperature=numbers.get("temp"),
        )


def _is_ours(fields: Mapping[str, str]) -> bool:
    return fields.get("scope") != "Device" and fields.get("present") != "0"


def _fields(folder: str, needed: Sequence[str] = _FIELDS) -> Mapping[str, str]:
    """What `uevent` says in one go, and the files for what it does not say."""
    found = {}
    for line in (read_bytes(f"{folder}/uevent") or b"").decode("utf-8", "replace").splitlines():
        key, equals, value = line.partition("=")
        if equals and key.startswith("POWER_SUPPLY_"):
            found[key.removeprefix("POWER_SUPPLY_").lower()] = value.strip()
    for key in needed:
        if key not in found and (text := read_line(f"{folder}/{key}")) is not None:
            found[key] = text
    return found


def _power_w(raw_uw: int | None, status: str, current_a: float | None, voltage_v: float | None) -> float | None:
    if raw_uw == 0 or (raw_uw is not None and status.lower() in ("charging", "discharging")):
        return abs(raw_uw) / 1e6 * (1 if status.lower() == "discharging" else -1)
    return current_a * voltage_v if current_a is not None and voltage_v is not None else None


def _common_level(cells: list[_Cell]) -> float | None:
    """Weighted by what each holds, if all say so."""
    levels = [cell.level for cell in cells if cell.level is not None]
    if len(levels) != len(cells):
        return None
    weights = [cell.weight for cell in cells if cell.weight is not None and cell.weight > 0]
    if len(weights) != len(cells):
        weights = [1.0] * len(cells)
    return sum(level * weight for level, weight in zip(levels, weights, strict=True)) / sum(weights)


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None
