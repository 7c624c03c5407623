"""From one row of logits to one token: a pure function of (logits, parameters, history, seed, position).

Order of the steps: repetition penalty, presence and frequency penalties, then temperature 0 takes the best token;
otherwise temperature, top-k, top-p (over what top-k left), min-p (against the best), and a draw. Equal logits rank by
token id, lowest first, so that "the best n" is always one definite set. Nothing is drawn from a stateful generator, so
batching, pre-emption or speculation cannot change a text. Exponentials and sums are those of the kernels that
made the logits: the core's are the same bits on every processor. Nearly flat logits, which are dealt into buckets by
numpy, and kernels without a core may differ from one machine to another when a draw falls within 1e-6 of a border.

Cost for 152 000 logits on a PC: greedy 0.01 ms, sampled 0.3 ms, nearly flat logits 0.6 ms, the log-probability 0.15 ms;
right after a pass, which leaves cold caches, up to twice that.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pocketseek.errors import ModelOutputError, UsageError
from pocketseek.kernels.contract import Indices, LogitsMath
from pocketseek.kernels.logits import NumpyLogits
from pocketseek.runtime.counter_random import uniform
from pocketseek.types import SamplingParams

LogitsRow = npt.NDArray[np.float32]
Side = Literal["left", "right"]

MAX_TOP_K = 1_000_000
MAX_SEED = 2**64 - 1
PLAIN_MATH: LogitsMath = NumpyLogits()  # an engine gives that of its kernels

_SMALLEST_TEMPERATURE = np.finfo(np.float32).tiny
_HEADS = ((math.exp(-6), 1 / 32), (math.exp(-10), 1 / 8))  # weights down to here, if so few of the values reach it
_FEW = 4096  # values that are sorted without more ado
_BLOCK = 32768  # values at a time: small arrays stay in the cache
_NUM_BUCKETS = 1024
_BUCKETS_PER_UNIT = 32  # a bucket spans weights that differ by a factor of e^(1/32); beyond e^-32 they share the last

# name: (lowest, highest, lowest is allowed, whole number)
_RANGES: dict[str, tuple[float, float, bool, bool]] = {
    "temperature": (0.0, 2.0, True, False),
    "top_k": (0, MAX_TOP_K, True, True),
    "top_p": (0.0, 1.0, False, False),
    "min_p": (0.0, 1.0, True, False),
    "repetition_penalty": (0.1, 10.0, True, False),
    "presence_penalty": (-2.0, 2.0, True, False),
    "frequency_penalty": (-2.0, 2.0, True, False),
}


@dataclass(frozen=True)
class Choice:
    """A chosen token and the natural log of its probability under the raw distribution (no penalties, no filters).

    logprob is None if the sampler was made without.
    """

    token_id: int
    logprob: float | None


class Sampler:
    """Chooses the tokens of one request. Holds what never changes for it; the output so far is passed in each time."""

    def __init__(
        self,
        params: SamplingParams,
        seed: int,
        prompt_ids: Sequence[int],
        *,
        logprobs: bool = True,
        logits_math: LogitsMath = PLAIN_MATH,
    ) -> None:
        self._params = params
        self._seed = seed
        self._logprobs = logprobs
        self._math = logits_math
        self._num_prompt = len(prompt_ids)
        self._prompt_unique = np.unique(np.asarray(prompt_ids, dtype=np.int64))
        self._penalises = params.repetition_penalty != 1.0 or bool(params.presence_penalty or params.frequency_penalty)

    def choose(self, logits: LogitsRow, output_ids: Sequence[int], allowed: Indices | None = None) -> Choice:
        """The token that follows prompt + output_ids. Raises ModelOutputError if the logits are not usable numbers.

        allowed: ids to choose from, ascending and not empty; None: all. All filters look at those alone.
        """
        scores = self._penalised(logits, output_ids) if self._penalises else logits
        if allowed is not None:
            _require_finite(logits.max())  # a row with NaN is unusable, wherever that stands
            scores = scores[allowed]
        best = int(scores.argmax())  # the first NaN if there is one, else the lowest id of the highest logits
        _require_finite(scores[best])
        if self._params.temperature > 0.0:
            divisor = max(np.float32(self._params.temperature), _SMALLEST_TEMPERATURE)
            weights = _Weights(scores[best], divisor, self._math)
            best = _draw(scores, weights, self._params, uniform(self._seed, self._num_prompt + len(output_ids)))
        best = best if allowed is None else int(allowed[best])
        return Choice(best, log_probability(logits, best, self._math) if self._logprobs else None)

    def _penalised(self, logits: LogitsRow, output_ids: Sequence[int]) -> LogitsRow:
        params = self._params
        counts = Counter(output_ids)
        output_unique = np.fromiter(counts.keys(), dtype=np.int64, count=len(counts))
        scores = logits.copy()
        seen = np.union1d(self._prompt_unique, output_unique)
        with np.errstate(over="ignore"):  # an overflow ends as an infinity, which `choose` reports
            penalty = np.float32(params.repetition_penalty)
            scores[seen] = np.where(scores[seen] < 0, scores[seen] * penalty, scores[seen] / penalty)
            if output_unique.size:
                num_seen = np.fromiter(counts.values(), dtype=np.float32, count=len(counts))
                scores[output_unique] -= params.presence_penalty + params.frequency_penalty * num_seen
        return scores


@dataclass(frozen=True)
class _Weights:
    """Unnormalised probabilities of a row's values: e^((value - best) / temperature), so the best token's is 1."""

    best: np.float32
    divisor: np.float32
    math: LogitsMath

    def of(self, values: LogitsRow) -> LogitsRow:
        return self.math.exp_weights(values, self.best, self.divisor)

    def sum(self, values: LogitsRow) -> float:
        return self.math.exp_mass(values, self.best, self.divisor)

    def exponents(self, values: LogitsRow) -> LogitsRow:
        exponents: LogitsRow = values - self.best
        if self.divisor != 1.0:
            exponents /= self.divisor
        return exponents

    def near(self, values: LogitsRow, floor: float, most: int) -> Indices | None:
        """Whose weights are at least `floor`, some slightly smaller too: without exponentials. None: over `most`."""
        return self.math.at_least(values, float(self.best) + float(self.divisor) * (math.log(floor) - 0.01), most)

    def at_least(self, values: LogitsRow, floor: float) -> LogitsRow:
        """Values whose weights reach `floor`. By indices, since a mask that is mixed takes five times as long."""
        near = values[self.near(values, floor, len(values))]
        return near[(self.of(near) >= np.float32(floor)).nonzero()[0]]


def _draw(scores: LogitsRow, weights: _Weights, params: SamplingParams, random: float) -> int:
    """Inverse transform over the kept tokens in descending order. Works on values only: the id is found at the end."""
    values = scores
    if 0 < params.top_k < len(scores):
        values = np.partition(scores, len(scores) - params.top_k)[len(scores) - params.top_k :]
    filtered = params.top_p < 1.0 or params.min_p > 0.0
    with np.errstate(over="ignore", under="ignore"):  # far-off tokens become -inf and then weight 0: meant
        ranking, mass = _rank(values, weights, params.min_p, params.top_p if filtered else random)
        if filtered:
            last = ranking.find(params.top_p * mass, "left")
            place = min(ranking.find(random * last.mass, "right"), last, key=lambda place: place.mass)
        else:
            place = ranking.find(random * mass, "right")
    return int((scores == place.value).nonzero()[0][place.equals_before])


def _rank(values: LogitsRow, weights: _Weights, min_p: float, share: float) -> tuple[_Sorted | _Buckets, float]:
    """A ranking of the highest values, which hold at least `share` of the mass, and the mass of all values.

    Values below min_p times the best are left out. The head that matters is nearly always a few hundred tokens; how far
    down it reaches does not change the result.
    """
    mass = weights.sum(values) if min_p else None
    for floor, share_of_values in _HEADS:
        near = None if floor <= min_p else weights.near(values, floor, int(len(values) * share_of_values))
        if near is None:
            break
        mass = weights.sum(values) if mass is None else mass
        head = _Sorted(values[near], weights)
        if head.mass >= share * mass * (1.0 + 1e-6):  # the two masses are sums in different orders
            return head, mass
    allowed = weights.at_least(values, min_p) if min_p else values
    ranking = (_Sorted if len(allowed) <= _FEW else _Buckets)(allowed, weights)
    return ranking, ranking.mass if mass is None else mass


@dataclass(frozen=True)
class _Place:
    """A value's place in a ranking: how many equal ones precede it, and the mass down to it, itself included."""

    value: np.float32
    equals_before: int
    mass: float


