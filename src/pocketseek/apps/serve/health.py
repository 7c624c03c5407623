"""What /health answers: that the server is there, and how warm the device is.

It wants no token, so nothing is told of models, requests or people. All engines are on one device: of those that watch
its heat, the one that is held back most is told of. `heat` is null where none is open or nobody watches.
"""

from __future__ import annotations

from collections.abc import Iterable

from pocketseek.govern.thermal_governor import ThermalStatus

Value = dict[str, object]


def health(statuses: Iterable[ThermalStatus | None]) -> Value:
    """statuses: of the open engines."""
    watched = [status for status in statuses if status is not None]
    return {"status": "ok", "heat": _heat(min(watched, key=lambda status: status.share)) if watched else None}


def _heat(status: ThermalStatus) -> Value:
    """temperature_c, source, limit_c: of what decides, the place that is held or the chip."""
    by_chip = status.reason == "chip" or status.skin_c is None
    celsius, limit_c = (status.chip_c, status.chip_limit_c) if by_chip else (status.skin_c, status.set_point_c)
    return {
        "state": status.state,
        "temperature_c": None if celsius is None else round(celsius, 1),
        "source": None if celsius is None else "chip" if by_chip else status.sensor,
        "limit_c": limit_c if celsius is not None else status.set_point_c,
        "share": round(status.share, 3),
        "duty": round(status.duty, 3),
    }
