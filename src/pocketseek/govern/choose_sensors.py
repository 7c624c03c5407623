"""Which temperatures the set point and the chip's limit are compared with, and why.

In this order: sensors that stand for the skin (modelled or measured as such, then a thermistor in a quiet place of the
board), the battery's, a thermistor of the board near the chip (some degrees too hot, so on the safe side), Android's
headroom. Where there is none of them only the chip's own limit is left. Several of the same rank count together: the
hottest rules.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from pocketseek.device.sensor_facts import SensorFacts, Temperature
from pocketseek.device.sensor_names import skin_rank
from pocketseek.govern.headroom import HEADROOM

SetPointKind = Literal["skin", "quiet", "battery", "board", "headroom", "none"]
_SKIN_KINDS: tuple[SetPointKind, ...] = ("skin", "quiet", "board")
_ORDER: tuple[SetPointKind, ...] = ("skin", "quiet", "battery", "board", "headroom")
_REASONS: dict[SetPointKind, str] = {
    "skin": "the sensor that stands for the skin",
    "quiet": "no skin sensor; a thermistor in a quiet place of the board stands for it",
    "battery": "no skin sensor; the battery's is nearest to it",
    "board": "no skin or battery sensor; a thermistor of the board, which reads some degrees too high",
    "headroom": "no sensor that can be read; Android's thermal headroom stands for the skin",
    "none": "no sensor near the skin; only the chip's own limit holds",
}


@dataclass(frozen=True)
class SensorChoice:
    """set_point: the sensors for the set point, soc: those for the chip's limit; of each the hottest rules."""

    kind: SetPointKind
    set_point: tuple[Temperature, ...]
    soc: tuple[Temperature, ...]
    reason: str

    @property
    def set_point_c(self) -> float | None:
        return max((temperature.celsius for temperature in self.set_point), default=None)

    @property
    def set_point_age_s(self) -> float:
        """Of the newest."""
        return min((temperature.age_s for temperature in self.set_point), default=0.0)

    @property
    def soc_age_s(self) -> float:
        return min((temperature.age_s for temperature in self.soc), default=0.0)

    @property
    def soc_c(self) -> float | None:
        return max((temperature.celsius for temperature in self.soc), default=None)


def choose_sensors(facts: SensorFacts, distrusted: Collection[str] = ()) -> SensorChoice:
    """distrusted: sources of sensors that cannot be believed now."""
    trusted = [temperature for temperature in facts.temperatures if temperature.source not in distrusted]
    soc = tuple(temperature for temperature in trusted if temperature.kind == "soc")
    for kind in _ORDER:
        found = tuple(temperature for temperature in trusted if _kind_of(temperature) == kind)
        if found:
            return SensorChoice(kind, found, soc, _REASONS[kind])
    return SensorChoice("none", (), soc, _REASONS["none"])


def _kind_of(temperature: Temperature) -> SetPointKind:
    if temperature.source == HEADROOM:
        return "headroom"
    if temperature.kind == "battery":
        return "battery"
    if temperature.kind != "skin":
        return "none"
    return _SKIN_KINDS[skin_rank(temperature.name) or 0]  # Android says of itself which of its sensors are the skin's
