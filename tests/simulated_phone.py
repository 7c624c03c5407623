"""A phone that gets warm, as two heaps of heat: for tests and benchmarks, never for the product.

        P(work) ──> [chip: C_c] ──R_c── [skin: C_s] ──R_s── ambient
                        ^ leakage           ^ everything else (P_rest)

    C_c dTc/dt = P - (Tc - Ts) / R_c
    C_s dTs/dt = P_rest + (Tc - Ts) / R_c - (Ts - Ta) / R_s

Power while it computes: cores (share of threads * f * V^2), memory (with the speed), leakage (share of threads * V,
doubling every 30 K). While it rests the cores are gated and leak a fifth. f and V come in steps, as in a table of a
phone's operating points; the chip's own throttle goes a step down for every second at `throttle_c` and up again below.

A token takes `memory_share` of its time for memory, whatever the clock, and the rest in proportion to
1 / (threads * f).

None of the figures is measured; they are chosen so that the whole behaves as phones are reported to:
- C_s: 190 g at about 0.9 J/(g K) are 170 J/K, of which not all gets as warm as the warmest place: 120 J/K.
- R_s: 0.025 m^2 of surface at 8 to 10 W/(m^2 K) (free convection and radiation) are 4 to 5 K/W for an even skin; the
  warmest place is warmer than the mean: 5.5 K/W. So the skin's time constant is 11 minutes, as such phones need 10
  to 30 minutes to settle.
- 6 to 7 W at full load, as is reported for the cores of large phone chips under sustained load: at 25 °C the skin would
  come to about 60 °C, so full load cannot last.
- R_c, C_c: the chip is about 25 K above the skin at full load and follows within 10 s.
The sensor: first-order lag, then whole steps of `resolution_c`, cut off (as drivers that
divide integers do) or rounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pocketseek.device.sensor_facts import Kind, SensorFacts, Temperature
from pocketseek.govern.governor import FixedGovernor
from pocketseek.govern.thermal_governor import ThermalGovernor, ThermalStatus

FULL_THREADS = 4
STEPS: tuple[tuple[float, float], ...] = (  # share of the highest frequency, share of its voltage
    (0.30, 0.62),
    (0.40, 0.64),
    (0.50, 0.68),
    (0.60, 0.73),
    (0.70, 0.79),
    (0.80, 0.86),
    (0.90, 0.93),
    (1.00, 1.00),
)
_MOST_STEP_S = 0.5


@dataclass(frozen=True)
class PhoneParts:
    """The figures of one phone; see the module."""

    skin_j_per_k: float = 120.0
    skin_k_per_w: float = 5.5
    chip_j_per_k: float = 2.5
    chip_k_per_w: float = 4.0
    rest_w: float = 0.4
    cores_w: float = 4.3
    memory_w: float = 1.2
    leakage_w: float = 0.5  # of all cores at 50 °C and the highest voltage
    memory_share: float = 0.35
    throttle_c: float = 92.0

    def scaled(self, *, power: float = 1.0, resistance: float = 1.0, capacity: float = 1.0) -> PhoneParts:
        return replace(
            self,
            skin_j_per_k=self.skin_j_per_k * capacity,
            chip_j_per_k=self.chip_j_per_k * capacity,
            skin_k_per_w=self.skin_k_per_w * resistance,
            chip_k_per_w=self.chip_k_per_w * resistance,
            cores_w=self.cores_w * power,
            memory_w=self.memory_w * power,
            leakage_w=self.leakage_w * power,
        )


@dataclass(frozen=True)
class Pace:
    """How it is to compute: share of the time, threads, cap on the frequency."""

    duty: float = 1.0
    threads: int = FULL_THREADS
    frequency: float = 1.0


FULL_PACE = Pace()


class SimulatedPhone:
    """Begins at rest in its surroundings. Speed is relative to full speed."""

    def __init__(
        self,
        parts: PhoneParts | None = None,
        ambient_c: float = 25.0,
        *,
        resolution_c: float = 0.1,
        lag_s: float = 5.0,
        rounds: bool = False,
        lag_steps: int = 1,
    ) -> None:
        """lag_steps: so many heaps of heat between the skin and its sensor, which share the lag."""
        self.parts = parts or PhoneParts()
        self.ambient_c = ambient_c
        self.time_s = 0.0
        self.skin_c = self.chip_c = self._sensor_c = ambient_c + self.parts.rest_w * self.parts.skin_k_per_w
        self.hottest_c = self.skin_c
        self.work_s = 0.0  # in seconds at full speed
        self.energy_j = 0.0
        self._resolution_c = resolution_c
        self._before_sensor_c = [self.skin_c] * (lag_steps - 1)
        self._lag_s = lag_s / lag_steps
        self._rounds = rounds
        self._throttle_step = len(STEPS) - 1
        self._throttled_s = 0.0

    def advance(self, seconds: float, busy_share: float, pace: Pace = FULL_PACE) -> None:
        """busy_share: of these seconds, spread evenly over them."""
        while seconds > 1e-9:
            step_s = min(seconds, _MOST_STEP_S)
            self._step(step_s, busy_share, pace)
            seconds -= step_s

    def speed(self, pace: Pace) -> float:
        """While it computes, with its own throttle as it is now."""
        parts, (share, _) = self.parts, self._operating_point(pace)
        return 1.0 / (parts.memory_share + (1 - parts.memory_share) * FULL_THREADS / (pace.threads * share))

    def power_w(self, pace: Pace) -> float:
        """While it computes."""
        parts, (share, volts) = self.parts, self._operating_point(pace)
        cores = pace.threads / FULL_THREADS
        dynamic_w = parts.cores_w * cores * share * volts**2 + parts.memory_w * self.speed(pace)
        return dynamic_w + self._leakage_w() * cores * volts

    def skin_sensor_c(self) -> float:
        return self._shown(self._sensor_c)

    def chip_sensor_c(self) -> float:
        return self._shown(self.chip_c)

    def facts(self) -> SensorFacts:
        skin = Temperature("skin-therm", "skin", self.skin_sensor_c(), "/sys/class/thermal/thermal_zone0")
        chip = Temperature("cpu-0-0", "soc", self.chip_sensor_c(), "/sys/class/thermal/thermal_zone1")
        return SensorFacts(self.time_s, (skin, chip))

    def _step(self, seconds: float, busy_share: float, pace: Pace) -> None:
        parts = self.parts
        power_w = busy_share * self.power_w(pace) + (1 - busy_share) * 0.2 * self._leakage_w() * STEPS[0][1]
        self.work_s += seconds * busy_share * self.speed(pace)
        self.energy_j += seconds * (power_w + parts.rest_w)
        through_w = (self.chip_c - self.skin_c) / parts.chip_k_per_w
        out_w = (self.skin_c - self.ambient_c) / parts.skin_k_per_w
        self.chip_c += seconds * (power_w - through_w) / parts.chip_j_per_k
        self.skin_c += seconds * (parts.rest_w + through_w - out_w) / parts.skin_j_per_k
        nearer_c, weight = self.skin_c, 1 - math.exp(-seconds / max(self._lag_s, 1e-6))
        for place, before_c in enumerate(self._before_sensor_c):
            self._before_sensor_c[place] = nearer_c = before_c + (nearer_c - before_c) * weight
        self._sensor_c += (nearer_c - self._sensor_c) * weight
        self.hottest_c = max(self.hottest_c, self.skin_c)
        self.time_s += seconds
        self._throttle(seconds)

    def _throttle(self, seconds: float) -> None:
        self._throttled_s += seconds
        if self._throttled_s >= 1.0:
            self._throttled_s = 0.0
            step = self._throttle_step + (1 if self.chip_c < self.parts.throttle_c - 4 else 0)
            step -= 1 if self.chip_c >= self.parts.throttle_c else 0
            self._throttle_step = min(max(step, 0), len(STEPS) - 1)

    def _operating_point(self, pace: Pace) -> tuple[float, float]:
        allowed = [point for point in STEPS[: self._throttle_step + 1] if point[0] <= pace.frequency + 1e-9]
        return allowed[-1] if allowed else STEPS[0]

    def _leakage_w(self) -> float:
        return self.parts.leakage_w * 2.0 ** ((min(self.chip_c, 120.0) - 50.0) / 30.0)

    def _shown(self, celsius: float) -> float:
        steps = celsius / self._resolution_c
        return (round(steps) if self._rounds else math.floor(steps + 1e-9)) * self._resolution_c


class ToldNowAndThen:
    """The phone's sensors as a program tells them that is asked every so many seconds: the skin's, called `kind`, in
    between the same again, marked with its age; and the chip's, which can be read at any time. held_s: so old may be
    what the program tells, which does not say so."""

    def __init__(
        self, phone: SimulatedPhone, every_s: float, kind: Kind = "skin", *, held_s: float = 0.0, has_chip: bool = True
    ) -> None:
        self._phone = phone
        self._every_s, self._held_s = every_s, held_s
        self._kind = kind
        self._has_chip = has_chip
        self._held: Temperature | None = None
        self._told: Temperature | None = None
        self._noted_s = self._told_s = 0.0

    def __call__(self) -> SensorFacts:
        skin, *rest = self._phone.facts().temperatures
        now_s = self._phone.time_s
        if self._held is None or now_s - self._noted_s >= self._held_s - 1e-6:
            self._held, self._noted_s = replace(skin, kind=self._kind), now_s
        if self._told is None or now_s - self._told_s >= self._every_s - 1e-6:
            self._told, self._told_s = self._held, now_s
        told = replace(self._told, age_s=now_s - self._told_s)
        return SensorFacts(now_s, (told, *rest) if self._has_chip else (told,))


Policy = Callable[[SimulatedPhone], Pace]


def run(
    phone: SimulatedPhone, policy: Policy, minutes: float = 30.0, every_s: float = 1.0
) -> list[tuple[float, float]]:
    """As much work as the policy lets it do, asked every second; (time_s, skin_c) of every tenth look."""
    curve = []
    for number in range(round(minutes * 60 / every_s)):
        pace = policy(phone)
        phone.advance(every_s, pace.duty, pace)
        if number % 10 == 9:
            curve.append((phone.time_s, phone.skin_c))
    return curve


def no_control(phone: SimulatedPhone) -> Pace:
    """Only the chip's own throttle."""
    return Pace()


