"""Who holds how many bytes: named leases from one counter. At every moment the leases together are at most the total.

Whoever takes memory leases it first; whoever gives memory back lowers its lease after that. All calls work from any
thread. A budget that falls below what is leased cannot be had at once: `approach` takes what is free now and the rest
as leases shrink, so that nobody else gets what was given back. So the total falls with the leases and never below them;
by how much it is still above what was asked for is `over_bytes`, which is 0 again once everybody has followed.
"""

from __future__ import annotations

from threading import Lock

from pocketseek.errors import MemoryLimitError, UsageError


class MemoryBudget:
    """Counts; holds no memory itself."""

    def __init__(self, total_bytes: int) -> None:
        self._lock = Lock()
        self._total_bytes = self._wanted_bytes = _checked("the memory budget", total_bytes)
        self._leases: dict[str, int] = {}

    @property
    def total_bytes(self) -> int:
        return self._total_bytes

    @property
    def leased_bytes(self) -> int:
        with self._lock:
            return sum(self._leases.values())

    @property
    def free_bytes(self) -> int:
        with self._lock:
            return self._total_bytes - sum(self._leases.values())

    @property
    def over_bytes(self) -> int:
        """What has to be given back before the total is what `approach` asked for; no lease can make it more."""
        with self._lock:
            return self._total_bytes - self._wanted_bytes

    def of(self, name: str) -> int:
        """The lease of that name; 0 if there is none."""
        with self._lock:
            return self._leases.get(name, 0)

    def leases(self) -> dict[str, int]:
        """All of them at one moment."""
        with self._lock:
            return dict(self._leases)

    def lease(self, name: str, num_bytes: int) -> None:
        """Set the lease of that name, up or down. Raises MemoryLimitError, and changes nothing, if it does not fit."""
        _checked(f"the lease of {name!r}", num_bytes)
        with self._lock:
            others_bytes = sum(self._leases.values()) - self._leases.get(name, 0)
            if others_bytes + num_bytes > self._total_bytes:
                raise MemoryLimitError(
                    f"{name} needs {num_bytes} bytes and {self._total_bytes - others_bytes} of the budget of "
                    f"{self._total_bytes} are left for it; allow more memory or run fewer requests at once"
                )
            self._leases[name] = num_bytes
            self._settle()

    def release(self, name: str) -> None:
        """End the lease of that name; nothing happens if there is none."""
        with self._lock:
            self._leases.pop(name, None)
            self._settle()

    def approach(self, num_bytes: int) -> int:
        """Have this total as soon as the leases allow, and return that of now. Never raises for what is leased."""
        with self._lock:
            self._wanted_bytes = _checked("the memory budget", num_bytes)
            self._settle()
            return self._total_bytes

    def _settle(self) -> None:
        self._total_bytes = max(self._wanted_bytes, sum(self._leases.values()))


def _checked(name: str, num_bytes: int) -> int:
    if num_bytes < 0:
        raise UsageError(f"{name} is {num_bytes} bytes; use 0 or more")
    return num_bytes
