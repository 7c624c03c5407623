"""How warm the skin is where only a battery tells, which follows it late, by how much nobody knows.

Beside what heat_observer.py assumes of the skin T:

    ds/dt = (T - s) / L          s: the battery, L: its lag, one of LAGS_S

For each lag there is a Kalman filter over (s, T, f, b), all side by side in one array. Each foretells the readings,
and how well it does so is the evidence for its lag: minus half the square of what it missed them by, in deviations. A
lag is *believed* that is not worse than the best by more than DOUBT; `estimates` has one for each of those, and whoever
wants to be safe does what suits them all. A steady slope says nothing of the lag, as it only shifts s against T; every
change of the work does, the first seconds of an answer above all. What was found is slowly forgotten.

At first the skin may be some degrees away from the battery, for another app may have warmed the phone just before.

Readings show steps as there. Besides, what a battery tells may be old although it is told anew: Android passes on what
it heard last, when its driver announced a change, or up to a minute ago while charging and up to ten minutes else
(AOSP, healthd's periodic chores). So the same reading again says nothing before it is older than the shortest time
between two changes that was seen (MOST_HELD_S to begin with); then it is a bound like any other. Who leaps over
several steps after a longer time has been held for that long.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pocketseek.govern.heat_observer import (
    BOUND_NOISE,
    COARSE_STEP_C,
    DRIFT_B,
    DRIFT_F,
    DRIFT_T,
    EDGE_NOISE_C,
    FINE_STEP_C,
    FIRST_B,
    FIRST_B_DEVIATION,
    FIRST_C_DEVIATION,
    FIRST_F,
    FIRST_F_DEVIATION,
    FOLLOW_S,
    LEAST_GAIN,
    LONGEST_STEP_S,
    MOST_GAIN,
    WORK_LAG_S,
    HeatEstimate,
)

LAGS_S = (10.0, 16.0, 26.0, 42.0, 68.0, 110.0, 180.0, 290.0)  # a true one between two of them is close to both
DOUBT = 2.0
EVIDENCE_SCALE = 4.0  # no phone is quite as assumed, so what it misses is less surprising than it would be
FORGET_S = 900.0
MOST_HELD_S, LEAP_STEPS = 600.0, 3.5
FIRST_AHEAD_DEVIATION_C = 3.0
_MOST_DRIFT_DEVIATION_C = 1.0  # it gets no more uncertain by drift than that
_LAGS_S = np.array(LAGS_S)

Array = NDArray[np.float64]


class LateObserver:
    """Used as HeatObserver is. Times of calls must not fall."""

    def __init__(self, gain: float = FIRST_B) -> None:
        self._x: Array = np.zeros((len(LAGS_S), 4))
        self._x[:, 3] = gain
        self.restart()

    def restart(self) -> None:
        """Another sensor, or a long time later: only how strongly work heats is kept, with doubt."""
        self._time_s: float | None = None
        self._work = 0.0
        self._is_coarse = True
        self._reading_c: float | None = None
        self._same_since_s: float | None = None
        self._held_s = MOST_HELD_S
        self._has_changed = False
        self._x[:, :3] = 0.0, 0.0, FIRST_F
        self._p: Array = np.zeros((len(LAGS_S), 4, 4))
        self._evidence: Array = np.zeros(len(LAGS_S))  # the best has 0

    @property
    def temperature_c(self) -> float:
        """Of the skin, as all of them see it by their evidence."""
        return self._mean(self._x[:, 1])

    @property
    def gain(self) -> float:
        return self._mean(self._x[:, 3])

    @property
    def has_seen(self) -> bool:
        """Whether there is a temperature to go on from."""
        return self._time_s is not None

    @property
    def is_coarse(self) -> bool:
        """Only whole degrees were seen so far."""
        return self._is_coarse

    @property
    def lags_s(self) -> tuple[float, ...]:
        """Those that are believed."""
        return tuple(lag_s for lag_s, evidence in zip(LAGS_S, self._evidence, strict=True) if evidence >= -DOUBT)

    def estimates(self) -> tuple[HeatEstimate, ...]:
        """One for each lag that is believed."""
        rows = zip(self._x, self._p[:, 1, 1], self._evidence, strict=True)
        return tuple(self._estimate(x, variance) for x, variance, evidence in rows if evidence >= -DOUBT)

    def see(self, reading_c: float, work: float, time_s: float) -> None:
        """work: the mean of u since the last call."""
        if self._time_s is None:
            self._begin(reading_c)
        self.go_on(work, time_s)
        self._is_coarse = self._is_coarse and reading_c == round(reading_c)
        step_c = COARSE_STEP_C if self._is_coarse else FINE_STEP_C
        if self._crosses(reading_c, step_c, time_s):
            self._correct(reading_c, step_c, EDGE_NOISE_C)
        elif self._same_since_s is not None and time_s - self._same_since_s >= self._held_s:
            self._correct(reading_c, step_c, EDGE_NOISE_C + BOUND_NOISE * step_c)

    def go_on(self, work: float, time_s: float) -> None:
        """As `see`, but nobody has told the temperature since."""
        if self._time_s is not None:
            self._predict(work, min(time_s - self._time_s, LONGEST_STEP_S))
        self._time_s = time_s

    def _crosses(self, reading_c: float, step_c: float, time_s: float) -> bool:
        """Whether it is another reading than before."""
        if reading_c == self._reading_c:
            return False
        if self._reading_c is not None and self._same_since_s is not None:
            is_leap = abs(reading_c - self._reading_c) > LEAP_STEPS * step_c
            self._note_change(time_s - self._same_since_s, is_leap=is_leap)
        self._reading_c, self._same_since_s = reading_c, time_s
        return True

    def _note_change(self, same_s: float, *, is_leap: bool) -> None:
        if not self._has_changed:  # nobody knows since when it was the same
            self._has_changed = True
        elif same_s < self._held_s or is_leap:
            self._held_s = min(same_s, MOST_HELD_S)

    def _mean(self, values: Array) -> float:
        return float(np.average(values, weights=np.exp(self._evidence)))

    def _estimate(self, x: Array, variance: float) -> HeatEstimate:
        _, temperature_c, own_slope, gain = (float(value) for value in x)
        slope = own_slope + gain * self._work
        return HeatEstimate(temperature_c, own_slope, gain, slope, math.sqrt(max(0.0, variance)))

    def _begin(self, reading_c: float) -> None:
        self._x[:, :2] = reading_c + FINE_STEP_C / 2
        self._p[:, :2, :2] = FIRST_C_DEVIATION**2
        self._p[:, 1, 1] += FIRST_AHEAD_DEVIATION_C**2
        self._p[:, 2, 2] = FIRST_F_DEVIATION**2
        self._p[:, 3, 3] = FIRST_B_DEVIATION**2

    def _predict(self, work: float, seconds: float) -> None:
        if seconds <= 0.0:
            return
        self._work += (work - self._work) * (1 - math.exp(-seconds / WORK_LAG_S))
        a = _transition(self._work, seconds)
        self._x = (a @ self._x[:, :, None])[:, :, 0]
        self._p = a @ self._p @ a.transpose(0, 2, 1)
        drifts = np.diag([DRIFT_T**2, DRIFT_T**2, DRIFT_F**2, DRIFT_B**2])
        self._p[self._p[:, 0, 0] < _MOST_DRIFT_DEVIATION_C**2] += seconds * drifts
        self._evidence *= math.exp(-seconds / FORGET_S)

    def _correct(self, reading_c: float, step_c: float, noise_c: float) -> None:
        """By how far the reading's step is away; a filter whose s is in there is left alone."""
        s = self._x[:, 0]
        error_c = np.clip(s, reading_c, reading_c + step_c) - s
        spread = self._p[:, 0, 0] + noise_c**2
        self._evidence = self._evidence - error_c**2 / spread / (2 * EVIDENCE_SCALE)
        self._evidence -= self._evidence.max()
        gains = np.where(error_c[:, None] == 0.0, 0.0, self._p[:, :, 0] / spread[:, None])
        self._x = self._x + gains * error_c[:, None]
        self._x[:, 3] = np.clip(self._x[:, 3], LEAST_GAIN, MOST_GAIN)
        self._p = self._p - gains[:, :, None] * self._p[:, None, 0, :]


def _transition(work: float, seconds: float) -> Array:
    """Of (s, T, f, b), for every lag; exact for a T that changes evenly meanwhile."""
    kept = np.exp(-seconds / _LAGS_S)
    behind = seconds - _LAGS_S * (1 - kept)
    follow = seconds / FOLLOW_S
    a = np.zeros((len(LAGS_S), 4, 4))
    a[:, 0] = np.stack([kept, 1 - kept, behind, work * behind], axis=1)
    a[:, 1] = 0.0, 1.0, seconds, work * seconds
    a[:, 2] = 0.0, 0.0, 1.0 - follow, -work * follow
    a[:, 3, 3] = 1.0
    return a
