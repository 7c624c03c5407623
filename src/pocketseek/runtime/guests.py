"""Room for what works in the engine's process beside it: speech recognisers and voices, say.

What a guest takes is anonymous memory of the process, so the governor sees it once it is there. Too late: for a moment
guest and weights together are more than the limit. So a guest leases before it opens. A lease that is asked for counts
as taken at once, weights and idle pages make way for it, and `lease` returns when they have: then there is room. Once
the guest is open (`opened`), its lease is what it counts for at the least, and the measurement if that is more.

What cannot be had is told before anything is opened (MemoryLimitError), and nothing stays leased.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Lock
from typing import Protocol

from pocketseek.errors import MemoryLimitError

PATIENCE_S = 30.0  # somebody may have to finish on pages that shall go
_RETRY_S = 0.1


class GuestLease(Protocol):
    def opened(self) -> None:
        """The memory is taken now, and is measured."""

    def release(self) -> None:
        """It is free again. May be repeated."""


@dataclass(frozen=True)
class RoomState:
    """short_bytes: by how much the least that works is more than what is there. has_followed: weights and pages are
    what they shall be."""

    short_bytes: int
    has_followed: bool


class Guests:
    """Any thread but the engine's worker may lease. Before `connect` there is nobody to make way, and room for all."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._coming: dict[object, int] = {}
        self._here: dict[object, int] = {}
        self._ask: Callable[[Callable[[], None]], bool] | None = None
        self._state: Callable[[], RoomState] = lambda: RoomState(0, True)
        self._is_tight: Callable[[], bool] = lambda: False

    def connect(
        self,
        ask: Callable[[Callable[[], None]], bool],
        state: Callable[[], RoomState],
        is_tight: Callable[[], bool],
    ) -> None:
        """ask(done): have the limits applied and `done` called then; False if nobody will. is_tight: whether memory is
        short for the engine as it is."""
        self._ask, self._state, self._is_tight = ask, state, is_tight

    @property
    def coming_bytes(self) -> int:
        """Leased, and not taken yet."""
        with self._lock:
            return sum(self._coming.values())

    @property
    def here_bytes(self) -> int:
        with self._lock:
            return sum(self._here.values())

    @property
    def is_tight(self) -> bool:
        """Whether whoever is not needed had better go."""
        return self._is_tight()

    def lease(self, name: str, num_bytes: int, patience_s: float = PATIENCE_S) -> GuestLease:
        """name: for people. Returns when there is room. Raises MemoryLimitError."""
        lease = _Lease(self)
        with self._lock:
            self._coming[lease] = num_bytes
        try:
            self._wait(name, num_bytes, self._clock() + patience_s)
        except BaseException:  # also Ctrl-C: what did not come does not stay leased, and it is raised again
            lease.release()
            raise
        return lease

    def _wait(self, name: str, num_bytes: int, until_s: float) -> None:
        while self._ask is not None:
            done = Event()
            if not self._ask(done.set):
                return
            done.wait(max(0.0, until_s - self._clock()))
            state = self._state()
            if state.short_bytes:
                missing_mb, needed_mb = -(-state.short_bytes // 1_000_000), -(-num_bytes // 1_000_000)
                raise MemoryLimitError(
                    f"{name} needs about {needed_mb} MB beside the language model and {missing_mb} MB of that are not "
                    "there; allow more with --memory, close other programs, or use a smaller one"
                )
            if done.is_set() and state.has_followed:
                return
            if self._clock() >= until_s:
                raise MemoryLimitError(
                    f"the language model did not make room for {name} in time; try again when it has answered"
                )
            time.sleep(_RETRY_S)

    def _opened(self, lease: _Lease) -> None:
        with self._lock:
            if (num_bytes := self._coming.pop(lease, None)) is not None:
                self._here[lease] = num_bytes

    def _release(self, lease: _Lease) -> None:
        with self._lock:
            self._coming.pop(lease, None)
            self._here.pop(lease, None)


class _Lease:
    def __init__(self, guests: Guests) -> None:
        self._guests = guests

    def opened(self) -> None:
        self._guests._opened(self)

    def release(self) -> None:
        self._guests._release(self)
