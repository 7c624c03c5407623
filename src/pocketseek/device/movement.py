"""Whether a sensor's reading has moved, or flickers between two values. One object per sensor.

A reading that goes back to where it just was has not moved if it stayed away for a shorter time than TURNS times what
physics needs for the way at least (FASTEST_C_PER_S): a battery that was 30 °C, is 31, and is 30 again within 25 s. It
has once it stays. A real sensor does that too where the temperature lies at the edge of a step; a broken one may do it
for ever, and it must not count as a sign of life.
"""

from __future__ import annotations

from pocketseek.device.sensor_facts import Kind

FASTEST_C_PER_S: dict[Kind, float] = {"skin": 0.2, "battery": 0.12, "soc": 40.0, "other": 40.0}
TURNS = 3.0


class Movement:
    """Times of calls must not fall."""

    def __init__(self, kind: Kind = "skin") -> None:
        self._fastest_c_per_s = FASTEST_C_PER_S[kind]
        self._value_c: float | None = None
        self._before_c: float | None = None
        self._settled_c: float | None = None  # where it moved to last
        self._since_s = 0.0

    def see(self, value_c: float | None, time_s: float) -> bool:
        """Whether it has moved now. To come and to be gone is to move."""
        may_flicker = time_s - self._since_s < self._turn_s(value_c)
        if value_c == self._value_c:
            return value_c != self._settled_c and not may_flicker and self._settle(value_c)
        is_back = value_c == self._before_c and may_flicker
        self._before_c, self._value_c, self._since_s = self._value_c, value_c, time_s
        return not is_back and self._settle(value_c)

    def _settle(self, value_c: float | None) -> bool:
        self._settled_c = value_c
        return True

    def _turn_s(self, value_c: float | None) -> float:
        """How long it is away at least, if it really goes to the other of the two values and back."""
        other_c = self._before_c if value_c == self._value_c else self._value_c
        if value_c is None or other_c is None:
            return 0.0
        return TURNS * abs(value_c - other_c) / self._fastest_c_per_s
