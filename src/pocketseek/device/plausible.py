"""Whether a temperature sensor can be believed, from its own history. One object per sensor.

- "out of range": at or below -20 °C, at or above 120 °C: a device that computes is not that cold, and a chip switches
  itself off before.
- "jump": faster than physics allows for the kind: a chip changes by up to 40 °C within a second when load comes or
  goes, a battery or a skin by 0.5 °C/s (a flame would do more; the glitch of a converter always does). A sensor is
  allowed 2 °C besides for its steps. A jump is not forgiven because it lasts: a lasting one must be good for RECOVER_S.
- "stuck": the same reading to the last digit for STUCK_S while the caller says that it should have moved.
- "gone": no reading.

A sensor that was anything but good is good again after RECOVER_S seconds of good readings only; until then the last
trouble's name is given.
"""

from __future__ import annotations

from typing import Literal

from pocketseek.device.sensor_facts import Kind

Judgement = Literal["good", "stuck", "jump", "out of range", "gone"]

LOWEST_C, HIGHEST_C = -20.0, 120.0
FASTEST_C_PER_S: dict[Kind, float] = {"skin": 0.5, "battery": 0.5, "soc": 40.0, "other": 40.0}
STEP_C = 2.0
STUCK_S: dict[Kind, float] = {"skin": 300.0, "battery": 600.0, "soc": 60.0, "other": 600.0}
RECOVER_S = 30.0


class Plausible:
    """Times of calls must not fall."""

    def __init__(self, kind: Kind = "skin") -> None:
        self._fastest_c_per_s = FASTEST_C_PER_S[kind]
        self._stuck_s = STUCK_S[kind]
        self._last: tuple[float, float] | None = None
        self._moved_s: float | None = None
        self._trouble: Judgement = "good"
        self._good_since_s: float | None = None

    def judge(self, value_c: float | None, time_s: float, *, should_move: bool = True) -> Judgement:
        """should_move: whether load or other sensors change, so that this one cannot stand still."""
        judgement = self._look(value_c, time_s, should_move=should_move)
        if judgement != "good":
            self._trouble, self._good_since_s = judgement, None
            return judgement
        if self._trouble == "good":
            return "good"
        if self._good_since_s is None:
            self._good_since_s = time_s
        if time_s - self._good_since_s >= RECOVER_S:
            self._trouble = "good"
        return self._trouble

    def _look(self, value_c: float | None, time_s: float, *, should_move: bool) -> Judgement:
        if value_c is None:
            return "gone"
        if not LOWEST_C < value_c < HIGHEST_C:
            return "out of range"
        before, self._last = self._last, (value_c, time_s)
        if before is None or value_c != before[0] or not should_move or self._moved_s is None:
            self._moved_s = time_s
        if before is not None and abs(value_c - before[0]) > STEP_C + self._fastest_c_per_s * (time_s - before[1]):
            return "jump"
        return "stuck" if time_s - self._moved_s >= self._stuck_s else "good"
