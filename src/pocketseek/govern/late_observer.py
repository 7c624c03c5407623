"""What the skin is like where only a battery can be read, which follows it late, by how much nobody knows.

Beside what heat_observer.py assumes of the skin T,

    ds/dt = (T - s) / L          s: the battery, L: its lag, one of LAGS_S

One Kalman filter over (s, T, f, b) for each lag, side by side; each is told the same readings and foretells the next.
How well it does is its evidence, and a lag is believed that is not much worse than the best. A steady slope says nothing
of L; each change of the work does, and so does the beginning of an answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketseek.govern.heat_observer import FOLLOW_S, LEAST_GAIN, MOST_GAIN, WORK_LAG_S

LAGS_S = (10.0, 15.0, 23.0, 35.0, 52.0, 80.0, 120.0, 180.0)
DOUBT = 2.0
EVIDENCE_SCALE = 4.0
FORGET_S = 900.0
_FINE_STEP_C, _COARSE_STEP_C = 0.1, 1.0
_EDGE_NOISE_C = 0.06
_BOUND_NOISE = 0.3
_DRIFT_S, _DRIFT_T, _DRIFT_F, _DRIFT_B = 0.003, 0.003, 2.0e-4, 1.0e-4
_FIRST_F_DEVIATION = 0.01
_FIRST_B, _FIRST_B_DEVIATION = 0.06, 0.04
_FIRST_AHEAD_DEVIATION_C = 1.5
_LONGEST_STEP_S = 60.0


@dataclass(frozen=True)
class Estimate:
    temperature_c: float
    own_slope: float
    gain: float
    slope: float
    deviation_c: float
    lag_s: float = 0.0


class LateObserver:
    def __init__(self) -> None:
        self._lags = np.array(LAGS_S)
        n = len(LAGS_S)
        self._x = np.zeros((n, 4))
        self._x[:, 3] = _FIRST_B
        self.restart()

    def restart(self) -> None:
        n = len(LAGS_S)
        self._time_s: float | None = None
        self._reading_c: float | None = None
        self._work = 0.0
        self._is_coarse = True
        self._x[:, :3] = 0.0
        self._p = np.zeros((n, 4, 4))
        self._evidence = np.zeros(n)

    @property
    def has_seen(self) -> bool:
        return self._time_s is not None

    @property
    def is_coarse(self) -> bool:
        return self._is_coarse

    @property
    def temperature_c(self) -> float:
        w = np.exp(self._evidence - self._evidence.max())
        return float((w * self._x[:, 1]).sum() / w.sum())

    def estimates(self) -> list[Estimate]:
        best = self._evidence.max()
        return [
            Estimate(float(x[1]), float(x[2]), float(x[3]), float(x[2] + x[3] * self._work),
                     math.sqrt(max(0.0, float(p[1, 1]))), lag)
            for x, p, e, lag in zip(self._x, self._p, self._evidence, LAGS_S, strict=True)
            if e >= best - DOUBT
        ]

    def see(self, reading_c: float, work: float, time_s: float) -> None:
        if self._time_s is None:
            self._begin(reading_c)
        else:
            self._predict(work, min(time_s - self._time_s, _LONGEST_STEP_S))
        self._time_s = time_s
        self._is_coarse = self._is_coarse and reading_c == round(reading_c)
        step_c = _COARSE_STEP_C if self._is_coarse else _FINE_STEP_C
        crossed = reading_c != self._reading_c
        self._reading_c = reading_c
        self._correct(reading_c, step_c, _EDGE_NOISE_C if crossed else _EDGE_NOISE_C + _BOUND_NOISE * step_c)

    def go_on(self, work: float, time_s: float) -> None:
        if self._time_s is not None:
            self._predict(work, min(time_s - self._time_s, _LONGEST_STEP_S))
        self._time_s = time_s

    def _begin(self, reading_c: float) -> None:
        self._x[:, :2] = reading_c + _FINE_STEP_C / 2
        self._p[:, 0, 0] = 0.3**2
        self._p[:, 0, 1] = self._p[:, 1, 0] = 0.3**2
        self._p[:, 1, 1] = 0.3**2 + _FIRST_AHEAD_DEVIATION_C**2
        self._p[:, 2, 2] = _FIRST_F_DEVIATION**2
        self._p[:, 3, 3] = _FIRST_B_DEVIATION**2

    def _predict(self, work: float, seconds: float) -> None:
        if seconds <= 0.0:
            return
        self._work += (work - self._work) * (1 - math.exp(-seconds / WORK_LAG_S))
        u, follow = self._work, seconds / FOLLOW_S
        kept = np.exp(-seconds / self._lags)
        behind = seconds - self._lags * (1 - kept)
        a = np.zeros((len(self._lags), 4, 4))
        a[:, 0, 0], a[:, 0, 1], a[:, 0, 2], a[:, 0, 3] = kept, 1 - kept, behind, u * behind
        a[:, 1, 1], a[:, 1, 2], a[:, 1, 3] = 1.0, seconds, u * seconds
        a[:, 2, 2], a[:, 2, 3] = 1.0 - follow, -u * follow
        a[:, 3, 3] = 1.0
        self._x = np.einsum("nij,nj->ni", a, self._x)
        self._p = a @ self._p @ a.transpose(0, 2, 1)
        self._p[:, 0, 0] += seconds * _DRIFT_S**2
        self._p[:, 1, 1] += seconds * _DRIFT_T**2
        self._p[:, 2, 2] += seconds * _DRIFT_F**2
        self._p[:, 3, 3] += seconds * _DRIFT_B**2
        self._evidence *= math.exp(-seconds / FORGET_S)

    def _correct(self, reading_c: float, step_c: float, noise_c: float) -> None:
        s = self._x[:, 0]
        error = np.clip(s, reading_c, reading_c + step_c) - s
        spread = self._p[:, 0, 0] + noise_c**2
        self._evidence -= 0.5 * error**2 / spread / EVIDENCE_SCALE
        self._evidence -= self._evidence.max()
        gains = np.where(error != 0.0, 1.0, 0.0)[:, None] * self._p[:, :, 0] / spread[:, None]
        self._x = self._x + gains * error[:, None]
        self._x[:, 3] = np.clip(self._x[:, 3], LEAST_GAIN, MOST_GAIN)
        self._p = self._p - gains[:, :, None] * self._p[:, None, 0, :]
