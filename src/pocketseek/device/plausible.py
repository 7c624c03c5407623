"""Whether a temperature sensor can be believed, from its own history. One object per sensor.

- "out of range": at or below -20 °C, at or above 120 °C. A device that computes is not that cold, and a chip switches
  itself off before.
- "jump": further from the last good reading than STEP_C plus what physics allows for the kind in the time since then.
  Of a phone of 200 g (about 180 J/K) 10 W heat the whole by 0.06 °C/s; the bounds for skin and battery are three times
  that and twice that. A chip of some J/K changes by tens of degrees within a second when load comes or goes.
  What a battery shows may be HELD_S old, as Android passes it on, so a reading that was the same for a while counts as
  that much older.
- "stuck": the same reading to the last digit, or a flicker between two (movement.py), for STUCK_S while the caller says
  that it should have moved; three times as long for a sensor that shows whole degrees, which may rightly rest at one.
- "gone": no reading.

What was anything but good is good again after RECOVER_S of nothing but good readings; until then the last trouble keeps
its name. Time is the caller's; if its clock stands still while the device sleeps, the first reading after a long sleep
may count as a jump, for a minute or two.
"""

from __future__ import annotations

from typing import Literal

from pocketseek.device.movement import FASTEST_C_PER_S, Movement
from pocketseek.device.sensor_facts import Kind

Judgement = Literal["good", "stuck", "jump", "out of range", "gone"]

LOWEST_C, HIGHEST_C = -20.0, 120.0
STEP_C = 2.0
STUCK_S: dict[Kind, float] = {"skin": 300.0, "battery": 600.0, "soc": 60.0, "other": 600.0}
COARSE = 3.0  # so much longer for whole degrees
RECOVER_S = 30.0
HELD_S = 300.0


class Plausible:
    """Times of calls must not fall."""

    def __init__(self, kind: Kind = "skin") -> None:
        self._fastest_c_per_s = FASTEST_C_PER_S[kind]
        self._stuck_s = STUCK_S[kind]
        self._held_s = HELD_S if kind == "battery" else 0.0
        self._movement = Movement(kind)
        self._good: tuple[float, float] | None = None
        self._same_since_s = 0.0
        self._is_coarse = True
        self._trouble: Judgement = "good"
        self._fine_since_s: float | None = None

    def judge(self, value_c: float | None, time_s: float, *, should_move: bool = True) -> Judgement:
        """should_move: whether load or other sensors change, so that this one cannot stand still."""
        judgement = self._look(value_c, time_s, should_move=should_move)
        if judgement != "good":
            self._trouble, self._fine_since_s = judgement, None
        elif self._trouble != "good":
            self._fine_since_s = time_s if self._fine_since_s is None else self._fine_since_s
            if time_s - self._fine_since_s >= RECOVER_S:
                self._trouble = "good"
        return self._trouble

    def _look(self, value_c: float | None, time_s: float, *, should_move: bool) -> Judgement:
        if value_c is None:
            return "gone"
        if not LOWEST_C < value_c < HIGHEST_C:  # not a number, too
            return "out of range"
        self._is_coarse = self._is_coarse and value_c == round(value_c)
        if self._movement.see(value_c, time_s) or not should_move:
            self._same_since_s = time_s
        good_c, good_s = self._good or (value_c, time_s)
        if abs(value_c - good_c) > STEP_C + self._fastest_c_per_s * max(0.0, time_s - good_s):
            return "jump"
        self._good = value_c, max(good_s, time_s - self._held_s) if value_c == good_c else time_s
        stuck_s = self._stuck_s * (COARSE if self._is_coarse else 1.0)
        return "stuck" if time_s - self._same_since_s >= stuck_s else "good"
