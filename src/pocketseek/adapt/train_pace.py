"""When a training may go on: the pace that heat and battery allow, and if asked, only while charging.

Training is background work: it runs at `Limits.background_duty` of what heat allows, computes for some seconds, and
rests as long as it has to. Nothing is lost by waiting.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pocketseek.device.sensor_facts import Battery
from pocketseek.device.sensors import Sensors
from pocketseek.govern.governor import FixedGovernor, Governor
from pocketseek.runtime.heat import watch_heat
from pocketseek.runtime.pace import Pace
from pocketseek.types import Limits

Waiting = Literal["charging", "heat"]
POLL_S = 2.0
_SHORT_S = 5.0  # of rests that are not worth telling


class TrainingPace:
    """`pause` between pieces of work, which say with `worked` how long they took. battery: asked only if charging is
    waited for; where there is none, or it says nothing, nobody waits."""

    def __init__(
        self,
        governor: Governor | None = None,
        battery: Callable[[], Battery | None] | None = None,
        *,
        tell: Callable[[Waiting | None], None] = lambda waiting: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """tell: what is waited for, when that changes; None: nothing any more."""
        self.busy_s = 0.0
        self.waited_s = 0.0
        self._governor = governor or FixedGovernor(1)
        self._battery = battery
        self._tell = tell
        self._clock = clock
        self._sleep = sleep
        self._pace = Pace(clock())
        self._told: Waiting | None = None

    def worked(self, seconds: float) -> None:
        self.busy_s += seconds
        self._pace.worked(seconds, self._clock())

    def pause(self) -> None:
        """Until the next piece may begin."""
        begun_s = self._clock()
        while True:
            now_s = self._clock()
            self._pace.set_duty(_share(self._governor.limits()), now_s)
            rest_s = self._pace.rest_s(now_s)
            waiting = self._waiting(rest_s)
            if waiting is None and rest_s <= 0.0:
                break
            self._say(waiting)
            self._sleep(POLL_S if waiting == "charging" else min(rest_s, POLL_S))
        self._say(None)
        self.waited_s += self._clock() - begun_s

    def _waiting(self, rest_s: float) -> Waiting | None:
        battery = self._battery() if self._battery is not None else None
        if battery is not None and battery.charging is False:
            return "charging"
        return "heat" if rest_s > _SHORT_S or math.isinf(rest_s) else None

    def _say(self, waiting: Waiting | None) -> None:
        if waiting != self._told:
            self._told = waiting
            self._tell(waiting)


@contextmanager
def device_pace(
    home: Path,
    *,
    num_threads: int,
    while_charging: bool = False,
    limit_c: float | None = None,
    screen_off: bool = False,
    tell: Callable[[Waiting | None], None] = lambda waiting: None,
    root: str | Path = "/",
) -> Iterator[TrainingPace]:
    """Of this device. limit_c: as of `watch_heat`. Raises UsageError for an impossible one."""
    watch = watch_heat(
        FixedGovernor(num_threads), home, limit_c=limit_c, changes_threads=False, screen_off=screen_off, root=root
    )
    try:
        pace = TrainingPace(watch.governor, Sensors(root).read_battery if while_charging else None, tell=tell)
        if watch.thermal is not None:
            watch.thermal.busy_s = lambda: pace.busy_s
        yield pace
    finally:
        watch.close()


def _share(limits: Limits) -> float:
    return limits.duty * limits.background_duty
