"""Which experts to keep when memory holds only some of them: policies that learn from what passes use.

A policy is told of every pass, layer by layer, and names the one to drop when room is needed. It knows nothing of
memory, slots or reads. All of it is used by one thread, between native calls of a pass, so it has to be quick.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import UsageError
from pocketseek.package.strict_json import JsonValue, format_error
from pocketseek.types import ModelConfig

Key: TypeAlias = tuple[int, int]
"""(layer, expert)"""
_Entry: TypeAlias = tuple[float, int, int]  # score, layer, expert

DEFAULT_POLICY = "decayed-frequency"
HALF_LIFE_PASSES = 512.0  # chosen; traces are to decide
_MOST_GROWTH = 1e60  # of scores, before all are brought back


class ExpertPolicy(Protocol):
    """What is asked of one."""

    name: str

    def used(self, layer: int, experts: Sequence[int]) -> None:
        """The distinct experts that a pass uses in this layer: once per layer and pass, in order, before `victim` is
        asked for any of them."""
        ...

    def end_pass(self) -> None: ...

    def victim(self, held: Collection[Key], pinned: Collection[Key]) -> Key | None:
        """Whom to drop of those that are held, and not pinned; None if there is nobody. It is dropped then."""
        ...

    def ranked(self) -> Iterator[Key]:
        """All keys, those first that are the most likely to be wanted: what a start warms."""
        ...

    def state(self) -> dict[str, JsonValue]:
        """What was learnt, for the next start; JSON."""
        ...

    def restore(self, state: Mapping[str, JsonValue]) -> None:
        """Raises FormatError, and changes nothing, for what is no state of such a policy for such a model."""
        ...


class DecayedFrequency:
    """Keeps what was used most often, counting a use half as much after so many passes.

    Old scores do not shrink; new uses count more. So nothing is touched but what is used, and the lowest is found in a
    heap, some of whose entries are out of date.
    """

    name = DEFAULT_POLICY

    def __init__(self, layers: Sequence[int], num_experts: int, half_life_passes: float = HALF_LIFE_PASSES) -> None:
        """layers: those with experts, ascending."""
        self._row = {layer: row for row, layer in enumerate(layers)}
        self._layers = list(layers)
        self._growth = 2.0 ** (1.0 / half_life_passes)
        self._weight = 1.0  # of a use now
        self._scores = [[0.0] * num_experts for _ in layers]
        self._heap: list[_Entry] | None = None  # of what is held; made by the first `victim` of a pass

    def used(self, layer: int, experts: Sequence[int]) -> None:
        scores, weight = self._scores[self._row[layer]], self._weight
        for expert in experts:
            scores[expert] += weight
            if self._heap is not None:
                heappush(self._heap, (scores[expert], layer, expert))

    def end_pass(self) -> None:
        self._heap = None
        self._weight *= self._growth
        if self._weight > _MOST_GROWTH:
            self._scores = [[score / self._weight for score in row] for row in self._scores]
            self._weight = 1.0

    def victim(self, held: Collection[Key], pinned: Collection[Key]) -> Key | None:
        if self._heap is not None and (found := self._lowest(self._heap, held, pinned)) is not None:
            return found
        self._heap = [(self._scores[self._row[layer]][expert], layer, expert) for layer, expert in held]
        heapify(self._heap)
        return self._lowest(self._heap, held, pinned)

    def _lowest(self, heap: list[_Entry], held: Collection[Key], pinned: Collection[Key]) -> Key | None:
        aside: list[_Entry] = []
        found: Key | None = None
        while heap and found is None:
            entry = heappop(heap)
            score, layer, expert = entry
            key = (layer, expert)
            if score != self._scores[self._row[layer]][expert] or key not in held:
                continue
            if key in pinned:
                aside.append(entry)
            else:
                found = key
        for entry in aside:
            heappush(heap, entry)
        return found

    def ranked(self) -> Iterator[Key]:
        scores: NDArray[np.float64] = np.array(self._scores).reshape(len(self._layers), -1)
        # Of equal ones the layers take turns, so that none is left out where nothing was learnt.
        for place in np.argsort(-scores.T.reshape(-1), kind="stable").tolist():
            expert, row = divmod(place, len(self._layers))
            yield self._layers[row], expert

    def state(self) -> dict[str, JsonValue]:
        return {"scores": [[round(score / self._weight, 6) for score in row] for row in self._scores]}

    def restore(self, state: Mapping[str, JsonValue]) -> None:
        value = state.get("scores")
        if set(state) != {"scores"} or not isinstance(value, list) or len(value) != len(self._scores):
            raise format_error("expert statistics", "not those of this model")
        self._scores = [_scores_of(row, len(mine)) for row, mine in zip(value, self._scores, strict=True)]
        self._weight = 1.0
        self._heap = None


def _scores_of(row: JsonValue, count: int) -> list[float]:
    if not isinstance(row, list) or len(row) != count:
        raise format_error("expert statistics", "not those of this model")
    scores = [float(one) for one in row if isinstance(one, int | float) and not isinstance(one, bool)]
    if len(scores) != count or not all(0 <= one < math.inf for one in scores):
        raise format_error("expert statistics", "a score is no number")
    return scores


def make_policy(name: str, layers: Sequence[int], num_experts: int) -> ExpertPolicy:
    """layers: those with experts, ascending. Raises UsageError for a name that is none."""
    if name != DecayedFrequency.name:
        raise UsageError(f"there is no expert policy {name!r}; use {DecayedFrequency.name}")
    return DecayedFrequency(layers, num_experts)


def usual_policy(config: ModelConfig) -> ExpertPolicy | None:
    """None for a model without experts."""
    if config.moe is None:
        return None
    layers = [layer for layer in range(config.num_layers) if config.has_experts(layer)]
    return make_policy(DEFAULT_POLICY, layers, config.moe.num_experts)
