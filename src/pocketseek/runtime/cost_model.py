"""How long a pass takes, as a function of the tokens in it, learnt from the passes themselves.

The curve is piecewise linear through one point per power of two: the average tokens and seconds of passes of that size.
Two things are known of every machine and hold the points in order: more tokens never take less time, and never more
time in proportion (the weights are read once however many there are). So a point that was measured cold, or long
ago, cannot keep later passes from its size, and is soon measured anew. Noise only makes a pass slower; therefore a
faster pass counts for more than a slower one, but a phone that gets hot is followed within a dozen passes.

There is no measuring run: the first prompt and its answer give both ends of the curve, a handful of passes later the
estimates are good, and the first request waits for nothing. Until then nothing is known and nothing is cut.
The length of the context is not part of it: attention over long contexts appears as slower passes.

The curve is of the time spent computing. What a pass reads from storage is read meanwhile and takes the same time
however many tokens there are, so a pass is expected to take the longer of the two (`PassTimes`).

Used by one thread (the engine's worker).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pocketseek.types import Limits

MAX_TOKENS = 65_536  # the answer of tokens_within when nothing is known
_FEW = 3  # fewer than eight
_OUTLIER, _MOST_OUTLIERS = 4.0, 3  # so many times the expected time, and so often in a row
_FASTER, _SLOWER = 0.5, 0.25  # weights of a pass that was faster or slower than expected


class CostPoint(NamedTuple):
    """Passes of about this many tokens take this long."""

    tokens: float
    seconds: float


class CostModel:
    """The curve of one way to compute (threads, cores)."""

    def __init__(self, points: Iterable[CostPoint] = ()) -> None:
        self._by_size = {int(point.tokens).bit_length(): point for point in points}
        self._curve: tuple[CostPoint, ...] | None = None
        self._num_outliers = 0

    @property
    def points(self) -> tuple[CostPoint, ...]:
        """What was observed, by size."""
        return tuple(self._by_size[size] for size in sorted(self._by_size))

    @property
    def tells_sizes_apart(self) -> bool:
        """Passes of a few tokens and of many were seen."""
        sizes = self._by_size.keys()
        return bool(sizes) and min(sizes) <= _FEW and max(sizes) > _FEW

    def observe(self, num_tokens: int, seconds: float) -> None:
        """A pass of num_tokens took that long."""
        if num_tokens < 1 or seconds <= 0.0:
            return
        expected = self.seconds(num_tokens)
        if 0.0 < _OUTLIER * expected < seconds and self._num_outliers < _MOST_OUTLIERS:
            self._num_outliers += 1  # the process was frozen, or the whole machine busy: believed when it goes on
            return
        self._num_outliers = 0
        size = num_tokens.bit_length()
        known = self._by_size.get(size)
        if known is None:
            self._by_size[size] = CostPoint(num_tokens, seconds)
        else:
            weight = _FASTER if seconds * known.tokens < known.seconds * num_tokens else _SLOWER
            self._by_size[size] = CostPoint(
                known.tokens + weight * (num_tokens - known.tokens), known.seconds + weight * (seconds - known.seconds)
            )
        self._curve = None

    def seconds(self, num_tokens: int) -> float:
        """The expected time of a pass; 0.0 while nothing is known."""
        curve = self._in_order()
        if not curve:
            return 0.0
        before = None
        for point in curve:
            if num_tokens <= point.tokens:
                return point.seconds if before is None else _between(before, point, num_tokens)
            before = point
        return curve[-1].seconds * num_tokens / curve[-1].tokens

    def tokens_within(self, seconds: float) -> int:
        """The most tokens whose pass is expected to take no longer, 0 if there are none; MAX_TOKENS if unknown."""
        curve = self._in_order()
        if not curve:
            return MAX_TOKENS
        if seconds < curve[0].seconds:
            return 0
        last = max(index for index, point in enumerate(curve) if point.seconds <= seconds)
        point = curve[last]
        if last + 1 == len(curve):
            tokens = point.tokens * seconds / point.seconds
        else:
            following = curve[last + 1]
            share = (seconds - point.seconds) / (following.seconds - point.seconds)
            tokens = point.tokens + share * (following.tokens - point.tokens)
        return min(MAX_TOKENS, int(tokens * (1 + 1e-9)))

    def _in_order(self) -> tuple[CostPoint, ...]:
        """The points, moved where they contradict what is known of every machine."""
        if self._curve is None:
            curve: list[CostPoint] = []
            for point in self.points:
                seconds = point.seconds
                if curve:
                    below = curve[-1]
                    seconds = min(max(seconds, below.seconds), below.seconds * point.tokens / below.tokens)
                curve.append(CostPoint(point.tokens, seconds))
            self._curve = tuple(curve)
        return self._curve


@dataclass(frozen=True)
class PassTimes:
    """What to expect of the next pass: computing as learnt, or storage where that takes longer."""

    computing: CostModel
    storage_s: float = 0.0

    @property
    def tells_sizes_apart(self) -> bool:
        return self.computing.tells_sizes_apart

    @property
    def cheapest_s(self) -> float:
        """Of a pass with one token."""
        return self.seconds(1)

    @property
    def paced_by_storage(self) -> bool:
        """A pass with one token waits for storage, so that more of them cost nothing up to `num_free`."""
        return self.storage_s > self.computing.seconds(1)

    @property
    def num_free(self) -> int:
        """How many tokens take no longer than one."""
        return self.tokens_within(self.cheapest_s)

    def seconds(self, num_tokens: int) -> float:
        """The expected time of a pass; 0.0 while nothing is known."""
        return max(self.computing.seconds(num_tokens), self.storage_s)

    def tokens_within(self, seconds: float) -> int:
        """As CostModel.tokens_within."""
        return self.computing.tokens_within(seconds) if seconds >= self.storage_s else 0


class PassCosts:
    """A curve for each choice of threads and cores that the governor made so far, and each kind of pass.

    storage_s: how long storage takes for the next pass, whatever is computed in it. kind: see `Executor.pass_kind`.
    """

    def __init__(self, models: Mapping[str, CostModel] | None = None) -> None:
        self.models = dict(models or {})
        self.storage_s = 0.0
        self.kind = ""
        self._last: tuple[Limits, str, PassTimes] | None = None  # asked several times for every pass
        self.num_observed = 0

    def of(self, limits: Limits) -> PassTimes:
        last = self._last
        if last is None or last[0] is not limits or last[1] != self.kind or last[2].storage_s != self.storage_s:
            computing = self.models.setdefault(_key(limits, self.kind), CostModel())
            last = self._last = limits, self.kind, PassTimes(computing, self.storage_s)
        return last[2]

    def observe(self, limits: Limits, num_tokens: int, computing_s: float, *, is_typical: bool = True) -> None:
        """is_typical: see `Executor`; other passes teach nothing. The first is left out, too: where the system does not
        count page faults, it may have read the weights from storage without saying so."""
        if self.num_observed > 0 and is_typical:
            self.of(limits).computing.observe(num_tokens, computing_s)
        self.num_observed += 1


def _between(low: CostPoint, high: CostPoint, num_tokens: int) -> float:
    share = (num_tokens - low.tokens) / (high.tokens - low.tokens)
    return low.seconds + share * (high.seconds - low.seconds)


def _key(limits: Limits, kind: str) -> str:
    """ "4" for four threads anywhere, "2@4,5" for two threads on the cores 4 and 5; then the kind, if there is one."""
    cores = ",".join(map(str, limits.cores))
    return " ".join(filter(None, (f"{limits.num_threads}@{cores}" if cores else str(limits.num_threads), kind)))
