"""What a report takes from a look at the sensors: one temperature for each kind, one power, one frequency."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pocketseek.apps.report.record import Heat, HeatKind, PowerGap, PowerSource
from pocketseek.device.sensor_facts import SensorFacts
from pocketseek.govern.choose_sensors import choose_sensors

KINDS: tuple[HeatKind, ...] = ("skin", "battery", "soc")


@dataclass(frozen=True)
class Look:
    """None: not to be had. power_w: of power_source; power_gap: why there is none."""

    skin_c: float | None
    battery_c: float | None
    soc_c: float | None
    frequency_hz: float | None
    power_w: float | None
    power_source: PowerSource | None
    power_gap: PowerGap | None

    def celsius(self, kind: HeatKind) -> float | None:
        return {"skin": self.skin_c, "battery": self.battery_c, "soc": self.soc_c}[kind]


def look_at(facts: SensorFacts) -> Look:
    """A battery tells what the device takes only while nothing charges it; it goes before the processor's own count."""
    choice = choose_sensors(facts)  # as the governor does: a board near the chip is no skin where there is a better one
    skin_c = None if choice.kind == "battery" else choice.set_point_c
    battery_c = max((one.celsius for one in facts.temperatures if one.kind == "battery"), default=None)
    soc_c = choice.soc_c
    frequency_hz = max((hz for _, hz in facts.frequencies_hz), default=None)
    battery = facts.battery
    power_w: float | None = None
    source: PowerSource | None = None
    if battery is not None and battery.charging is False and battery.power_w is not None:
        power_w, source = battery.power_w, "battery"
    elif facts.package_power_w is not None:
        power_w, source = facts.package_power_w, "processor"
    gap: PowerGap | None = None
    if power_w is None:
        gap = "charging" if battery is not None and battery.charging else "no sensor"
    return Look(skin_c, battery_c, soc_c, frequency_hz, power_w, source, gap)


def heat_of_looks(at_rest: Sequence[Look], later: Sequence[Look]) -> tuple[Heat, ...]:
    """For every kind that was seen. idle_c: the last look at rest; peak and end are of all looks."""
    found: list[Heat] = []
    for kind in KINDS:
        rest = _known(look.celsius(kind) for look in at_rest)
        seen = rest + _known(look.celsius(kind) for look in later)
        if seen:
            found.append(Heat(kind, rest[-1] if rest else None, max(seen), seen[-1]))
    return tuple(found)


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