class Governed:
    """The product's governor, asked and obeyed as the worker does it. `status` is the governor's."""

    def __init__(
        self,
        phone: SimulatedPhone,
        facts: Callable[[], SensorFacts] | None = None,
        *,
        obeys_threads: bool = True,
        obeys_clock: bool = True,
        **options: Any,
    ) -> None:
        """obeys_*: whether what it says of threads and of the clock has an effect, whatever it is told of that."""
        self._obeys_threads, self._obeys_clock = obeys_threads, obeys_clock
        self._busy_s = 0.0
        self.governor = ThermalGovernor(
            FixedGovernor(FULL_THREADS), facts or phone.facts, clock=lambda: phone.time_s, **options
        )
        self.governor.busy_s = lambda: self._busy_s

    def __call__(self, phone: SimulatedPhone) -> Pace:
        limits = self.governor.limits()
        self._busy_s += limits.duty  # of the second that follows
        return Pace(
            limits.duty,
            limits.num_threads if self._obeys_threads else FULL_THREADS,
            limits.frequency_share if self._obeys_clock else 1.0,
        )

    @property
    def status(self) -> ThermalStatus:
        assert self.governor.status is not None
        return self.governor.status


class OnOff:
    """What phones do that only have trip points: `slow` from 45 °C on until 43 °C are reached, by the sensor."""

    def __init__(self, slow: Pace, trip_c: float = 45.0, release_c: float = 43.0) -> None:
        self._slow, self._trip_c, self._release_c = slow, trip_c, release_c
        self._is_slow = False

    def __call__(self, phone: SimulatedPhone) -> Pace:
        shown_c = phone.skin_sensor_c()
        self._is_slow = shown_c >= self._trip_c or (self._is_slow and shown_c > self._release_c)
        return self._slow if self._is_slow else Pace()


