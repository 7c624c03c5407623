"""The one line that says that the pace has fallen, and why; and what --json says of heat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketseek.cli import messages
from pocketseek.cli.console import note
from pocketseek.cli.messages import Words

if TYPE_CHECKING:
    from pocketseek.govern.thermal_governor import ThermalStatus


class HeatNote:
    """Of one command: `see` what is known of heat after every answer; it is told once."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._is_told = False

    def see(self, status: ThermalStatus | None) -> None:
        if status is None or self._is_told or not status.num_falls:
            return
        self._is_told = True
        note(describe(status, self._words))


def describe(status: ThermalStatus, words: Words) -> str:
    percent = f"{100 * status.share:.0f}"
    if status.state == "blind":
        return words(messages.HEAT_BLIND, percent=percent)
    if status.state == "emergency":
        return words(messages.HEAT_STOP, limit=f"{status.set_point_c:g}")
    if status.reason == "chip" and status.chip_c is not None:
        limit = f"{status.chip_limit_c:g}"
        return words(messages.HEAT_CHIP, percent=percent, celsius=f"{status.chip_c:.0f}", limit=limit)
    celsius = words(messages.UNKNOWN) if status.skin_c is None else f"{status.skin_c:.1f} °C"
    return words(messages.HEAT_SLOWER, percent=percent, celsius=celsius, limit=f"{status.set_point_c:g}")


def heat_facts(status: ThermalStatus | None) -> dict[str, object]:
    """Nothing where nobody watches."""
    if status is None:
        return {}
    return {
        "heat": {
            "state": status.state,
            "share": status.share,
            "skin_c": status.skin_c,
            "chip_c": status.chip_c,
            "limit_c": status.set_point_c,
        }
    }
