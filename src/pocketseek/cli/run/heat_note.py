"""The lines that say that the pace has fallen or that nothing runs, and why; and what --json says of heat.

Of one command, or one chat: that the pace fell is told once, after the answer. That the temperature cannot be read, or
that nothing runs, is told every time it begins and every time it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

from pocketseek.cli import messages
from pocketseek.cli.console import note
from pocketseek.cli.messages import Words
from pocketseek.cli.run import heat_messages
from pocketseek.cli.run.heat_limit import LimitNote

if TYPE_CHECKING:
    from pocketseek.govern.thermal_governor import ThermalStatus

_STANDSTILLS = ("emergency", "unreachable")


class HeatNote:
    """`see` what is known of heat before the first and after every answer. A standstill is told at once, by `watching`
    while an answer is waited for, and that it goes on after that."""

    def __init__(self, words: Words, *, every_s: float = 1.0) -> None:
        self._words = words
        self._every_s = every_s
        self._limit = LimitNote(words)
        self._fall_is_told = False
        self._blindness_is_told = False
        self._num_falls_seen = 0

    def see(self, status: ThermalStatus | None) -> None:
        if status is None:
            return
        self._limit.see(status)
        if status.state == "blind":
            self._see_blind(status)
            return
        if self._blindness_is_told and (status.state not in _STANDSTILLS or status.skin_c is not None):
            self._blindness_is_told = False
            note(self._words(heat_messages.HEAT_READABLE_AGAIN))
        if status.num_falls > self._num_falls_seen and not self._fall_is_told:
            self._fall_is_told = True
            note(describe(status, self._words))

    def _see_blind(self, status: ThermalStatus) -> None:
        """The pace fell for that, and not for heat."""
        self._num_falls_seen = status.num_falls
        if not self._blindness_is_told:
            self._blindness_is_told = True
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
                told, self._fall_is_told = state, True
            elif told is not None and state not in _STANDSTILLS:
                note(self._words(heat_messages.HEAT_GOES_ON))
                told = None


def describe(status: ThermalStatus, words: Words) -> str:
    percent = f"{100 * status.share:.0f}"
    if status.state == "blind":
        return words(heat_messages.HEAT_BLIND, percent=percent)
    if status.state in _STANDSTILLS:
        return _standstill(status, words)
    if status.reason == "sensor test":
        return words(heat_messages.HEAT_SENSOR_TEST, percent=percent)
    if status.reason == "chip" and status.chip_c is not None:
        limit = f"{status.chip_limit_c:g}"
        return words(heat_messages.HEAT_CHIP, percent=percent, celsius=f"{status.chip_c:.0f}", limit=limit)
    return words(
        heat_messages.HEAT_SLOWER, percent=percent, celsius=_skin(status, words), limit=f"{status.set_point_c:g}"
    )


def _skin(status: ThermalStatus, words: Words) -> str:
    if status.skin_c is None:
        return words(messages.UNKNOWN)
    message = heat_messages.HEAT_RECKONED if status.sensor == "headroom" else heat_messages.HEAT_CELSIUS
    return words(message, celsius=f"{status.skin_c:.1f}")


def _standstill(status: ThermalStatus, words: Words) -> str:
    by_skin = status.skin_c is not None and status.skin_c > status.set_point_c
    celsius, limit_c = (status.skin_c, status.set_point_c) if by_skin else (status.chip_c, status.chip_limit_c)
    message = heat_messages.HEAT_STOP if by_skin else heat_messages.HEAT_CHIP_STOP
    if status.state == "unreachable":
        message = heat_messages.HEAT_UNREACHABLE if by_skin else heat_messages.HEAT_CHIP_UNREACHABLE
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
            "holds_limit": status.holds_limit,
        }
    }
