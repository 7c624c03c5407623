"""Which experts to keep when memory holds only some of them: policies that learn from what passes use.

A policy is told of every pass, layer by layer, and names the one to drop when room is needed. It knows nothing of
memory, slots or reads. All of it is used by one thread, between native calls of a pass, so it has to be quick.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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
HALF_LIFE_PASSES = 32.0  # by traces of a trained model in three languages; with random weights 64 and more did alike
LONG_HALF_LIFE_PASSES, RECENT_HALF_LIFE_PASSES = 512.0, 16.0
RECENT_SHARE = 0.5  # of what `Blend` goes by
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


class _Ranking:
    """What policies share: a score for each expert, and a heap to find the lowest; some of its entries are out of date.

    Scores change by uses alone while a pass runs; between passes they may all change.
    """

    name: str

    def __init__(self, layers: Sequence[int], num_experts: int) -> None:
        """layers: those with experts, ascending."""
        self._row = {layer: row for row, layer in enumerate(layers)}
        self._layers = list(layers)
        self._num_experts = num_experts
        self._heap: list[_Entry] | None = None  # of what is held or on its way; made by the first `victim` of a pass

    def _score(self, row: int, expert: int) -> float:
        raise NotImplementedError

    def _count(self, row: int, expert: int) -> None:
        """One more use."""
        raise NotImplementedError

    def used(self, layer: int, experts: Sequence[int]) -> None:
        row = self._row[layer]
        for expert in experts:
            self._count(row, expert)
            if self._heap is not None:
                heappush(self._heap, (self._score(row, expert), layer, expert))

    def end_pass(self) -> None:
        self._heap = None

    def victim(self, held: Collection[Key], pinned: Collection[Key]) -> Key | None:
        found = None if self._heap is None else self._lowest(self._heap, held, pinned)
        if found is None:  # no heap yet, or what is left came without being used, from a read in the background
            keys = {*held, *pinned}
            self._heap = [(self._score(self._row[layer], expert), layer, expert) for layer, expert in keys]
            heapify(self._heap)
            found = self._lowest(self._heap, held, pinned)
        return found

    def _lowest(self, heap: list[_Entry], held: Collection[Key], pinned: Collection[Key]) -> Key | None:
        aside: list[_Entry] = []
        found: Key | None = None
        while heap and found is None:
            entry = heappop(heap)
            score, layer, expert = entry
            key = (layer, expert)
            if score != self._score(self._row[layer], expert):
                continue
            if key in pinned:  # perhaps not held yet, but on its way
                aside.append(entry)
            elif key in held:
                found = key
        for entry in aside:
            heappush(heap, entry)
        return found

    def ranked(self) -> Iterator[Key]:
        rows, experts = range(len(self._layers)), range(self._num_experts)
        scores: NDArray[np.float64] = np.array([[self._score(row, expert) for row in rows] for expert in experts])
        # Of equal ones the layers take turns, so that none is left out where nothing was learnt.
        for place in np.argsort(-scores.reshape(-1), kind="stable").tolist():
            expert, row = divmod(place, len(self._layers))
            yield self._layers[row], expert


class _Decayed:
    """A number for each expert that grows by one with a use, and halves in so many passes.

    Old numbers do not shrink; new uses count more, so that nothing is touched but what is used.
    """

    def __init__(self, num_layers: int, num_experts: int, half_life_passes: float) -> None:
        self._growth = math.exp2(1.0 / half_life_passes)
        self.weight = 1.0
        """Of a use now."""
        self.sums = [[0.0] * num_experts for _ in range(num_layers)]

    @property
    def rate(self) -> float:
        """Times a sum: uses for each pass, lately."""
        return (1.0 - 1.0 / self._growth) / self.weight

    def end_pass(self) -> None:
        self.weight *= self._growth
        if self.weight > _MOST_GROWTH:
            self.sums = [[number / self.weight for number in row] for row in self.sums]
            self.weight = 1.0

    def state(self) -> JsonValue:
        return [[round(number / self.weight, 6) for number in row] for row in self.sums]

    def restore(self, sums: list[list[float]]) -> None:
        self.sums, self.weight = sums, 1.0


class DecayedFrequency(_Ranking):
    """Keeps what was used most often, counting a use half as much after so many passes.

    With a short half-life it is nearly `LeastRecent`, with an endless one plain counting; what lies between was called
    LRFU (Lee et al., IEEE Transactions on Computers 50(12), 2001).
    """

    name = "decayed-frequency"

    def __init__(self, layers: Sequence[int], num_experts: int, half_life_passes: float = HALF_LIFE_PASSES) -> None:
        super().__init__(layers, num_experts)
        self._uses = _Decayed(len(layers), num_experts, half_life_passes)

    def _score(self, row: int, expert: int) -> float:
        return self._uses.sums[row][expert]

    def _count(self, row: int, expert: int) -> None:
        self._uses.sums[row][expert] += self._uses.weight

    def end_pass(self) -> None:
        super().end_pass()
        self._uses.end_pass()

    def state(self) -> dict[str, JsonValue]:
        return {"scores": self._uses.state()}

    def restore(self, state: Mapping[str, JsonValue]) -> None:
        self._uses.restore(*_tables(state, ("scores",), self._uses.sums))
        self._heap = None


class LeastRecent(_Ranking):
    """Keeps what was used last (LRU)."""

    name = "least-recent"

    def __init__(self, layers: Sequence[int], num_experts: int) -> None:
        super().__init__(layers, num_experts)
        self._now = 1.0
        self._last = [[0.0] * num_experts for _ in layers]

    def _score(self, row: int, expert: int) -> float:
        return self._last[row][expert]

    def _count(self, row: int, expert: int) -> None:
        self._last[row][expert] = self._now

    def used(self, layer: int, experts: Sequence[int]) -> None:
        super().used(layer, experts)
        self._now += 1.0

    def state(self) -> dict[str, JsonValue]:
        """Only the order counts."""
        ranks = {time: rank for rank, time in enumerate(sorted({time for row in self._last for time in row} | {0.0}))}
        return {"order": [[ranks[time] for time in row] for row in self._last]}

    def restore(self, state: Mapping[str, JsonValue]) -> None:
        (self._last,) = _tables(state, ("order",), self._last)
        self._now = 1.0 + max(map(max, self._last))
        self._heap = None


class Blend(_Ranking):
    """Keeps what is likeliest to be used, from how often it was used in the last few passes and in the long run."""

    name = "blend"

    def __init__(
        self,
        layers: Sequence[int],
        num_experts: int,
        half_life_passes: float = LONG_HALF_LIFE_PASSES,
        recent_half_life_passes: float = RECENT_HALF_LIFE_PASSES,
        recent_share: float = RECENT_SHARE,
    ) -> None:
        super().__init__(layers, num_experts)
        self._often = _Decayed(len(layers), num_experts, half_life_passes)
        self._recent = _Decayed(len(layers), num_experts, recent_half_life_passes)
        self._recent_share = recent_share
        self._weigh()

    def _weigh(self) -> None:
        self._of_often = (1 - self._recent_share) * self._often.rate
        self._of_recent = self._recent_share * self._recent.rate

    def _score(self, row: int, expert: int) -> float:
        return self._of_often * self._often.sums[row][expert] + self._of_recent * self._recent.sums[row][expert]

    def _count(self, row: int, expert: int) -> None:
        self._often.sums[row][expert] += self._often.weight
        self._recent.sums[row][expert] += self._recent.weight

    def end_pass(self) -> None:
        super().end_pass()
        self._often.end_pass()
        self._recent.end_pass()
        self._weigh()

    def state(self) -> dict[str, JsonValue]:
        return {"often": self._often.state(), "recent": self._recent.state()}

    def restore(self, state: Mapping[str, JsonValue]) -> None:
        often, recent = _tables(state, ("often", "recent"), self._often.sums)
        self._often.restore(often)
        self._recent.restore(recent)
        self._weigh()
        self._heap = None


def _tables(state: Mapping[str, JsonValue], names: Sequence[str], like: list[list[float]]) -> list[list[list[float]]]:
    """The state's tables of these names, each as large as that one. Raises FormatError."""
    if set(state) != set(names):
        raise format_error("expert statistics", "not those of this model")
    return [_table(state[name], like) for name in names]


