"""What Android's own programs print about heat and battery. Parsed strictly; anything else is unknown.

termux-battery-status (Termux:API) works for everybody who installed it. `dumpsys thermalservice` and `settings get`
answer only to root and to a shell opened through adb (ThermalManagerService lets nobody else dump it; the settings
provider asks for a permission that apps do not have), so most phones leave these unknown.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

from pocketseek.device.battery_units import CurrentUnit, is_fed, volts
from pocketseek.device.sensor_facts import Battery, Kind, Temperature
from pocketseek.device.thermal_zones import is_temperature

_LARGEST_TEXT = 1 << 18
_TERMUX = "termux-battery-status"
_THERMAL = "dumpsys thermalservice"
_STATUS = re.compile(r"^\s*Thermal Status: (\d)\s*$", re.MULTILINE)
_TEMPERATURE = re.compile(r"Temperature\{mValue=(-?\d+(?:\.\d+)?), mType=(\d+), mName=([^,}]{1,60})")
_THRESHOLDS = re.compile(
    r"TemperatureThreshold\{(?:mType|type)\s*=\s*(\d+), (?:mName|name)\s*=\s*([^,}]{1,60}),"
    r" (?:mHotThrottlingThresholds|hotThrottlingThresholds)\s*=\s*\[([^\]]{1,300})\]"
)
# android.os.Temperature: 0 CPU, 1 GPU, 2 BATTERY, 3 SKIN, 9 NPU, 10 TPU, 13 SOC; 6 to 8 are limits of the battery
_KINDS: dict[str, Kind] = {"0": "soc", "1": "soc", "2": "battery", "3": "skin", "9": "soc", "10": "soc", "13": "soc"}
_NO_TEMPERATURES = frozenset({"6", "7", "8"})
_SEVERE = 3  # of the seven thresholds
_DEGREES_OF_ONE = 30.0  # headroom 0 is 30 degrees below the severe threshold, 1 at it (PowerManager.getThermalHeadroom)


@dataclass(frozen=True)
class ThermalReport:
    status: int | None = None
    headroom: float | None = None
    temperatures: tuple[Temperature, ...] = ()


def parse_thermal_service(text: str | None) -> ThermalReport:
    """The output of `dumpsys thermalservice`; the values that the hardware gives now, not the cached ones."""
    if text is None:
        return ThermalReport()
    text = text[:_LARGEST_TEXT]
    status = _STATUS.search(text)
    current = text.partition("Current temperatures from HAL:")[2].partition("Current cooling devices")[0]
    temperatures = tuple(_temperatures(current))
    return ThermalReport(int(status[1]) if status else None, _headroom(text, temperatures), temperatures)


def parse_termux_battery(text: str | None, unit: CurrentUnit) -> tuple[Battery | None, tuple[Temperature, ...]]:
    """The JSON of termux-battery-status: percentage, plugged, status, temperature, current (uA), maybe voltage (mV)."""
    fields = _json_object(text)
    if fields is None or fields.get("present") is False:
        return None, ()
    status = str(fields.get("status", "")).replace("_", " ")
    plugged = fields.get("plugged")
    percentage, current, millivolts = (_number(fields.get(key)) for key in ("percentage", "current", "voltage"))
    voltage_v = volts(round(millivolts)) if millivolts is not None else None
    current_a = unit.drawn_a(round(current) if current is not None else None, status)
    battery = Battery(
        level=percentage / 100 if percentage is not None and 0 <= percentage <= 100 else None,
        charging=is_fed(status, plugged != "UNPLUGGED" if isinstance(plugged, str) else None),
        power_w=current_a * voltage_v if current_a is not None and voltage_v is not None else None,
        current_a=current_a,
        voltage_v=voltage_v,
        saver=None,
        source=_TERMUX,
    )
    celsius = _number(fields.get("temperature"))
    known = celsius is not None and is_temperature(celsius)
    return battery, (Temperature("battery", "battery", celsius, _TERMUX),) if known and celsius is not None else ()


def parse_low_power(text: str | None) -> bool | None:
    """The output of `settings get global low_power`; "null" is what was never switched on."""
    return {"0": False, "1": True, "null": False}.get((text or "").strip())


def _temperatures(text: str) -> list[Temperature]:
    found = []
    for value, kind, name in _TEMPERATURE.findall(text):
        celsius = float(value)
        if kind not in _NO_TEMPERATURES and is_temperature(celsius):
            found.append(Temperature(name, _KINDS.get(kind, "other"), celsius, f"{_THERMAL}: {name}"))
    return found


def _headroom(text: str, temperatures: tuple[Temperature, ...]) -> float | None:
    """The greatest of the skin sensors', as PowerManager.getThermalHeadroom(0) would give it."""
    severe_c = {}
    for kind, name, numbers in _THRESHOLDS.findall(text):
        values = [_float(number) for number in numbers.split(",")]
        if kind == "3" and len(values) > _SEVERE and (threshold_c := values[_SEVERE]) is not None:
            severe_c[name] = threshold_c
    rooms = [
        (temperature.celsius - severe_c[temperature.name] + _DEGREES_OF_ONE) / _DEGREES_OF_ONE
        for temperature in temperatures
        if temperature.kind == "skin" and temperature.name in severe_c
    ]
    return max(0.0, *rooms) if rooms else None


def _float(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _json_object(text: str | None) -> dict[str, object] | None:
    if text is None or len(text) > _LARGEST_TEXT:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e12:
        return None
    return float(value) if math.isfinite(value) else None