class _Sorted:
    """Values in descending order with the running sum of their weights, which begins at `before`."""

    def __init__(self, values: LogitsRow, weights: _Weights, before: float = 0.0) -> None:
        self._ranked = np.sort(values)[::-1]
        self._sums = weights.of(self._ranked).cumsum(dtype=np.float64) + before

    @property
    def mass(self) -> float:
        return float(self._sums[-1])

    def find(self, target: float, side: Side) -> _Place:
        """The first value down to which the mass reaches (left) or exceeds (right) the target."""
        index = _first(self._sums, target, side)
        value = self._ranked[index]
        return _Place(value, index - int((self._ranked == value).argmax()), float(self._sums[index]))


class _Buckets:
    """The same for many values: dealt into buckets by how far they lie below the best, sorted only where one looks."""

    def __init__(self, values: LogitsRow, weights: _Weights) -> None:
        self._values, self._weights = values, weights
        self._buckets = np.empty(len(values), np.uint16)
        masses: npt.NDArray[np.float64] = np.zeros(_NUM_BUCKETS)
        for start in range(0, len(values), _BLOCK):
            exponents = weights.exponents(values[start : start + _BLOCK])
            buckets = self._buckets[start : start + _BLOCK]
            buckets[:] = np.minimum(exponents * -_BUCKETS_PER_UNIT, _NUM_BUCKETS - 1)
            masses += np.bincount(buckets, np.exp(exponents, out=exponents), _NUM_BUCKETS)
        self._ends = masses.cumsum()

    @property
    def mass(self) -> float:
        return float(self._ends[-1])

    def find(self, target: float, side: Side) -> _Place:
        bucket = _first(self._ends, target, side)
        members = self._values[(self._buckets == bucket).nonzero()[0]]
        before = float(self._ends[bucket - 1]) if bucket else 0.0
        return _Sorted(members, self._weights, before).find(target, side)