def _table(value: JsonValue, like: list[list[float]]) -> list[list[float]]:
    if not isinstance(value, list) or len(value) != len(like):
        raise format_error("expert statistics", "not those of this model")
    return [_scores_of(row, len(mine)) for row, mine in zip(value, like, strict=True)]


def _scores_of(row: JsonValue, count: int) -> list[float]:
    if not isinstance(row, list) or len(row) != count:
        raise format_error("expert statistics", "not those of this model")
    scores = [float(one) for one in row if isinstance(one, int | float) and not isinstance(one, bool)]
    if len(scores) != count or not all(0 <= one < math.inf for one in scores):
        raise format_error("expert statistics", "a score is no number")
    return scores


POLICIES: dict[str, Callable[[Sequence[int], int], ExpertPolicy]] = {
    kind.name: kind for kind in (LeastRecent, DecayedFrequency, Blend)
}


def make_policy(name: str, layers: Sequence[int], num_experts: int) -> ExpertPolicy:
    """layers: those with experts, ascending. Raises UsageError for a name that is none."""
    if name not in POLICIES:
        raise UsageError(f"there is no expert policy {name[:40]!r}; use {', '.join(POLICIES)}")
    return POLICIES[name](layers, num_experts)


def usual_policy(config: ModelConfig) -> ExpertPolicy | None:
    """None for a model without experts."""
    layers = [layer for layer in range(config.num_layers) if config.has_experts(layer)]
    if config.moe is None or not layers:
        return None
    return make_policy(DEFAULT_POLICY, layers, config.moe.num_experts)
