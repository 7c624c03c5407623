"""What sensors say, as plain values. Nothing here judges: `device/plausible.py` does, and the governor decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["skin", "battery", "soc", "other"]


@dataclass(frozen=True)
class Temperature:
    """One sensor's reading. name: as the driver calls it; source: the file or program it came from, unlike any other's.

    kind: "skin" is what a hand would feel, or the thermistor that stands for it; "soc" is on the chip itself.
    age_s: how long before the look it was told, by a program that is asked now and then.
    """

    name: str
    kind: Kind
    celsius: float
    source: str
    age_s: float = 0.0


@dataclass(frozen=True)
class Battery:
    """All batteries of the device as one; None: unknown.

    level: 0 to 1. charging: whether power comes in from outside, also when nothing more is charged. power_w, current_a:
    above 0 is drawn from the battery, below 0 goes into it, whatever the driver's sign. saver: whether the battery
    saver is on.
    """

    level: float | None
    charging: bool | None
    power_w: float | None
    current_a: float | None
    voltage_v: float | None
    saver: bool | None
    source: str


@dataclass(frozen=True)
class CoolingDevice:
    """Something the system slows down or speeds up against heat (a processor, a fan): step 0 is "not at all"."""

    name: str
    type: str
    step: int
    max_step: int


@dataclass(frozen=True)
class SensorFacts:
    """One look at all sensors. time_s: on the clock of the reader.

    frequencies_hz: (core, frequency now). cpu_pressure: share of the last ten seconds in which a task waited for a
    processor. thermal_status: Android's 0 (none) to 6 (shutdown). thermal_headroom: Android's, 1.0 is where severe
    throttling begins; thermal_headroom_age_s: how long before the look it was told. package_power_w: what the processor
    draws, mean since the look before (PCs that let us read it).
    complaints: sensors that were left out, and why; in English, for whoever looks after the device. is_complete: False
    while a program, or Android, may still tell a first temperature.
    """

    time_s: float
    temperatures: tuple[Temperature, ...] = ()
    battery: Battery | None = None
    frequencies_hz: tuple[tuple[int, float], ...] = ()
    cpu_pressure: float | None = None
    thermal_status: int | None = None
    thermal_headroom: float | None = None
    thermal_headroom_age_s: float = 0.0
    package_power_w: float | None = None
    cooling: tuple[CoolingDevice, ...] = ()
    complaints: tuple[str, ...] = ()
    is_complete: bool = True


@dataclass(frozen=True)
class Readings:
    """What one group of sensors gave, and what it had to leave out."""

    temperatures: tuple[Temperature, ...] = ()
    complaints: tuple[str, ...] = ()
