"""What Android tells every app of its heat: status and headroom, through the NDK (<android/thermal.h>, libandroid.so).

AThermal_acquireManager, AThermal_releaseManager and AThermal_getCurrentThermalStatus are there from API level 30 on
(Android 11), AThermal_getThermalHeadroom from 31 on. The headroom is that of slow sensors like the skin's, 1.0 where
severe throttling begins; it is NaN where the device does not tell it, and when it is asked much more often than once a
second, by whomever: so both are asked every EVERY_S, and told again with their age in between, for KEPT_S at most. The
first time it is asked again after AGAIN_S, TRIES times in all, since somebody else may just have asked.

No library, one for another C library, no function, no manager, an error or NaN: unknown. *Unmeasured on a device*.
"""

from __future__ import annotations

import ctypes
import math
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

EVERY_S = 10.0
KEPT_S = 40.0
AGAIN_S, TRIES = 3.0, 3
_LIBRARY = "libandroid.so"
_NOW = 0  # forecast_seconds: the governor looks ahead by itself
_STATUSES = range(7)  # 0 none, 3 severe, 6 shutdown; -1 is an error


@dataclass(frozen=True)
class ThermalTold:
    """None: unknown. headroom_age_s: since it was asked. is_settled: False while the next try may tell a first one."""

    status: int | None = None
    headroom: float | None = None
    headroom_age_s: float = 0.0
    is_settled: bool = True


NOTHING = ThermalTold()


class AndroidThermal:
    """One thread at a time. The library is opened by the first `read`."""

    def __init__(self, library: str | Path | None = None, *, clock: Callable[[], float] = monotonic) -> None:
        """library: by default Android's own, if this Python was built for Android: a program for another C library (in
        a proot, say) cannot use it."""
        self._library = (
            str(library) if library is not None else _LIBRARY if hasattr(sys, "getandroidapilevel") else None
        )
        self._clock = clock
        self._manager: _Manager | None = None
        self._asked_s: float | None = None
        self._status: int | None = None
        self._headroom: tuple[float, float] | None = None  # and when it was told
        self._tries_left = TRIES  # for the first one

    def read(self) -> ThermalTold:
        now_s = self._clock()
        if self._library is None:
            return NOTHING
        if self._asked_s is None or now_s - self._asked_s >= (AGAIN_S if self._tries_left else EVERY_S):
            self._ask(self._library, now_s)
        if self._headroom is None or now_s - self._headroom[1] > KEPT_S:
            return ThermalTold(self._status, is_settled=not self._tries_left)
        return ThermalTold(self._status, self._headroom[0], now_s - self._headroom[1])

    def _ask(self, library: str, now_s: float) -> None:
        if self._asked_s is None:
            self._manager = _open(library)
        self._asked_s = now_s
        if self._manager is None or not self._manager.has_headroom:
            self._tries_left = 0
        if self._manager is None:
            return
        self._status = self._manager.status()
        headroom = self._manager.headroom()
        self._tries_left = max(0, self._tries_left - 1) if headroom is None else 0
        if headroom is not None:
            self._headroom = headroom, now_s


class _Manager:
    """Of a library that has one. It is released with the object."""

    def __init__(self, library: ctypes.CDLL, pointer: int) -> None:
        self._pointer = ctypes.c_void_p(pointer)
        self._status = _function(library, "AThermal_getCurrentThermalStatus", ctypes.c_int, ctypes.c_void_p)
        self._headroom = _function(
            library, "AThermal_getThermalHeadroom", ctypes.c_float, ctypes.c_void_p, ctypes.c_int
        )
        release = _function(library, "AThermal_releaseManager", None, ctypes.c_void_p)
        if release is not None:
            weakref.finalize(self, release, self._pointer)

    @property
    def has_headroom(self) -> bool:
        return self._headroom is not None

    def status(self) -> int | None:
        status = -1 if self._status is None else int(self._status(self._pointer))
        return status if status in _STATUSES else None

    def headroom(self) -> float | None:
        headroom = math.nan if self._headroom is None else float(self._headroom(self._pointer, _NOW))
        return headroom if math.isfinite(headroom) and headroom >= 0.0 else None


def _open(library: str) -> _Manager | None:
    try:
        opened = ctypes.CDLL(library)
    except OSError:
        return None
    acquire = _function(opened, "AThermal_acquireManager", ctypes.c_void_p)
    pointer = None if acquire is None else acquire()
    return _Manager(opened, pointer) if pointer else None


def _function(
    library: ctypes.CDLL,
    name: str,
    returns: type[ctypes.c_int | ctypes.c_float | ctypes.c_void_p] | None,
    *arguments: type[ctypes.c_int | ctypes.c_float | ctypes.c_void_p],
) -> Callable[..., Any] | None:
    """None: it is not there, as on older systems."""
    try:
        function = library[name]
    except AttributeError:
        return None
    function.restype, function.argtypes = returns, arguments
    return function
