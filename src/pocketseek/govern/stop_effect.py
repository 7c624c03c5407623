"""Whether it helps that nothing is computed. Pure.

A phone 3 °C above 45 °C in a room of 35 °C falls by 2 to 4 °C in SKIN_S (time constants of 5 to 25 minutes), its chip
by ten and more within a few seconds and then with the phone. What does not fall over such a time is heated by something
else (the sun, a game, a room warmer than the limit) or shown by a sensor that lies.
"""

from __future__ import annotations

import math

SKIN_S, SKIN_FALL_C = 180.0, 0.3
LATE_SKIN_S = 480.0  # a battery may go on rising for two or three minutes
COARSE_SKIN_S, COARSE_SKIN_FALL_C = 600.0, 1.0  # a sensor in whole degrees
CHIP_S, CHIP_FALL_C = 60.0, 0.5
_SMOOTH_S = 10.0


class StopEffect:
    """Of one stop. Times must not fall. is_late: the skin's sensor is behind it, as a battery is."""

    def __init__(self, skin_c: float | None, chip_c: float | None, time_s: float, *, is_late: bool = False) -> None:
        self._skin_s = LATE_SKIN_S if is_late else SKIN_S
        self._skin = _Fall(skin_c, time_s)
        self._chip = _Fall(chip_c, time_s)

    def is_vain(self, skin_c: float | None, chip_c: float | None, time_s: float, *, by_skin: bool) -> bool:
        """by_skin: it is the skin that is too warm, not only the chip."""
        self._skin.see(skin_c, time_s)
        self._chip.see(chip_c, time_s)
        if not by_skin:
            return self._chip.has_ended(CHIP_S, CHIP_FALL_C, time_s)
        if self._skin.is_coarse:
            return self._skin.has_ended(COARSE_SKIN_S, COARSE_SKIN_FALL_C, time_s)
        return self._skin.has_ended(self._skin_s, SKIN_FALL_C, time_s)


class _Fall:
    """Of a smoothed reading."""

    def __init__(self, reading_c: float | None, time_s: float) -> None:
        self._mean_c = self._first_c = reading_c
        self._began_s = self._time_s = time_s
        self.is_coarse = reading_c is not None and reading_c == round(reading_c)

    def see(self, reading_c: float | None, time_s: float) -> None:
        weight = 1 - math.exp(-(time_s - self._time_s) / _SMOOTH_S)
        self._time_s = time_s
        if reading_c is None:
            return
        self.is_coarse = self.is_coarse and reading_c == round(reading_c)
        self._mean_c = reading_c if self._mean_c is None else self._mean_c + weight * (reading_c - self._mean_c)

    def has_ended(self, window_s: float, fall_c: float, time_s: float) -> bool:
        """Whether it fell by less than that in a window; they follow one another."""
        if time_s - self._began_s < window_s:
            return False
        first_c, self._first_c, self._began_s = self._first_c, self._mean_c, time_s
        return first_c is None or self._mean_c is None or first_c - self._mean_c < fall_c
