"""The expert policy that knows the future (Belady): what is used last from now on is dropped. A bound, nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pocketseek.package.strict_json import JsonValue
from pocketseek.runtime.residency.expert_policies import Key

OPTIMUM = "optimum"
Steps: TypeAlias = Sequence[Sequence[NDArray[np.int32]]]
"""[passes][layers] distinct experts"""


class Optimum:
    """Knows the future: drops the expert whose next use is farthest away."""

    name = OPTIMUM

    def __init__(self, layers: Sequence[int], steps: Steps) -> None:
        self._next: list[list[int]] = []  # for every step in turn, of its experts, the step of the next use
        self._step = 0
        self._end = sum(map(len, steps))
        self._heap: list[tuple[int, Key]] | None = None
        self._known: dict[Key, int] = {}
        later: dict[Key, int] = {}
        for number, (layer, experts) in reversed(list(enumerate(self._in_turn(layers, steps)))):
            keys = [(layer, expert) for expert in experts.tolist()]
            self._next.append([later.get(key, self._end) for key in keys])
            later.update(dict.fromkeys(keys, number))
        self._next.reverse()
        self._first = later

    @staticmethod
    def _in_turn(layers: Sequence[int], steps: Steps) -> Iterator[tuple[int, NDArray[np.int32]]]:
        for one in steps:
            yield from zip(layers, one, strict=True)

    def used(self, layer: int, experts: Sequence[int]) -> None:
        for expert, following in zip(experts, self._next[self._step], strict=True):
            self._known[layer, expert] = following
            if self._heap is not None:
                heappush(self._heap, (-following, (layer, expert)))
        self._step += 1

    def _use_after(self, key: Key) -> int:
        return self._known.get(key, self._first.get(key, self._end))

    def end_pass(self) -> None:
        """Nothing is learnt."""

    def victim(self, held: Collection[Key], pinned: Collection[Key]) -> Key | None:
        found = None if self._heap is None else self._farthest(self._heap, held, pinned)
        if found is None:
            self._heap = [(-self._use_after(key), key) for key in {*held, *pinned}]
            heapify(self._heap)
            found = self._farthest(self._heap, held, pinned)
        return found

    def _farthest(self, heap: list[tuple[int, Key]], held: Collection[Key], pinned: Collection[Key]) -> Key | None:
        aside: list[tuple[int, Key]] = []
        found: Key | None = None
        while heap and found is None:
            entry = heappop(heap)
            number, key = entry
            if -number != self._use_after(key):
                continue
            if key in pinned:
                aside.append(entry)
            elif key in held:
                found = key
        for entry in aside:
            heappush(heap, entry)
        return found

    def ranked(self) -> Iterator[Key]:
        """Those that are used first."""
        yield from sorted(self._first, key=lambda key: self._first[key])

    def state(self) -> dict[str, JsonValue]:
        return {}

    def restore(self, state: Mapping[str, JsonValue]) -> None:
        """There is nothing to remember."""
