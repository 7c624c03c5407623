"""What is known of how fast storage gives weights: the best way to read, and what passes showed."""

from __future__ import annotations

from collections.abc import Callable

from pocketseek.errors import IntegrityError, StorageError
from pocketseek.runtime.residency.read_mode import DEFAULT_READ_MODE, ReadMode

_RATE_WEIGHT = 0.25  # of the newest pass in the expected speed
_NOT_NOW = (StorageError, IntegrityError, OSError, RuntimeError, MemoryError)  # the last three: no thread, no memory


class StoragePace:
    """Used by one thread."""

    def __init__(self, find_read_mode: Callable[[], ReadMode]) -> None:
        """find_read_mode may read some hundred MB; it is asked once."""
        self._find_read_mode: Callable[[], ReadMode] | None = find_read_mode
        self.bytes_per_s = DEFAULT_READ_MODE.bytes_per_s

    @property
    def is_known(self) -> bool:
        return self._find_read_mode is None

    def learn_read_mode(self) -> ReadMode | None:
        """What is found, the first time. None if it was found before; or if storage, memory or threads fail now, which
        the passes will say: then it is asked again the next time."""
        if self._find_read_mode is None:
            return None
        try:
            mode = self._find_read_mode()
        except _NOT_NOW:
            return None
        self._find_read_mode = None
        self.bytes_per_s = mode.bytes_per_s
        return mode

    def observe(self, read_bytes: int, pass_s: float, waited_s: float) -> None:
        """A whole pass that mostly waited for storage says how fast that is."""
        if read_bytes and waited_s > pass_s / 2:
            self.bytes_per_s += _RATE_WEIGHT * (read_bytes / pass_s - self.bytes_per_s)
