"""When it is worth asking whether the system took weights that are to stay in memory.

They are clean file pages, which the system may take at any moment. A pass that needs them gets them back, but waits for
storage every few pages; readers fetch them in large pieces ahead of it. Asking costs a few
milliseconds, so it is asked when it is likely: after a pause, or when pages came from storage since the last time.

If something was lost, there are RETRY_S in which nothing is asked: what is taken again so soon is missing somewhere
else, and the governor shall see the page faults and keep less.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from time import perf_counter

PAUSE_S = 1.0
RETRY_S = 10.0


def major_faults() -> int:
    """Page faults of this process that read from storage, in all."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt


class LossWatch:
    """Asked at the beginning of every pass; told at its end."""

    def __init__(self, *, faults: Callable[[], int] = major_faults, clock: Callable[[], float] = perf_counter) -> None:
        self._faults = faults
        self._clock = clock
        self._asked_faults = faults()
        self._busy_s = self._asked_s = clock()
        self._silent_until_s = float("-inf")

    def is_due(self) -> bool:
        """Whether to ask now; the next answer depends on what happens from here on."""
        now_s = self._clock()
        if now_s < self._silent_until_s or now_s - self._asked_s < PAUSE_S:
            return False
        faults = self._faults()
        is_due = now_s - self._busy_s >= PAUSE_S or faults > self._asked_faults
        if is_due:
            self._asked_faults, self._asked_s = faults, now_s
        return is_due

    def found(self) -> None:
        """Something was lost."""
        self._silent_until_s = self._clock() + RETRY_S

    def pass_ended(self) -> None:
        self._busy_s = self._clock()
