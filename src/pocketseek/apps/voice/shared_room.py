"""Memory beside the language models that are open in this process: one lease is a lease with each of them.

Each engine's governor sees all of the process, so each has to make way for what comes; a model that is opened later
finds what is there by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack

from pocketseek.apps.voice.on_demand import Room
from pocketseek.runtime.guests import GuestLease


class SharedRoom:
    """rooms: of the engines that are open now (`engine.guests`); asked each time."""

    def __init__(self, rooms: Callable[[], Iterable[Room]]) -> None:
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
