"""How much this process may take in all, followed through time. Pure: facts and the clock are passed in.

The *bound* is what could be taken at this moment, the least of what is known:

    machine   what is available + what we hold without a file behind it - a reserve for others
    group     the room in the container + what we hold without a file behind it - a small reserve
    cap       the user's word (`--memory`)

Clean file pages, ours too, count as available in the first two, so weights in the page cache are not counted twice.

The *budget* follows the bound down at once, so that it is never above it (but for the floor, the least that works). It
follows up only if the bound stayed well above it for some seconds (longer after swings, see swings.py), and then to the
lowest value seen. Both ways it is put a little below, so that the next flutter does not move it again; only below the
floor it is the bound itself, since nothing moves there. Figures can be wrong: when we wait for memory although the
bound says that there is enough (stalls, page faults from storage), it shrinks by a tenth a second. Afterwards it holds
still, then grows in small steps; each time the trouble comes back it holds twice as long, so that it cannot swing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pocketseek.device.memory_watch import MemoryFacts
from pocketseek.govern.budget import UNKNOWN_MEMORY_BYTES
from pocketseek.govern.swings import Swings

Bound = Literal["machine", "group", "cap", "pressure", "unknown"]

_MIB = 1 << 20
# For other apps: what counts as available is partly the code and files that they run from, and Android ends apps, the
# largest among the first, while some is still left. The share and its limits are chosen; unmeasured on a device.
_MACHINE_RESERVE_SHARE = 16
_LEAST_MACHINE_RESERVE_BYTES = 64 * _MIB
_MOST_MACHINE_RESERVE_BYTES = 512 * _MIB
# In a container it is for what grows between two looks, and for what the kernel counts late. Tried from a 25th to a
# 60th in 600 MB (docs/lab-notes.md): none was killed or read more than planned, and each percent is one of the weights.
_GROUP_RESERVE_SHARE = 40
_LEAST_GROUP_RESERVE_BYTES = 8 * _MIB
_MOST_GROUP_RESERVE_BYTES = 64 * _MIB

_DEAD_BAND_SHARE = 64  # of the bound: how much below it the budget is put
_MOST_DEAD_BAND_BYTES = 16 * _MIB
_GROW_MARGIN_SHARE = 0.03
_LEAST_GROW_MARGIN_BYTES = 16 * _MIB
_GROW_AFTER_LOOKS = 3  # when passes are slow, three seconds alone may mean two looks

STALLED_SHARE = 0.10  # of the time: above it we wait for memory, not for work
FAULTS_PER_S = 200.0  # each is 0.1 to 0.5 ms on flash: between 2 and 10 % of the time
PRESSURE_EVERY_S = 1.0
_PRESSURE_SHRINK_SHARE = 10
HOLD_S = 10.0
LONGEST_HOLD_S = 320.0
_CAREFUL_GROWTH_SHARE = 16  # of the budget: how much it grows at a time after trouble


@dataclass
class _Rise:
    """The bound has been well above the budget since then."""

    since_s: float
    lowest_bytes: int
    bound: Bound
    num_looks: int = 1


class ElasticBudget:
    """One process's budget. `update` is called with every new reading, `now_s` never going back."""

    def __init__(self, *, cap_bytes: int | None = None, faults_per_s: float = FAULTS_PER_S) -> None:
        """cap_bytes: never more than this (None: no such wish). faults_per_s: page faults that are still calm."""
        self._cap_bytes = cap_bytes
        self._faults_per_s = faults_per_s
        self._current_bytes: int | None = None  # before the floor
        self._floor_bytes = 0
        self._last_bound: tuple[int, Bound] = (UNKNOWN_MEMORY_BYTES, "unknown")
        self._trouble = _Trouble()
        self._swings = Swings()
        self._rise: _Rise | None = None
        self._last: tuple[MemoryFacts, float, bool] | None = None
        self.bound: Bound = "unknown"
        self.num_shrinks = 0
        self.num_growths = 0
        self.num_pressures = 0

    @property
    def current_bytes(self) -> int:
        """As update returned it last; 0 before that."""
        return max(self.allowed_bytes, self._floor_bytes)

    @property
    def allowed_bytes(self) -> int:
        """The same without the floor: less than that if it is short of the least that works."""
        return self._current_bytes or 0

    def update(
        self,
        facts: MemoryFacts,
        now_s: float,
        *,
        floor_bytes: int = 0,
        used_bytes: int | None = None,
        warming: bool = False,
    ) -> int:
        """The budget from now on.

        floor_bytes: never less than this, even if there is less. used_bytes: what we take of the budget now, if known:
        with as much room again as that, stalls and faults are not about us and change nothing.
        warming: weights are being read in for the first time, so that page faults are expected.
        """
        self._floor_bytes = floor_bytes
        bound_bytes, bound = self._bound(facts)
        self._trouble.forget(self.current_bytes, now_s)
        used_bytes = self.current_bytes if used_bytes is None else min(used_bytes, self.current_bytes)
        waited = self._waited(facts, now_s, used_bytes, warming)
        pressed = waited and (bound == "unknown" or _concerns_us(used_bytes, bound_bytes))
        if pressed:
            self._give_way(used_bytes, now_s)
        self._shrink(bound_bytes, bound, now_s)
        if not pressed:
            self._grow(bound_bytes, bound, now_s)
        return self.current_bytes

    def _bound(self, facts: MemoryFacts) -> tuple[int, Bound]:
        """If nothing is known: what was known last, or the default."""
        bounds = known_bounds(facts, self._cap_bytes)
        if bounds:
            tightest = min(bounds, key=lambda name: bounds[name])
            self._last_bound = (bounds[tightest], tightest)
        return self._last_bound

    def _waited(self, facts: MemoryFacts, now_s: float, used_bytes: int, warming: bool) -> bool:
        """Whether we waited for memory since the last look."""
        last, self._last = self._last, (facts, now_s, warming)
        if last is None or now_s <= last[1]:
            return False
        elapsed_s = now_s - last[1]
        stalled_us = _rise_of(last[0].stall_us, facts.stall_us)
        faults = 0 if warming or last[2] else _rise_of(last[0].major_faults, facts.major_faults)
        stalled = stalled_us > STALLED_SHARE * elapsed_s * 1e6 and _stalls_are_ours(facts, used_bytes)
        return stalled or faults > self._faults_per_s * elapsed_s

    def _give_way(self, used_bytes: int, now_s: float) -> None:
        self._rise = None
        if self._current_bytes is None or not self._trouble.comes(self._current_bytes, now_s):
            return
        self.num_pressures += 1
        self._set(max(used_bytes - used_bytes // _PRESSURE_SHRINK_SHARE, self._floor_bytes), "pressure")

    def _shrink(self, bound_bytes: int, bound: Bound, now_s: float) -> None:
        if self._current_bytes is None or bound_bytes < self._current_bytes:
            self._rise, num_shrinks = None, self.num_shrinks
            self._set(_below(bound_bytes, bound), bound)
            if self.num_shrinks > num_shrinks:
                self._swings.shrank(now_s)

    def _grow(self, bound_bytes: int, bound: Bound, now_s: float) -> None:
        if self.allowed_bytes < self._floor_bytes:  # which is in use anyway: what is there for it counts at once
            self._set(max(self.allowed_bytes, min(bound_bytes, self._floor_bytes)), bound)
        current_bytes = self.current_bytes
        if bound_bytes < current_bytes + _grow_margin_bytes(current_bytes) or self._trouble.holds(now_s):
            self._rise = None
            return
        rise = self._rise = _higher(self._rise, bound_bytes, bound, now_s)
        if rise.num_looks < _GROW_AFTER_LOOKS or now_s - rise.since_s < self._swings.wait_s(now_s):
            return
        self._rise = None
        target_bytes = _below(rise.lowest_bytes, rise.bound)
        if self._trouble.is_remembered:
            target_bytes = min(target_bytes, current_bytes + current_bytes // _CAREFUL_GROWTH_SHARE)
        self._set(max(target_bytes, current_bytes), rise.bound)
        self._swings.grew(now_s)

    def _set(self, num_bytes: int, bound: Bound) -> None:
        before_bytes, known = self.current_bytes, self._current_bytes is not None
        self._current_bytes, self.bound = num_bytes, bound
        self.num_shrinks += known and self.current_bytes < before_bytes
        self.num_growths += known and self.current_bytes > before_bytes


class _Trouble:
    """Remembers at which level we waited for memory, and how long to be careful after it."""

    def __init__(self) -> None:
        self._level_bytes: int | None = None
        self._shrunk_s = float("-inf")
        self._hold_s = HOLD_S
        self._seen_s = float("-inf")

    def comes(self, level_bytes: int, now_s: float) -> bool:
        """Note it; whether it is time to shrink (again). Trouble that comes back makes the wait twice as long."""
        came_back = self._level_bytes is not None and not self.holds(now_s)
        if came_back:
            self._hold_s = min(2 * self._hold_s, LONGEST_HOLD_S)
        self._seen_s = now_s
        if now_s - self._shrunk_s < PRESSURE_EVERY_S:
            return False
        self._level_bytes = level_bytes if self._level_bytes is None or came_back else self._level_bytes
        self._shrunk_s = now_s
        return True

    def holds(self, now_s: float) -> bool:
        return now_s - self._seen_s < self._hold_s

    @property
    def is_remembered(self) -> bool:
        return self._level_bytes is not None

    def forget(self, current_bytes: int, now_s: float) -> None:
        """Once it has been calm for long at that level or above, or for very long anywhere."""
        if self._level_bytes is None:
            return
        calm_s = now_s - self._seen_s
        if calm_s > 2 * (self._hold_s if current_bytes >= self._level_bytes else LONGEST_HOLD_S):
            self._level_bytes, self._hold_s = None, HOLD_S


def known_bounds(facts: MemoryFacts, cap_bytes: int | None = None) -> dict[Bound, int]:
    """What each of them would allow; those that are unknown are left out."""
    own_bytes = facts.own_anonymous_bytes or 0
    bounds: dict[Bound, int] = {}
    if facts.machine_available_bytes is not None:
        bounds["machine"] = max(0, facts.machine_available_bytes + own_bytes - machine_reserve_bytes(facts))
    if facts.group_limit_bytes is not None:
        reserve_bytes = group_reserve_bytes(facts.group_limit_bytes)
        room_bytes = facts.group_limit_bytes if facts.group_room_bytes is None else facts.group_room_bytes + own_bytes
        bounds["group"] = max(0, min(room_bytes, facts.group_limit_bytes) - reserve_bytes)
    if cap_bytes is not None:
        bounds["cap"] = cap_bytes
    return bounds


def machine_reserve_bytes(facts: MemoryFacts) -> int:
    total_bytes = facts.machine_total_bytes or facts.machine_available_bytes or 0
    share_bytes = total_bytes // _MACHINE_RESERVE_SHARE
    return min(max(share_bytes, _LEAST_MACHINE_RESERVE_BYTES), _MOST_MACHINE_RESERVE_BYTES)


def group_reserve_bytes(limit_bytes: int) -> int:
    return min(max(limit_bytes // _GROUP_RESERVE_SHARE, _LEAST_GROUP_RESERVE_BYTES), _MOST_GROUP_RESERVE_BYTES)


def _concerns_us(used_bytes: int, bound_bytes: int) -> bool:
    """With as much room again as we use, giving up a tenth of ours helps nobody."""
    return 2 * used_bytes > bound_bytes


def _stalls_are_ours(facts: MemoryFacts, used_bytes: int) -> bool:
    """The whole machine's stalls only if the whole machine is short: else some other container is at its limit."""
    machine_bytes = known_bounds(facts).get("machine", used_bytes)
    return facts.stall_is_own or machine_bytes - used_bytes < machine_reserve_bytes(facts)


def _below(bound_bytes: int, bound: Bound) -> int:
    """A dead band below what flutters."""
    if bound in ("cap", "unknown"):
        return bound_bytes
    return bound_bytes - min(bound_bytes // _DEAD_BAND_SHARE, _MOST_DEAD_BAND_BYTES)


def _grow_margin_bytes(current_bytes: int) -> int:
    return max(int(current_bytes * _GROW_MARGIN_SHARE), _LEAST_GROW_MARGIN_BYTES)


def _higher(rise: _Rise | None, bound_bytes: int, bound: Bound, now_s: float) -> _Rise:
    if rise is None:
        return _Rise(now_s, bound_bytes, bound)
    rise.num_looks += 1
    if bound_bytes <= rise.lowest_bytes:
        rise.lowest_bytes, rise.bound = bound_bytes, bound
    return rise


def _rise_of(before: int | None, now: int | None) -> int:
    """Counters that are unknown, or began again, have not risen."""
    return 0 if before is None or now is None else max(0, now - before)