def best_constant(parts: PhoneParts, ambient_c: float, limit_c: float, pace: Pace, minutes: float = 30.0) -> float:
    """Mean speed of `best_constant_pace`."""
    return _best_constant(parts, ambient_c, limit_c, pace, minutes)[1]


def best_constant_pace(
    parts: PhoneParts, ambient_c: float, limit_c: float, pace: Pace = FULL_PACE, minutes: float = 30.0
) -> Pace:
    """The highest constant duty (with these threads and this frequency) that stays below limit_c."""
    return _best_constant(parts, ambient_c, limit_c, pace, minutes)[0]


def _best_constant(
    parts: PhoneParts, ambient_c: float, limit_c: float, pace: Pace, minutes: float
) -> tuple[Pace, float]:
    """With its mean speed."""
    low, high, speed = 0.0, 1.0, 0.0
    duty = 1.0
    for _ in range(12):
        phone = SimulatedPhone(parts, ambient_c)
        even = replace(pace, duty=duty)
        run(phone, lambda _, even=even: even, minutes, every_s=10.0)  # type: ignore[misc]  mypy sees two arguments
        if phone.hottest_c <= limit_c:
            low, speed = duty, phone.work_s / phone.time_s
            if duty == 1.0:
                break
        else:
            high = duty
        duty = (low + high) / 2
    return replace(pace, duty=low), speed


def best_constant_of_all(parts: PhoneParts, ambient_c: float, limit_c: float, minutes: float = 30.0) -> float:
    """Of every step of the frequency and every number of threads."""
    paces = [Pace(threads=threads, frequency=step) for threads in range(1, FULL_THREADS + 1) for step, _ in STEPS]
    return max(best_constant(parts, ambient_c, limit_c, pace, minutes) for pace in paces)
