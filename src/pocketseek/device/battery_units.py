"""What a battery driver's numbers mean. The kernel wants microamperes and microvolts, above 0 into the battery; drivers
of phones (older Samsung and Huawei kernels among them) give thousandths, and the sign as they like. So the unit is
taken from the size, once and for all when it is beyond doubt, and the direction from the status alone. Temperatures are
meant to be tenths of a degree, and some drivers give thousandths or whole ones.
"""

from __future__ import annotations

# What a phone draws from its battery stays below 5 A (19 W), what goes into it below 15 A; and while anybody asks, more
# than 5 mA is drawn. So a number up to these bounds is in mA, above them in uA.
_MOST_DRAWN_MA = 5_000
_MOST_CHARGED_MA = 15_000
_LEAST_UV = 100_000  # 100 V in mV, a tenth of a volt in uV
_VOLTS = (2.0, 100.0)
_TENTHS, _LEAST_THOUSANDTHS = (100, 1000), 10_000
LOWEST_BATTERY_C, HIGHEST_BATTERY_C = -40.0, 120.0
_INWARDS, _OUTWARDS = "charging", "discharging"


class CurrentUnit:
    """Learns from what one battery says whether it counts in uA or mA."""

    def __init__(self) -> None:
        self._is_micro = False

    def drawn_a(self, raw: int | None, status: str) -> float | None:
        """Amperes out of the battery (below 0: into it); None where the status does not tell the direction."""
        if raw is None:
            return None
        status = status.lower()
        if raw == 0:
            return 0.0
        if status not in (_INWARDS, _OUTWARDS):
            return None
        most_ma = _MOST_CHARGED_MA if status == _INWARDS else _MOST_DRAWN_MA
        self._is_micro = self._is_micro or abs(raw) > most_ma
        amperes = abs(raw) / (1e6 if self._is_micro else 1e3)
        return amperes if status == _OUTWARDS else -amperes


class TemperatureUnit:
    """Learns in what one battery counts its temperature.

    A battery in use has 10 to 60 °C, as a rule, and more when something is wrong: 100 to 1000 are tenths, 10,000 and
    more thousandths. Below 100 it may be a cold battery in tenths or a warm one in whole degrees, in between neither:
    unknown, until another number has settled it.
    """

    def __init__(self) -> None:
        self._per_degree: int | None = None

    def celsius(self, raw: int) -> float | None:
        """None if it is no temperature of a battery, or its unit is not known yet."""
        if self._per_degree is None:
            size = abs(raw)
            self._per_degree = 10 if _TENTHS[0] <= size <= _TENTHS[1] else 1000 if size >= _LEAST_THOUSANDTHS else None
        if self._per_degree is None:
            return None
        celsius = raw / self._per_degree
        return celsius if LOWEST_BATTERY_C <= celsius <= HIGHEST_BATTERY_C else None


def volts(raw: int | None) -> float | None:
    if raw is None or raw <= 0:
        return None
    value = raw / (1e6 if raw > _LEAST_UV else 1e3)
    return value if _VOLTS[0] <= value <= _VOLTS[1] else None


def is_fed(status: str, plugged: bool | None) -> bool | None:
    """Whether power comes in from outside. plugged: whether a charger says that it is there."""
    status = status.lower()
    if status in (_INWARDS, "full"):
        return True
    return False if status == _OUTWARDS else plugged
