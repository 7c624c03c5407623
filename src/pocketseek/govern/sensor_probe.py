"""Whether the set point's sensor still moves: tried out by a dip in the work where nothing else tells it. Pure.

A sensor that got stuck under a steady load looks like a phone that has come to rest at its temperature: both show the
same for ever, or flicker between two values (device/movement.py). (Work that changes by itself, or the chip beside it,
gives the stuck one away without this: sensor_trust.) So when the reading has not moved for STUCK_S
(device/plausible.py) at a quarter of full work or more, work is held down to DIP of what it was. The reading changes as
a rule within some ten seconds, and the dip is over; the next one waits twice as long, MOST_WAIT times at most. If it
has not moved although a phone that is hard to warm (LEAST_SLOPE at full work; usual ones have 0.03 to 0.1 °C/s) would
be colder by more than a step of the sensor, it is stuck.

Below a quarter of full work there is nothing to be won: without any sensor the pace would be that (BLIND_SHARE).
"""

from __future__ import annotations

from dataclasses import dataclass

from pocketseek.device.movement import Movement
from pocketseek.device.plausible import STUCK_S

LEAST_WORK, DIP = 0.25, 0.25
LEAST_SLOPE = 0.02  # °C/s
FALL_C, COARSE_FALL_C = 0.3, 1.3
LAG_S, LATE_LAG_S = 20.0, 120.0  # late: a battery
MOST_WAIT = 8.0
_LONGEST_STEP_S = 30.0


@dataclass
class _Dip:
    """work_before: mean share of full work when it began. fall_c: how much colder it should be by now, at least."""

    began_s: float
    work_before: float
    fall_c: float = 0.0


class SensorProbe:
    """Told every look at the set point's sensor, in order."""

    def __init__(self) -> None:
        self._dip: _Dip | None = None
        self._movement = Movement("battery")  # the slower kind; what flickers for that kind does for a skin
        self._reading_c: float | None = None
        self._is_coarse = True
        self._same_since_s = 0.0
        self._time_s: float | None = None
        self._work = 0.0
        self._waits = 1.0

    @property
    def most_share(self) -> float:
        """What work is to be held down to, of full heat."""
        return 1.0 if self._dip is None else DIP * self._dip.work_before

    def update(
        self, reading_c: float | None, work: float, time_s: float, *, is_late: bool = False, age_s: float = 0.0
    ) -> bool:
        """work: the mean share of full work since the last look. age_s: of the reading, which knows nothing of what was
        done since. True: the sensor is stuck, and is to be left out."""
        seconds = 0.0 if self._time_s is None else min(max(0.0, time_s - self._time_s), _LONGEST_STEP_S)
        self._time_s = time_s
        if self._movement.see(reading_c, time_s) or reading_c is None:
            self._moved(reading_c, time_s)
        dip = self._dip
        if dip is None:
            self._wait(work, seconds, time_s)
            return False
        dip.fall_c += LEAST_SLOPE * max(0.0, dip.work_before - work) * seconds
        needed_c = COARSE_FALL_C if self._is_coarse else FALL_C
        lag_s = (LATE_LAG_S if is_late else LAG_S) + age_s
        is_over = dip.fall_c >= needed_c and time_s - dip.began_s >= lag_s
        if is_over:
            self._end_dip(time_s)
        return is_over

    def _moved(self, reading_c: float | None, time_s: float) -> None:
        if self._dip is not None and reading_c is not None:
            self._waits = min(2 * self._waits, MOST_WAIT)
        if reading_c is not None:
            self._is_coarse = self._is_coarse and reading_c == round(reading_c)
        self._reading_c = reading_c
        self._end_dip(time_s)

    def _wait(self, work: float, seconds: float, time_s: float) -> None:
        self._work += (work - self._work) * min(1.0, seconds / LAG_S)
        if self._reading_c is None or self._work < LEAST_WORK:
            self._same_since_s = time_s
        if time_s - self._same_since_s >= STUCK_S["skin"] * self._waits:
            self._dip = _Dip(time_s, self._work)

    def _end_dip(self, time_s: float) -> None:
        self._dip = None
        self._same_since_s = time_s
