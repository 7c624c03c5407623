"""Which experts are in memory during a pass, and getting the others: all that a layer lacks is asked for at once.

    begin(layer, experts)       what is there already; the rest is on its way
    more()                      what has arrived since, at least one; what it gave before has been computed by then
    is_complete                 nothing is missing any more

If a layer needs more experts than there are slots, it goes in rounds: what was computed makes room. An expert that this
layer still needs is never dropped. What is read in the background gives way to what is wanted now, and its slot, too.

What was read since the files were last looked at is not *proven*: somebody may have written to them meanwhile. Used by
one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TypeAlias

from pocketseek.runtime.residency.expert_policies import ExpertPolicy, Key
from pocketseek.runtime.residency.expert_reader import ExpertReader, Fetch
from pocketseek.runtime.residency.expert_slots import ExpertExtents, ExpertHome

IsInMemory: TypeAlias = Callable[[int, int, int], bool]
"""(chunk, offset, bytes)"""


class ExpertStore:
    """Over one home for experts; see expert_slots.py."""

    def __init__(self, extents: ExpertExtents, reader: ExpertReader, policy: ExpertPolicy, home: ExpertHome) -> None:
        self._extents = extents
        self._reader = reader
        self._policy = policy
        self._home = home
        self._held: dict[Key, int] = {}  # slots
        self._fetches: dict[Key, Fetch] = {}  # slots that are on their way
        self._unproven: set[Key] = set()
        self._pinned: set[Key] = set()  # that the layer needs and are not computed
        self._missing: list[Key] = []  # of these, not even on their way
        self._given: Sequence[Key] = ()
        self._layer = 0
        self.num_hits = 0  # experts that a layer needed and had, in all
        self.num_misses = 0

    @property
    def held(self) -> frozenset[Key]:
        return frozenset(self._held)

    @property
    def has_all(self) -> bool:
        return len(self._held) == self._extents.count

    # -- a layer of a pass ------------------------------------------------------------------------------------------

    def begin(self, layer: int, experts: Sequence[int]) -> dict[int, object]:
        """experts: distinct, ascending. Raises MemoryLimitError if nothing can be read."""
        if self._reader.has_finished:
            self._take_in(self._reader.take_finished())
        self._layer, self._given = layer, ()
        held = self._held
        keys = [(layer, expert) for expert in experts]
        there = [key for key in keys if key in held]
        self.num_hits += len(there)
        if len(there) < len(keys):
            self._pinned.update(keys)
            self._missing = [key for key in keys if key not in held]
            self.num_misses += len(self._missing)
            self._issue()
        return self._give(there)

    @property
    def is_complete(self) -> bool:
        return len(self._pinned) == len(self._given) or not self._pinned

    def more(self) -> dict[int, object]:
        """Raises what a reader met, or MemoryLimitError; then `abandon`."""
        self._pinned.difference_update(self._given)
        self._given = ()
        while True:
            if self._missing:
                self._issue()
            self._reader.wait_for(self._fetches.values() if self._missing else self._wanted())
            self._take_in(self._reader.take_finished())
            there = sorted(key for key in self._pinned if key in self._held)
            if there:
                return self._give(there)

    def end(self) -> None:
        """All of the layer is computed."""
        self._pinned.clear()
        self._given = ()

    def _give(self, keys: Sequence[Key]) -> dict[int, object]:
        self._given = keys
        loaded, held = self._home.loaded, self._held
        return {key[1]: loaded(key, held[key]) for key in keys}

    def _wanted(self) -> list[Fetch]:
        return [self._fetches[key] for key in self._pinned if key in self._fetches]

    def _issue(self) -> None:
        """Read as many of the missing ones as there is room for."""
        fetches: list[Fetch] = []
        while self._missing:
            key = self._missing[0]
            if (under_way := self._fetches.get(key)) is not None:
                self._reader.want(under_way)
            elif (slot := self._room()) is not None:
                fetches.append(self._fetch_to(slot, key))
            else:
                break
            del self._missing[0]
        if fetches:
            self._reader.fetch(fetches)

    def _room(self) -> int | None:
        slot = self._home.take()
        if slot is not None:
            return slot
        if (waiting := self._give_up_last()) is not None:
            return waiting.slot
        victim = self._policy.victim(self._held.keys(), self._pinned)
        if victim is None:
            return None
        self._unproven.discard(victim)
        return self._held.pop(victim)

    def _give_up_last(self) -> Fetch | None:
        """One that waits to be read in the background is not to be read."""
        waiting = self._reader.give_up_last()
        if waiting is not None and waiting.key is not None:
            del self._fetches[waiting.key]
        return waiting

    def _fetch_to(self, slot: int, key: Key) -> Fetch:
        extent = self._extents.of(key)
        fetch = Fetch(key, extent.chunk, extent.offset, extent.num_bytes, self._home.target(slot), slot)
        self._fetches[key] = fetch
        return fetch

    def _take_in(self, fetches: Iterable[Fetch]) -> None:
        """What arrived is held. Raises the error of one that the layer needs."""
        error: BaseException | None = None
        for fetch in fetches:
            key = fetch.key
            if key is None or self._fetches.pop(key, None) is None:
                continue
            if fetch.error is None:
                self._held[key] = fetch.slot
                self._unproven.add(key)
            else:
                self._home.give_back(fetch.slot)
                error = fetch.error if key in self._pinned else error
        if error is not None:
            raise error

    # -- between passes ---------------------------------------------------------------------------------------------

    def fill(self, most: int | None = None) -> None:
        """Have the experts that are the most likely to be wanted read in the background, as far as there is room.

        most: of them. Raises MemoryLimitError if nothing can be read.
        """
        fetches: list[Fetch] = []
        absent = (key for key in self._policy.ranked() if key not in self._held and key not in self._fetches)
        for key in islice(absent, most):
            slot = self._home.take()
            if slot is None:
                break
            fetches.append(self._fetch_to(slot, key))
        self._reader.fetch_later(fetches)

    def find_held(self, is_in_memory: IsInMemory) -> None:
        """Where the home is the package's map: experts that are in memory already."""
        for key in self._extents.all_keys():
            extent = self._extents.of(key)
            if is_in_memory(extent.chunk, extent.offset, extent.num_bytes):
                self._held[key] = 0

    def find_lost(self, is_in_memory: IsInMemory, sample_bytes: int) -> bool:
        """The same the other way round, as far as the first bytes of each tell; whether there is any."""
        lost = []
        for key in self._held:
            extent = self._extents.of(key)
            if not is_in_memory(extent.chunk, extent.offset, min(extent.num_bytes, sample_bytes)):
                lost.append(key)
        self.drop(lost)
        return bool(lost)

    def drop_one(self) -> bool:
        """Make room for good; False if nothing is held."""
        if (waiting := self._give_up_last()) is not None:
            self._home.give_back(waiting.slot)
            return True
        victim = self._policy.victim(self._held.keys(), ())
        if victim is not None:
            self.drop([victim])
        return victim is not None

    def drop(self, keys: Iterable[Key]) -> None:
        """What is held of these is held no more."""
        for key in keys:
            slot = self._held.pop(key, None)
            if slot is not None:
                self._unproven.discard(key)
                self._home.give_back(slot)

    def prove(self) -> None:
        """The files were looked at, and nobody had written to them."""
        self._unproven.clear()

    def drop_unproven(self) -> None:
        """Somebody had."""
        self.drop(list(self._unproven))

    def abandon(self) -> None:
        """What was on its way is not: the reader has forgotten it. The layer ends."""
        for fetch in self._fetches.values():
            self._home.give_back(fetch.slot)
        self._fetches.clear()
        self._missing.clear()
        self.end()

    def close(self) -> None:
        """Of no use afterwards."""
        self._home.close()
