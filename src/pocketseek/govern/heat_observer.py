"""How warm it is, how that changes by itself, and what our computing adds: learnt from one slow temperature.

Near any moment a phone's skin follows, whatever it is built like,

    dT/dt = f + b * u          u: how much we compute, 1 is as fast as we can

(an "ultra-local model": Fliess and Join, Model-free control, International Journal of Control 86, 2013). f is what the
surroundings, the display and others do to it, b what full work adds; neither is known, and f falls as the skin gets
warmer: df/dt = -(dT/dt) / FOLLOW_S is assumed, and that it drifts besides. A Kalman filter over (T, f, b) gives all
three. While u stays as it is, f and b cannot be told apart, and the filter knows that from its covariance; as soon as u
changes, b is learnt.

Sensors show steps, of a tenth of a degree or of whole ones, mostly cut off: a reading z says that T is in
[z, z + step), and nothing more. So the estimate is left alone while it is in there, and moved to the nearer edge when
it is not: just when a reading of a coarse sensor changes the temperature is known well. For a sensor that rounds, T is
half a step too high then, on the safe side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

FOLLOW_S = 600.0  # of phones: 5 to 25 minutes
WORK_LAG_S = 10.0  # from the chip to the skin
LEAST_GAIN, MOST_GAIN = 0.005, 0.5  # of b, in °C/s
FINE_STEP_C, COARSE_STEP_C = 0.1, 1.0
EDGE_NOISE_C = 0.06
BOUND_NOISE = 0.3  # of a step: a reading that did not change gives a bound, not a value
DRIFT_T, DRIFT_F, DRIFT_B = 0.003, 2.0e-4, 1.0e-4  # per square root of a second
FIRST_C_DEVIATION = 0.3
FIRST_F, FIRST_F_DEVIATION = 0.0, 0.01
FIRST_B, FIRST_B_DEVIATION = 0.06, 0.04
LONGEST_STEP_S = 60.0

Row = list[float]


@dataclass(frozen=True)
class HeatEstimate:
    """Of the skin. own_slope: f, in °C/s, what happens without our work. gain: b, in °C/s at full work. slope: dT/dt,
    as things are. deviation_c: how uncertain the temperature is."""

    temperature_c: float
    own_slope: float
    gain: float
    slope: float
    deviation_c: float


class HeatObserver:
    """Times of calls must not fall."""

    def __init__(self, gain: float = FIRST_B) -> None:
        self._x = [0.0, FIRST_F, gain]
        self.restart()

    @property
    def temperature_c(self) -> float:
        return self._x[0]

    @property
    def gain(self) -> float:
        """b, in °C/s at full work."""
        return self._x[2]

    def estimates(self) -> tuple[HeatEstimate, ...]:
        """The one."""
        temperature_c, own_slope, gain = self._x
        deviation_c = math.sqrt(max(0.0, self._p[0][0]))
        return (HeatEstimate(temperature_c, own_slope, gain, own_slope + gain * self._work, deviation_c),)

    @property
    def has_seen(self) -> bool:
        """Whether there is a temperature to go on from."""
        return self._time_s is not None

    @property
    def is_coarse(self) -> bool:
        """Only whole degrees were seen so far."""
        return self._is_coarse

    def restart(self) -> None:
        """Another sensor, or a long time later: only how strongly work heats is kept, with doubt."""
        self._time_s: float | None = None
        self._reading_c: float | None = None
        self._work = 0.0
        self._is_coarse = True
        self._x = [0.0, FIRST_F, self._x[2]]
        self._p = [[0.0] * 3 for _ in range(3)]

    def see(self, reading_c: float, work: float, time_s: float) -> None:
        """work: the mean of u since the last call."""
        if self._time_s is None:
            self._begin(reading_c)
        else:
            self._predict(work, min(time_s - self._time_s, LONGEST_STEP_S))
        self._time_s = time_s
        self._is_coarse = self._is_coarse and reading_c == round(reading_c)
        step_c = COARSE_STEP_C if self._is_coarse else FINE_STEP_C
        temperature_c = self._x[0]
        nearest_c = min(max(temperature_c, reading_c), reading_c + step_c)
        if nearest_c != temperature_c:
            crossed = reading_c != self._reading_c
            self._correct(nearest_c, EDGE_NOISE_C if crossed else EDGE_NOISE_C + BOUND_NOISE * step_c)
        self._reading_c = reading_c

    def go_on(self, work: float, time_s: float) -> None:
        """As `see`, but nobody has told the temperature since."""
        if self._time_s is not None:
            self._predict(work, min(time_s - self._time_s, LONGEST_STEP_S))
        self._time_s = time_s

    def _begin(self, reading_c: float) -> None:
        self._x[0] = reading_c + FINE_STEP_C / 2
        deviations = FIRST_C_DEVIATION, FIRST_F_DEVIATION, FIRST_B_DEVIATION
        for i, deviation in enumerate(deviations):
            self._p[i][i] = deviation**2

    def _predict(self, work: float, seconds: float) -> None:
        if seconds <= 0.0:
            return
        self._work += (work - self._work) * (1 - math.exp(-seconds / WORK_LAG_S))
        u, follow = self._work, seconds / FOLLOW_S
        slope = self._x[1] + self._x[2] * u
        self._x[0] += slope * seconds
        self._x[1] -= slope * follow
        a = [[1.0, seconds, u * seconds], [0.0, 1.0 - follow, -u * follow], [0.0, 0.0, 1.0]]
        p = _product(_product(a, self._p), [list(column) for column in zip(*a, strict=True)])
        if p[0][0] < COARSE_STEP_C**2:
            p[0][0] += seconds * DRIFT_T**2
            p[1][1] += seconds * DRIFT_F**2
            p[2][2] += seconds * DRIFT_B**2
        self._p = p

    def _correct(self, measured_c: float, noise_c: float) -> None:
        p = self._p
        spread = p[0][0] + noise_c**2
        gains = [p[i][0] / spread for i in range(3)]
        error_c = measured_c - self._x[0]
        self._x = [value + gain * error_c for value, gain in zip(self._x, gains, strict=True)]
        self._x[2] = min(max(self._x[2], LEAST_GAIN), MOST_GAIN)
        first = list(p[0])
        self._p = [[p[i][j] - gains[i] * first[j] for j in range(3)] for i in range(3)]


def _product(a: list[Row], b: list[Row]) -> list[Row]:
    return [[sum(a[i][k] * b[k][j] for k in range(3)) for j in range(3)] for i in range(3)]