def _first(sums: npt.NDArray[np.float64], target: float, side: Side) -> int:
    """Where the target lies in the running sums; if rounding carried it beyond them, the last that grows."""
    index = int(sums.searchsorted(target, side))
    return index if index < len(sums) else int(sums.searchsorted(sums[-1]))


def log_probability(logits: LogitsRow, token_id: int, logits_math: LogitsMath = PLAIN_MATH) -> float:
    """Natural log of softmax(logits)[token_id], error below 1e-6. Raises ModelOutputError for unusable logits.

    The float64 sum of float32 exponentials is more exact than the logits are, and four times faster than float64 alone.
    """
    best = logits.max()
    _require_finite(best)
    with np.errstate(over="ignore", under="ignore"):
        mass = logits_math.exp_mass(logits, best, np.float32(1.0))
    return float(logits[token_id]) - float(best) - math.log(mass)


def _require_finite(best: np.float32) -> None:
    """The best of a row is finite unless the row holds NaN or +inf, or nothing but -inf."""
    if not math.isfinite(best):
        raise ModelOutputError(
            f"the model's best score for the next token is {best}, not a number to choose by; "
            "check the installed model with 'pocketseek verify'"
        )


def validate_sampling(params: SamplingParams) -> None:
    """Raises UsageError naming the first value that is of the wrong type or out of range, and the range."""
    for name, (lowest, highest, lowest_allowed, whole) in _RANGES.items():
        value = getattr(params, name)
        allowed_types = int if whole else (int, float)
        right_type = isinstance(value, allowed_types) and not isinstance(value, bool)
        # NaN fails every comparison, so it is refused here too.
        if not right_type or not lowest <= value <= highest or (value == lowest and not lowest_allowed):
            raise UsageError(_complaint(name, value, lowest, highest, lowest_allowed, whole))
    seed = params.seed
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= MAX_SEED):
        raise UsageError(f"seed is {_shown(seed)}; use a whole number from 0 to 2**64 - 1, or none for a fresh one")


def _complaint(name: str, value: object, lowest: float, highest: float, lowest_allowed: bool, whole: bool) -> str:
    kind = "a whole number" if whole else "a number"
    start = f"from {lowest:g}" if lowest_allowed else f"above {lowest:g}"
    return f"{name} is {_shown(value)}; use {kind} {start} up to {highest:.7g}"


def _shown(value: object) -> str:
    """The value for a message; short and on one line even if it is a huge integer or a long string."""
    if isinstance(value, int) and abs(value) >= 10**20:
        return "a huge number"
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
