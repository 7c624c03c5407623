"""How long to rest after a pass, so that passes run for a share of the time (`Limits.duty`).

Time gives credit, at `duty` seconds a second; a pass takes as much of it as it lasted, and the next one begins when
nothing is owed any more. So a duty that changes during a rest counts from then on, and idle time counts as rest, but
nothing is saved up: after a pause of any length the next pass is followed by a rest.
"""

from __future__ import annotations

import math

_NOTHING_S = 1e-9  # less than a clock of seconds can tell apart after some weeks


class Pace:
    """Of one worker; all times on its clock, in seconds."""

    def __init__(self, now_s: float) -> None:
        self._owed_s = 0.0
        self._at_s = now_s
        self._duty = 1.0

    @property
    def duty(self) -> float:
        return self._duty

    def set_duty(self, duty: float, now_s: float) -> None:
        self._settle(now_s)
        self._duty = min(max(duty, 0.0), 1.0)

    def worked(self, seconds: float, now_s: float) -> None:
        """A pass has just ended that took so long."""
        self._settle(now_s)
        if self._duty < 1.0:
            self._owed_s += seconds * (1.0 - self._duty)  # while it ran the credit came in, too

    def rest_s(self, now_s: float) -> float:
        """How long until the next pass; infinite at duty 0."""
        self._settle(now_s)
        if self._duty == 0.0:
            return math.inf
        return self._owed_s / self._duty

    def forgive(self) -> None:
        """Nothing is owed."""
        self._owed_s = 0.0

    def _settle(self, now_s: float) -> None:
        owed_s = self._owed_s - self._duty * max(0.0, now_s - self._at_s)
        self._owed_s = owed_s if owed_s > _NOTHING_S else 0.0
        self._at_s = now_s
