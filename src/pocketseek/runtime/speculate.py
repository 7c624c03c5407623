"""Guessing what a sequence says next, so that one pass over the weights can check several tokens of it at once.

A draft is run behind the token that is due, every row with logits. The sampler chooses at each row as it would have
done anyway, and the draft counts for as long as it equals the choice ("sample and match"). So a draft changes how many
passes a text takes and never the text: this module decides about time only.

- `Drafter` is where guesses come from: one object for each sequence. `PromptLookup` copies from the sequence itself;
  a small model could stand in its place.
- `draft_lengths` decides how much of the drafts is worth its time, from the chance of each token and the cost of a
  pass.

Chances are measured without running anything: a drafter sees every token that came out, also where its guess was not
used, and a guess that equals the token would have been accepted. So a sequence that cannot be guessed costs nothing
after a few dozen tokens, and one that begins to quote is noticed at once, without drafts to probe.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

PassCost = Callable[[int], float]  # relative time of a pass with that many tokens in it

MAX_DRAFT_TOKENS = 15  # with the token that is due 16 rows of logits, the most an executor keeps memory for
LONG_DRAFT_TOKENS = 31  # where passes wait for storage: more rows cost less than another pass
MAX_DRAFTS_PER_PASS = 32  # of all sequences: rows of logits are 0.6 MB each at 152 000 tokens
WINDOW_TOKENS = 8192  # how far back a draft may come from: at most 5 MB for a sequence, a fiftieth of its K and V

_NGRAMS = (4, 3, 2)
_LONGEST_MATCH = 16  # tokens; longer ones are not told apart
# Matches of similar length share a hit rate: 2, 3, 4, 5 to 7, 8 to 15, 16 and more tokens.
_CLASS_OF_LENGTH = (0, 0, 0, 1, 2, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 5)
_FIRST_HIT_RATES = (0.2, 0.3, 0.45, 0.6, 0.8, 0.9)
_LEARNING_RATE = 1 / 8  # the last dozen guesses count
_MIN_GAIN = math.log(1.05)  # neither chances nor costs are known better than that

_COSTS = ((1, 1.0), (2, 1.02), (4, 1.15), (8, 1.7), (16, 3.0))
_COSTS_AT = [num_tokens for num_tokens, _ in _COSTS]


@dataclass(frozen=True, slots=True)
class Draft:
    """A guess. chances[i]: how likely token i is right if those before it are."""

    token_ids: Sequence[int] = ()
    chances: Sequence[float] = ()


NO_DRAFT = Draft()


class Drafter(Protocol):
    """Guesses for one sequence. Used by one thread at a time."""

    def draft(self, tokens: Sequence[int], max_tokens: int) -> Draft:
        """At most max_tokens that may follow `tokens`, all of the sequence so far.

        Every call gets what the call before got, and what was appended since. Nothing is told about the drafts: which
        of them were run does not matter, which were right can be seen.
        """
        ...


def typical_pass_cost(num_tokens: int) -> float:
    """Of a 1.5B model with four bits per weight on two cores; straight lines between what was measured, and beyond.

    Reading the weights takes the time up to about four tokens, arithmetic does from about eight on.
    """
    index = min(max(1, bisect_left(_COSTS_AT, num_tokens)), len(_COSTS) - 1)
    (low, low_cost), (high, high_cost) = _COSTS[index - 1], _COSTS[index]
    return low_cost + (high_cost - low_cost) * (num_tokens - low) / (high - low)


@dataclass(frozen=True)
class Speculation:
    """How an engine speculates: who guesses for a new sequence, and what a pass costs (None: as learnt here)."""

    new_drafter: Callable[[], Drafter]
    pass_cost: PassCost | None = None


def draft_lengths(
    drafts: Sequence[Draft], *, room: int, num_tokens: int, num_sequences: int, pass_cost: PassCost
) -> list[int]:
    """How many tokens of each draft to run, `room` in all, in a pass that has num_tokens of num_sequences without them.

    The sum over all sequences of log(expected tokens / time) becomes as large as one finds by adding, step by step, the
    token that raises it most. For one sequence that is the rate; for several it means that nobody is slowed down much
    for somebody else's draft, also not who only reads a prompt.
    """
    lengths, best_lengths = [0] * len(drafts), [0] * len(drafts)
    reach, expected = [1.0] * len(drafts), [1.0] * len(drafts)  # chance that all so far are right; tokens to come out
    gain, best_value = 0.0, _MIN_GAIN
    cost_without = pass_cost(num_tokens)
    for num_drafted in range(1, room + 1):
        open_drafts = [i for i, draft in enumerate(drafts) if lengths[i] < len(draft.chances)]
        if not open_drafts:
            break
        chosen = max(open_drafts, key=lambda i: reach[i] * drafts[i].chances[lengths[i]] / expected[i])
        reach[chosen] *= drafts[chosen].chances[lengths[chosen]]
        gain += math.log1p(reach[chosen] / expected[chosen])
        expected[chosen] += reach[chosen]
        lengths[chosen] += 1
        value = gain - num_sequences * math.log(pass_cost(num_tokens + num_drafted) / cost_without)
        if value > best_value:
            best_value, best_lengths = value, list(lengths)
    return best_lengths


class PromptLookup:
    """Looks up where the last tokens stood before, and expects what followed them there.

    Answers quote: a text to be corrected, code to be changed, names, their own reasoning. The longest match of 4, 3 or
    2 tokens counts, of equals the latest. A draft that reaches the end of the sequence goes on with itself, so that a
    loop is copied round and round. How far the match goes back tells how likely it goes on: hit rates are kept by
    length, for this sequence.
    """

    def __init__(self, window: int = WINDOW_TOKENS) -> None:
        self._index = NgramIndex(window)
        self._window = window
        self._num_seen = 0
        self._source: int | None = None  # where the token stands that is expected next
        self._match_length = 0
        self._hit_rates = list(_FIRST_HIT_RATES)

    def draft(self, tokens: Sequence[int], max_tokens: int) -> Draft:
        self._catch_up(tokens)
        if self._source is None or max_tokens < 1:
            return NO_DRAFT
        token_ids = list(tokens[self._source : self._source + max_tokens])
        period = len(tokens) - self._source
        while len(token_ids) < max_tokens:
            token_ids.append(token_ids[-period])
        lengths = range(self._match_length, self._match_length + max_tokens)
        return Draft(token_ids, [self._hit_rates[_length_class(length)] for length in lengths])

    def _catch_up(self, tokens: Sequence[int]) -> None:
        if not self._num_seen:  # how well the prompt repeats itself says little about the answer: no rates from it
            for position in range(max(0, len(tokens) - self._window), len(tokens)):
                self._index.add(tokens, position)
            self._match(tokens, len(tokens))
        else:
            for position in range(self._num_seen, len(tokens)):
                self._learn(tokens, position)
                self._index.add(tokens, position)
                self._match(tokens, position + 1)
        self._num_seen = len(tokens)

    def _learn(self, tokens: Sequence[int], position: int) -> None:
        """What was expected at `position` is known now."""
        if self._source is not None:
            hit = float(tokens[self._source] == tokens[position])
            length_class = _length_class(self._match_length)
            self._hit_rates[length_class] += _LEARNING_RATE * (hit - self._hit_rates[length_class])

    def _match(self, tokens: Sequence[int], end: int) -> None:
        source = self._source = self._index.find(tokens, end)
        if source is not None:
            most = min(_LONGEST_MATCH, source)
            length = _NGRAMS[-1]  # the index found at least that
            while length < most and tokens[source - length - 1] == tokens[end - length - 1]:
                length += 1
            self._match_length = length


class NgramIndex:
    """Where each run of 4, 3 and 2 tokens stood last, within a window. Constant time per token, bounded memory."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._followers: dict[int, dict[tuple[int, ...], int]] = {num: {} for num in _NGRAMS}

    def add(self, tokens: Sequence[int], position: int) -> None:
        """Make known what tokens[position] follows, and forget what the token that leaves the window followed.

        Positions come in ascending order without gaps.
        """
        old = position - self._window
        for num, followers in self._followers.items():
            if position >= num:
                followers[tuple(tokens[position - num : position])] = position
            if old >= num:
                run = tuple(tokens[old - num : old])
                if followers.get(run) == old:
                    del followers[run]

    def find(self, tokens: Sequence[int], end: int) -> int | None:
        """The latest position that follows the longest run with which tokens[:end] ends; None if all are new."""
        for num, followers in self._followers.items():
            if end >= num:
                position = followers.get(tuple(tokens[end - num : end]))
                if position is not None:
                    return position
        return None


def _length_class(match_length: int) -> int:
    return _CLASS_OF_LENGTH[min(match_length, _LONGEST_MATCH)]
