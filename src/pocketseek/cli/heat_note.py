"""The lines that say that the pace has fallen or that nothing runs, and why; and what --json says of heat."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

from pocketseek.cli import messages
from pocketseek.cli.console import note
from pocketseek.cli.messages import Words

if TYPE_CHECKING:
    from pocketseek.govern.thermal_governor import ThermalStatus

_STANDSTILLS = ("emergency", "unreachable")


class HeatNote:
    """Of one command: `see` what is known of heat after every answer; it is told once. A standstill is told at once, by
    `watching` while an answer is waited for, and that it goes on after that."""

    def __init__(self, words: Words, *, every_s: float = 1.0) -> None:
        self._words = words
        self._every_s = every_s
        self._is_told = False

    def see(self, status: ThermalStatus | None) -> None:
        if status is None or self._is_told or not status.num_falls:
            return
        self._is_told = True
        note(describe(status, self._words))

    @contextmanager
    def watching(self, look: Callable[[], ThermalStatus | None]) -> Iterator[None]:
        """look: cheap, from any thread. A thread looks every second: a pass that waits for the device to cool sends
        nothing that could be waited for."""
        if look() is None:
            yield
            return
        ended = Event()
        thread = Thread(target=self._watch, args=(look, ended), name="heat note", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _watch(self, look: Callable[[], ThermalStatus | None], ended: Event) -> None:
        told: str | None = None
        while not ended.wait(self._every_s):
            status = look()
            state = status.state if status is not None else "free"
            if status is not None and state in _STANDSTILLS and state != told:
                note("\n" + describe(status, self._words))
                told, self._is_told = state, True
            elif told is not None and state not in _STANDSTILLS:
                note(self._words(messages.HEAT_GOES_ON))
                told = None


def describe(status: ThermalStatus, words: Words) -> str:
    percent = f"{100 * status.share:.0f}"
    if status.state == "blind":
        return words(messages.HEAT_BLIND, percent=percent)
    if status.state in _STANDSTILLS:
        return _standstill(status, words)
    if status.reason == "sensor test":
        return words(messages.HEAT_SENSOR_TEST, percent=percent)
    if status.reason == "chip" and status.chip_c is not None:
        limit = f"{status.chip_limit_c:g}"
        return words(messages.HEAT_CHIP, percent=percent, celsius=f"{status.chip_c:.0f}", limit=limit)
    celsius = words(messages.UNKNOWN) if status.skin_c is None else f"{status.skin_c:.1f} °C"
    return words(messages.HEAT_SLOWER, percent=percent, celsius=celsius, limit=f"{status.set_point_c:g}")


def _standstill(status: ThermalStatus, words: Words) -> str:
    by_skin = status.skin_c is not None and status.skin_c > status.set_point_c
    celsius, limit_c = (status.skin_c, status.set_point_c) if by_skin else (status.chip_c, status.chip_limit_c)
    message = messages.HEAT_STOP if by_skin else messages.HEAT_CHIP_STOP
    if status.state == "unreachable":
        message = messages.HEAT_UNREACHABLE if by_skin else messages.HEAT_CHIP_UNREACHABLE
    shown = words(messages.UNKNOWN) if celsius is None else f"{celsius:.0f} °C"
    return words(message, celsius=shown, limit=f"{limit_c:g}", percent=f"{100 * status.share:.0f}")


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
