"""How much we may compute so that the skin stays at the set point and the chip below its limit. Pure.

The law, with T, f and b from the observer (heat_observer.py; late_observer.py for a battery), which learns this phone
while it computes (see docs/govern.md):

    wanted slope v = (set point - margin - T - LEAD_S * dT/dt) / RETURN_S;    share u = (v - f) / b, within 0.02 and 1

For a battery there are several estimates, one for each lag that it may have: the least share of them all counts, and
the margin grows by how uncertain the estimate is. So the skin is held below the set point at first, and less so as the
phone is learnt.

So far below the set point the share is 1; near it the temperature is led in, and held where f + b * u = 0. f takes the
place of an integral: it is learnt from what was really computed, not from what was allowed, so nothing winds up while
nobody asks for anything or while something else holds the share down. The share falls by at most 10 % a second and
rises by at most 2 %.

The chip (seconds, where the skin takes minutes) has a cap of its own: it shrinks while the chip is above its limit, in
proportion to by how much, grows below `CHIP_BAND_C` under it, and rests between.

States: "free": full speed. "holding": the share is below 1, until it has been 1 for CALM_S. "emergency": 3 °C above the
set point for EMERGENCY_LOOKS, or the chip 10 °C above its limit for CHIP_EMERGENCY_LOOKS (one reading may be a slip):
nothing runs until it is 1 °C (5 °C) below again. "unreachable": an emergency in which nothing got colder although
nothing ran (stop_effect.py): what heats is something else, and LEAST_SHARE goes on, which adds a few tenths of a degree
at most. "blind": there was a sensor for the set point and there is none to be believed: BLIND_SHARE, or three quarters
of what held the set point before if that was less. The chip's cap holds while nothing can be read of the chip, but it
grows to BLIND_SHARE: it may have been learnt from a lie, and a chip protects itself. Where there never was one, only
the chip's limit counts, and it is "blind" when that sensor has been gone for half a minute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pocketseek.govern.heat_observer import HeatEstimate, HeatObserver
from pocketseek.govern.late_observer import LateObserver
from pocketseek.govern.stop_effect import StopEffect

ThermalState = Literal["free", "holding", "emergency", "unreachable", "blind"]
ThermalReason = Literal["cool", "skin", "chip", "no sensor", "sensor test"]

SET_POINT_C, CHIP_LIMIT_C = 45.0, 85.0
MARGIN_C, COARSE_MARGIN_C = 0.2, 0.8  # a coarse sensor shows whole degrees; tried out on simulated phones
RETURN_S, LEAD_S = 60.0, 15.0
LATE_DEVIATIONS, COARSE_LATE_DEVIATIONS = 1.0, 0.5  # of a battery, beside MARGIN_C; tried out, too
LEAST_SHARE = 0.02
FALL_PER_S, RISE_PER_S = 0.1, 0.02
CALM_S = 30.0
EMERGENCY_C, RESUME_C = 3.0, 1.0
CHIP_EMERGENCY_C, CHIP_RESUME_C = 10.0, 5.0
EMERGENCY_LOOKS, CHIP_EMERGENCY_LOOKS = 2, 3
CHIP_GONE_S = 30.0
CHIP_BAND_C, CHIP_FALL, CHIP_RISE_PER_S = 2.0, 0.01, 0.02
BLIND_SHARE, BLIND_CAUTION = 0.25, 0.75
FORGET_S = 120.0  # without the sensor: then what was learnt of the surroundings is old
_LONGEST_STEP_S = 30.0
_NEAR_C = 1.0  # of the set point: what is done there is what holds it
_HELD_WEIGHT_S = 120.0


@dataclass(frozen=True)
class ThermalDecision:
    """share: of what could be computed at full speed. reason: what holds it there ("sensor test": sensor_probe.py).
    skin_c: as estimated."""

    share: float
    state: ThermalState
    reason: ThermalReason
    skin_c: float | None = None
    chip_c: float | None = None


class ThermalControl:
    """Times of calls must not fall; about one a second is meant."""

    def __init__(self, set_point_c: float = SET_POINT_C, chip_limit_c: float = CHIP_LIMIT_C) -> None:
        self.set_point_c = set_point_c
        self.chip_limit_c = chip_limit_c
        self._observer: HeatObserver | LateObserver = HeatObserver()
        self._is_late = False
        self._chip_cap = _ChipCap(chip_limit_c)
        self._share = 1.0
        self._held_share: float | None = None
        self._state: ThermalState = "free"
        self._time_s: float | None = None
        self._seen_s: float | None = None
        self._chip_seen_s: float | None = None
        self._full_since_s: float | None = None
        self._num_over = self._num_chip_over = 0  # readings in a row
        self._stop: StopEffect | None = None

    def follow_another(self, *, is_late: bool) -> None:
        """Another sensor stands for the set point from now on. is_late: it is behind the skin, as a battery is."""
        if is_late == self._is_late:
            self._observer.restart()
        else:
            self._observer = (LateObserver if is_late else HeatObserver)(self._observer.gain)
        self._is_late = is_late

    def update(
        self,
        skin_c: float | None,
        chip_c: float | None,
        time_s: float,
        work: float,
        *,
        skin_is_new: bool = True,
        chip_is_new: bool = True,
    ) -> ThermalDecision:
        """work: how much was computed since the last call, as a share of full speed; None: no sensor to be believed.
        *_is_new: whether it was read since, and not told again by a program that is asked now and then."""
        seconds = 0.0 if self._time_s is None else min(max(0.0, time_s - self._time_s), _LONGEST_STEP_S)
        self._time_s = time_s
        if skin_c is not None:
            self._see(skin_c, work, time_s, seconds, is_new=skin_is_new)
        if chip_c is not None:
            self._chip_seen_s = time_s
        wanted, reason = self._wanted(skin_c, time_s)
        cap = self._chip_cap.update(chip_c, seconds)
        if cap < wanted:
            wanted, reason = cap, "chip"
        self._share = max(self._share - FALL_PER_S * seconds, min(self._share + RISE_PER_S * seconds, wanted))
        self._count(skin_c, chip_c, skin_is_new=skin_is_new, chip_is_new=chip_is_new)
        self._state = self._next_state(skin_c, chip_c, time_s)
        if self._state in ("emergency", "unreachable"):
            self._share = 0.0 if self._state == "emergency" else LEAST_SHARE
        reason = reason if self._share < 1.0 else "cool"
        return ThermalDecision(self._share, self._state, reason, self._skin_c(skin_c), chip_c)

    def _see(self, skin_c: float, work: float, time_s: float, seconds: float, *, is_new: bool) -> None:
        if self._seen_s is not None and time_s - self._seen_s > FORGET_S:
            self._observer.restart()
        self._seen_s = time_s
        observer = self._observer
        if is_new or not observer.has_seen:
            observer.see(skin_c, work, time_s)
        else:
            observer.go_on(work, time_s)
        if self._state == "holding" and abs(observer.temperature_c - self.set_point_c) < _NEAR_C:
            before = work if self._held_share is None else self._held_share
            self._held_share = before + (work - before) * min(1.0, seconds / _HELD_WEIGHT_S)

    def _wanted(self, skin_c: float | None, time_s: float) -> tuple[float, ThermalReason]:
        if skin_c is None:
            return (self._blind_share(), "no sensor") if self._is_blind(time_s) else (1.0, "cool")
        share = min(self._share_by(estimate) for estimate in self._observer.estimates())
        return min(max(share, LEAST_SHARE), 1.0), "skin"

    def _share_by(self, estimate: HeatEstimate) -> float:
        ahead_c = estimate.temperature_c + LEAD_S * estimate.slope
        slope = (self.set_point_c - self._margin_c(estimate) - ahead_c) / RETURN_S
        return (slope - estimate.own_slope) / estimate.gain

    def _margin_c(self, estimate: HeatEstimate) -> float:
        is_coarse = self._observer.is_coarse
        if self._is_late:
            return MARGIN_C + (COARSE_LATE_DEVIATIONS if is_coarse else LATE_DEVIATIONS) * estimate.deviation_c
        return COARSE_MARGIN_C if is_coarse else MARGIN_C

    def _is_blind(self, time_s: float) -> bool:
        """Without the skin: it was there before, or nothing but the chip was, and that has been gone for a while."""
        if self._seen_s is not None:
            return True
        return self._chip_seen_s is not None and time_s - self._chip_seen_s > CHIP_GONE_S

    def _blind_share(self) -> float:
        return BLIND_SHARE if self._held_share is None else min(BLIND_SHARE, BLIND_CAUTION * self._held_share)

    def _next_state(self, skin_c: float | None, chip_c: float | None, time_s: float) -> ThermalState:
        if self._is_emergency(skin_c, chip_c):
            self._full_since_s = None
            return self._stopped(skin_c, chip_c, time_s)
        self._stop = None
        if skin_c is None and self._is_blind(time_s):
            return "blind"
        if self._share < 1.0:
            self._full_since_s = None
            return "holding"
        self._full_since_s = time_s if self._full_since_s is None else self._full_since_s
        is_calm = time_s - self._full_since_s >= CALM_S
        return "free" if self._state == "free" or is_calm else "holding"

    def _count(self, skin_c: float | None, chip_c: float | None, *, skin_is_new: bool, chip_is_new: bool) -> None:
        if skin_is_new or skin_c is None:
            self._num_over = self._num_over + 1 if self._is_over(skin_c, None, EMERGENCY_C, 0.0) else 0
        if chip_is_new or chip_c is None:
            self._num_chip_over = self._num_chip_over + 1 if self._is_over(None, chip_c, 0.0, CHIP_EMERGENCY_C) else 0

    def _is_emergency(self, skin_c: float | None, chip_c: float | None) -> bool:
        if self._stop is not None:
            return self._is_over(skin_c, chip_c, -RESUME_C, -CHIP_RESUME_C)
        return self._num_over >= EMERGENCY_LOOKS or self._num_chip_over >= CHIP_EMERGENCY_LOOKS

    def _is_over(self, skin_c: float | None, chip_c: float | None, skin_over_c: float, chip_over_c: float) -> bool:
        skin_hot = skin_c is not None and skin_c >= self.set_point_c + skin_over_c
        return skin_hot or (chip_c is not None and chip_c >= self.chip_limit_c + chip_over_c)

    def _stopped(self, skin_c: float | None, chip_c: float | None, time_s: float) -> ThermalState:
        self._num_over = self._num_chip_over = 0
        if self._stop is None:
            self._stop = StopEffect(skin_c, chip_c, time_s, is_late=self._is_late)
        by_skin = self._is_over(skin_c, None, -RESUME_C, 0.0)
        is_vain = self._state == "unreachable" or self._stop.is_vain(skin_c, chip_c, time_s, by_skin=by_skin)
        return "unreachable" if is_vain else "emergency"

    def _skin_c(self, skin_c: float | None) -> float | None:
        return None if skin_c is None else self._observer.temperature_c


class _ChipCap:
    def __init__(self, limit_c: float) -> None:
        self._limit_c = limit_c
        self._cap = 1.0

    def update(self, chip_c: float | None, seconds: float) -> float:
        if chip_c is None:
            if self._cap < BLIND_SHARE:
                self._cap = min(BLIND_SHARE, self._cap + CHIP_RISE_PER_S * seconds)
            return self._cap
        over_c = chip_c - self._limit_c
        if over_c > 0:
            self._cap *= max(0.5, 1.0 - CHIP_FALL * over_c * seconds)
        elif over_c < -CHIP_BAND_C:
            self._cap += CHIP_RISE_PER_S * seconds * min(1.0, (-over_c - CHIP_BAND_C) / 10.0)
        self._cap = min(max(self._cap, LEAST_SHARE), 1.0)
        return self._cap
