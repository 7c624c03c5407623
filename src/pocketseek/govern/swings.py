"""How long more memory must be there before it is taken: longer each time it had to be given back soon after.

Memory that flutters widely would otherwise be taken and given back every few seconds, and each time weights are read
for it. A budget that waits longer grows less often, and to a lower bound, since it grows to the lowest of the time it
waited. Giving back is none of this: that is always done at once. Pure: the clock is passed in.
"""

from __future__ import annotations

GROW_AFTER_S = 3.0
LONGEST_GROW_AFTER_S = 96.0
_SOON = 8  # times the wait: what was held for less was not worth taking; calm for as long, and all is forgotten


class Swings:
    """Told when the budget grew and when less memory made it shrink; times never go back."""

    def __init__(self) -> None:
        self._wait_s = GROW_AFTER_S
        self._grew_s = float("-inf")
        self._shrank_s = float("-inf")

    def wait_s(self, now_s: float) -> float:
        """How long the bound has to be above the budget."""
        if now_s - self._shrank_s > _SOON * self._wait_s:
            self._wait_s = GROW_AFTER_S
        return self._wait_s

    def grew(self, now_s: float) -> None:
        self._grew_s = now_s

    def shrank(self, now_s: float) -> None:
        if now_s - self._grew_s <= _SOON * self._wait_s:
            self._wait_s = min(2 * self._wait_s, LONGEST_GROW_AFTER_S)
        self._grew_s = float("-inf")  # one swing, in however many steps it goes down
        self._shrank_s = now_s
