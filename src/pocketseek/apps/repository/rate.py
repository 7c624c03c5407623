"""How fast bytes may come, and how slow. Arithmetic over a clock that is given; threads may share a RateLimit."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Lock

_LEAST_PIECE_BYTES = 1024
_MOST_PIECE_BYTES = 64 * 1024
_PIECES_PER_S = 10


class RateLimit:
    """Not more than bytes_per_s over all that ask. `take` waits until the bytes that came are within that."""

    def __init__(self, bytes_per_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._bytes_per_s = bytes_per_s
        self._clock = clock
        self._lock = Lock()
        self._free_s = clock()

    @property
    def piece_bytes(self) -> int:
        """How much to read at a time, so that the rate is even."""
        return int(min(max(self._bytes_per_s / _PIECES_PER_S, _LEAST_PIECE_BYTES), _MOST_PIECE_BYTES))

    def take(self, num_bytes: int, stop: Event) -> None:
        """Account for bytes that came; returns early once `stop` is set."""
        with self._lock:
            start_s = max(self._free_s, self._clock())
            self._free_s = start_s + num_bytes / self._bytes_per_s
            wait_s = self._free_s - self._clock()
        if wait_s > 0:
            stop.wait(wait_s)


class LeastRate:
    """Whether a peer that keeps us waiting is worth waiting for: in every window_s of waiting, so many bytes came.

    Only time spent waiting for bytes counts, so who reads slowly on purpose does not blame the other side.
    """

    def __init__(self, bytes_per_s: float, window_s: float) -> None:
        self._least_bytes = bytes_per_s * window_s
        self._window_s = window_s
        self._waited_s = 0.0
        self._num_bytes = 0

    def add(self, num_bytes: int, waited_s: float) -> bool:
        """False once it is too slow."""
        self._num_bytes += num_bytes
        self._waited_s += waited_s
        if self._waited_s < self._window_s:
            return True
        is_enough = self._num_bytes >= self._least_bytes
        self._waited_s, self._num_bytes = 0.0, 0
        return is_enough
