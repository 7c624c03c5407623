"""Another governor's limits, with what the battery alone asks for taken off: for where nobody watches the heat.

`ThermalGovernor` does both. See power_policy.py for what is allowed when.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from pocketseek.device.sensor_facts import Battery
from pocketseek.govern.governor import Governor
from pocketseek.govern.power_policy import power_policy, with_power
from pocketseek.types import Limits

POWER_LOOK_S = 10.0  # a battery changes slowly


class PowerGovernor:
    """One thread asks; between two looks the answer stays the same object while the inner one does."""

    def __init__(
        self,
        inner: Governor,
        battery: Callable[[], Battery | None],
        *,
        screen_off: bool = False,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._inner = inner
        self._battery = battery
        self._screen_off = screen_off
        self._clock = clock
        self._power = power_policy(None, screen_off=screen_off)
        self._looked_s: float | None = None
        self._answer: tuple[Limits, Limits] | None = None  # the inner limits, and what was made of them

    def limits(self) -> Limits:
        inner, now_s = self._inner.limits(), self._clock()
        if self._looked_s is None or now_s - self._looked_s >= POWER_LOOK_S:
            self._looked_s = now_s
            self._see(self._battery())
        if self._answer is None or self._answer[0] is not inner:
            self._answer = inner, with_power(inner, self._power)
        return self._answer[1]

    def _see(self, battery: Battery | None) -> None:
        power = power_policy(battery, screen_off=self._screen_off)
        if power != self._power:
            self._power, self._answer = power, None
