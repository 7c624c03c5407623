"""One look at everything that tells how hot and how loaded the device is. Reads, never decides; never waits.

A look costs some hundred small files on a phone, and some of them ask a chip: `read` gives the same object again until
`interval_s` has passed, and 50 times what the look before took, so that sensors cost no more than 2 % of a core; but
never for longer than LONGEST_REPEAT_S. Programs run in a thread of their own (`device/programs.py`), and what they told
is marked with its age. Android's own functions (`device/android_thermal.py`) are called here and only where `root` is
"/". Where sysfs says nothing of the battery, Termux:API
does; both are never mixed. `root` stands for "/".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from pocketseek.device.android_reports import parse_low_power, parse_termux_battery, parse_thermal_service
from pocketseek.device.android_thermal import NOTHING, AndroidThermal
from pocketseek.device.battery import SystemBattery
from pocketseek.device.battery_units import CurrentUnit
from pocketseek.device.frequencies import PackagePower, read_frequencies
from pocketseek.device.hwmon import read_hwmon
from pocketseek.device.pressure import recent_share
from pocketseek.device.programs import Program, Programs, Run, Start, Told, run_program
from pocketseek.device.reading import read_bytes
from pocketseek.device.sensor_facts import Battery, CoolingDevice, Kind, Readings, SensorFacts, Temperature
from pocketseek.device.thermal_zones import ThermalZones, read_cooling

__all__ = ["Battery", "CoolingDevice", "Kind", "SensorFacts", "Sensors", "Temperature"]

COST_SHARE = 0.02
LONGEST_REPEAT_S = 30.0  # some sensors are behind slow chips; heat does not wait for them
FIND_AGAIN_S = 60.0
_ROOT = Path("/")
_BATTERY, _THERMAL, _SAVER = "battery", "thermal", "saver"


class Sensors:
    """Keeps where to look. One thread at a time."""

    def __init__(
        self,
        root: str | Path = _ROOT,
        *,
        clock: Callable[[], float] = monotonic,
        run: Run = run_program,
        interval_s: float = 1.0,
        start: Start | None = None,
        thermal: AndroidThermal | None = None,
    ) -> None:
        """run: gives what a command prints, or None. start: runs a function in another thread. thermal: by default that
        of this device."""
        self._root = Path(root)
        self._clock = clock
        self._interval_s = interval_s
        self._zones = ThermalZones(self._root)
        self._battery = SystemBattery(self._root)
        self._power = PackagePower(self._root)
        self._programs = Programs(_programs(self._root), clock=clock, run=run, start=start)
        self._thermal = thermal or (AndroidThermal(clock=clock) if self._root == _ROOT else None)
        self._termux_unit = CurrentUnit()
        self._found_s = clock()
        self._next_s = self._found_s
        self._facts: SensorFacts | None = None

    def read(self) -> SensorFacts:
        now_s = self._clock()
        if self._facts is None or now_s >= self._next_s:
            self._find_again(now_s)
            self._facts = self._look(now_s)
            ended_s = self._clock()
            repeat_s = min((ended_s - now_s) / COST_SHARE, LONGEST_REPEAT_S)
            self._next_s = max(now_s + self._interval_s, ended_s + repeat_s)
        return self._facts

    def read_battery(self) -> Battery | None:
        """That alone, anew at every call."""
        self._find_again(self._clock())
        return self._look_at_battery()[0]

    @property
    def has_programs(self) -> bool:
        """Whether some may still tell what `read` does not know yet."""
        return self._programs.installed

    def settle(self, timeout_s: float = 5.0) -> SensorFacts:
        """For those who look once: waits for the programs, then looks (again)."""
        self.read()
        if self._programs.wait(timeout_s):
            self._next_s = self._clock()
        return self.read()

    def _find_again(self, now_s: float) -> None:
        """Drivers come late, batteries are changed."""
        if now_s - self._found_s >= FIND_AGAIN_S:
            self._found_s = now_s
            self._zones.find()
            self._battery.find()

    def _look(self, now_s: float) -> SensorFacts:
        thermal = self._programs.told(_THERMAL)
        android = parse_thermal_service(_text(thermal))
        ndk = NOTHING if self._thermal is None else self._thermal.read()
        asks_dumpsys = ndk.headroom is None
        battery, battery_readings = self._look_at_battery()
        readings = [self._zones.read(), read_hwmon(self._root, self._zones.names), battery_readings]
        return SensorFacts(
            time_s=now_s,
            temperatures=(
                *(one for reading in readings for one in reading.temperatures),
                *_aged(android.temperatures, thermal),
            ),
            battery=battery,
            frequencies_hz=read_frequencies(self._root),
            cpu_pressure=recent_share(read_bytes(str(self._root / "proc/pressure/cpu"))),
            thermal_status=android.status if ndk.status is None else ndk.status,
            thermal_headroom=android.headroom if asks_dumpsys else ndk.headroom,
            thermal_headroom_age_s=_age_s(thermal) if asks_dumpsys else ndk.headroom_age_s,
            package_power_w=self._power.read(now_s),
            cooling=read_cooling(self._root),
            complaints=tuple(complaint for reading in readings for complaint in reading.complaints),
            is_complete=ndk.is_settled and not self._awaits_programs(battery_readings),
        )

    def _look_at_battery(self) -> tuple[Battery | None, Readings]:
        battery, readings = self._battery.read()
        if battery is None or not readings.temperatures:
            told = self._programs.told(_BATTERY)
            termux, temperatures = parse_termux_battery(_text(told), self._termux_unit)
            if termux is not None:
                battery, readings = termux, Readings(_aged(temperatures, told), readings.complaints)
        if battery is not None:
            battery = dataclasses.replace(battery, saver=parse_low_power(self._programs.ask(_SAVER)))
        return battery, readings

    def _awaits_programs(self, battery: Readings) -> bool:
        awaited = self._programs.is_awaited
        return awaited(_THERMAL) or (not battery.temperatures and awaited(_BATTERY))


def _text(told: Told | None) -> str | None:
    return None if told is None else told.text


def _aged(temperatures: tuple[Temperature, ...], told: Told | None) -> tuple[Temperature, ...]:
    return tuple(dataclasses.replace(temperature, age_s=_age_s(told)) for temperature in temperatures)


def _age_s(told: Told | None) -> float:
    return 0.0 if told is None else told.age_s


def _programs(root: Path) -> list[Program]:
    termux, system = root / "data/data/com.termux/files/usr/bin", root / "system/bin"
    return [
        Program(_BATTERY, (str(termux / "termux-battery-status"),), every_s=10.0),
        Program(_THERMAL, (str(system / "dumpsys"), "thermalservice"), every_s=5.0),
        Program(_SAVER, (str(system / "settings"), "get", "global", "low_power"), every_s=60.0),
    ]
