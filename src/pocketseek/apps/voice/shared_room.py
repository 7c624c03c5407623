"""Memory and heat beside the language models that are open in this process: one lease is a lease with each of them.

Each engine's governor sees all of the process, so each has to make way for what comes; a model that is opened later
finds what is there by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Protocol

from pocketseek.apps.voice.on_demand import Room
from pocketseek.govern.thermal_governor import ThermalStatus
from pocketseek.runtime.guests import GuestLease
from pocketseek.runtime.memory_use import share_one_heap


class _Heated(Protocol):
    def thermal_status(self) -> ThermalStatus | None: ...


def heat_share(engines: Iterable[_Heated]) -> float:
    """Of the heat of full speed, what the hottest of them may make; 1 where nobody watches heat."""
    shares = [status.share for engine in engines if (status := engine.thermal_status()) is not None]
    return min(shares, default=1.0)


class SharedRoom:
    """rooms: of the engines that are open now (`engine.guests`); asked each time. Make it before any of them is."""

    def __init__(self, rooms: Callable[[], Iterable[Room]]) -> None:
        share_one_heap()
        self._rooms = rooms

    @property
    def is_tight(self) -> bool:
        return any(room.is_tight for room in self._rooms())

    def lease(self, name: str, num_bytes: int) -> GuestLease:
        """With all or none. Raises MemoryLimitError."""
        with ExitStack() as undo:
            leases = []
            for room in self._rooms():
                lease = room.lease(name, num_bytes)
                undo.callback(lease.release)
                leases.append(lease)
            undo.pop_all()
        return _Leases(leases)


class _Leases:
    def __init__(self, leases: Sequence[GuestLease]) -> None:
        self._leases = leases

    def opened(self) -> None:
        for lease in self._leases:
            lease.opened()

    def release(self) -> None:
        for lease in self._leases:
            lease.release()
