"""Which tokens a constrained answer may have next: one grammar on its way through one answer.

A `Guide` is asked for each token (`allowed`) and told what was chosen (`accept`). What is allowed is a function of the
tokens so far and of nothing else, so a constrained text, too, is the same alone, in a batch, with and without
speculation. Rows of a draft need no masks in advance and nothing is ever taken back: a row is looked at only when every
guess before it was right, and by then the guide has been told so.

Where the grammar leaves one text only (the key of a required property), its usual tokens are *forced*: others that
spell the same are not allowed. So forced tokens are drafts that are never wrong.

Reasoning comes before the constraint: a model that thinks first does so freely, only that it cannot end there
(`ReasoningFirst`); the grammar begins right behind the closing tag.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import numpy as np

from pocketseek.errors import UsageError
from pocketseek.kernels.contract import Indices
from pocketseek.runtime.speculate import NO_DRAFT, Draft, Drafter
from pocketseek.types import TextSettings


class Matcher(Protocol):
    """The part of llguidance's LLMatcher that is used here. An error is a state that it never leaves."""

    def compute_bitmask(self) -> bytes: ...

    def compute_ff_tokens(self) -> list[int]: ...

    def validate_tokens(self, tokens: list[int]) -> int: ...

    def consume_token(self, sampled_token: int) -> bool: ...

    def is_stopped(self) -> bool: ...

    def is_error(self) -> bool: ...

    def get_error(self) -> str: ...


class ReasoningFirst:
    """The part of an answer before its constraint. token_data: the bytes of every token.

    is_inside: the prompt ended in the opening tag. Otherwise reasoning may begin with the first token, if the tag is
    one (opening_id); an answer that begins in another way has none.
    """

    def __init__(
        self,
        settings: TextSettings,
        token_data: Sequence[bytes],
        end_ids: Collection[int],
        *,
        is_inside: bool,
        opening_id: int | None = None,
    ) -> None:
        self.is_inside = is_inside
        self.opening_id = opening_id
        self._token_data = token_data
        self._end_ids = list(end_ids)
        self._tag = settings.reasoning_end.encode("utf-8")
        self._tail = b""

    def allowed(self) -> Indices:
        """Everything but the end, and what has letters glued to the closing tag: those would be the answer's."""
        allowed = np.ones(len(self._token_data), np.bool_)
        allowed[self._end_ids] = False
        for length in range(1, len(self._tag)):
            if self._tail.endswith(self._tag[:length]):
                allowed[self._glued(self._tag[length:])] = False
        return allowed.nonzero()[0]

    def accept(self, token_id: int) -> bool:
        """Whether the closing tag is complete."""
        text = self._tail + self._token_data[token_id]
        self._tail = text[1 - len(self._tag) :]
        return self._tag in text

    def _glued(self, rest: bytes) -> list[int]:
        data = self._token_data
        return [i for i, token in enumerate(data) if token.startswith(rest) and token[len(rest) :].strip()]


class StepBudget:
    """Processor time for the steps of one constraint, shared by all its answers, which one thread writes.

    There is some to begin with, and each token brings more, as any but a hostile grammar needs. Whoever else has an
    answer in the same passes waits no longer than that.
    """

    FIRST_S = 0.5
    TOKEN_S = 0.01

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self._left_s = self.FIRST_S

    @property
    def is_spent(self) -> bool:
        return self._left_s < 0

    def now(self) -> float:
        return self._clock()

    def spend(self, since: float) -> None:
        """since: `now` before the work."""
        self._left_s -= self._clock() - since

    def earn(self) -> None:
        self._left_s = min(self._left_s + self.TOKEN_S, self.FIRST_S)


class Guide:
    """Of one sequence; used by one thread at a time. The matcher is the guide's own."""

    def __init__(
        self,
        matcher: Matcher,
        vocab_size: int,
        reasoning: ReasoningFirst | None = None,
        budget: StepBudget | None = None,
    ) -> None:
        self._budget = budget or StepBudget()
        self._matcher = matcher
        self._vocab_size = vocab_size
        self._reasoning = reasoning
        self._forced: list[int] | None = None  # None: not asked for since the last token

    @property
    def is_finished(self) -> bool:
        """Nothing can follow."""
        return self._reasoning is None and self._matcher.is_stopped() and not self._matcher.is_error()

    def allowed(self) -> Indices:
        """The ids that may come next, ascending, at least one. Raises UsageError if the grammar became too complex."""
        reasoning = self._reasoning
        if reasoning is not None and reasoning.is_inside:
            return reasoning.allowed()
        start = self._budget.now()
        forced = self._forced_tokens()
        ids = np.asarray(forced[:1], np.intp) if forced else self._mask()
        if reasoning is not None and reasoning.opening_id is not None:
            ids = np.union1d(ids, [reasoning.opening_id])
        self._budget.spend(start)
        self._check()
        return ids

    def accept(self, token_id: int) -> None:
        """What was chosen among the allowed ones."""
        reasoning = self._reasoning
        if reasoning is not None and not reasoning.is_inside and token_id == reasoning.opening_id:
            reasoning.is_inside = True
        elif reasoning is not None and reasoning.is_inside:
            self._reasoning = None if reasoning.accept(token_id) else reasoning
        else:
            self._reasoning = None
            start = self._budget.now()
            self._matcher.consume_token(token_id)  # what goes wrong is found by the next question
            self._forced = (self._forced or [])[1:] or None
            self._budget.spend(start)
            self._budget.earn()

    def draft(self, drafter: Drafter, tokens: Sequence[int], most: int) -> Draft:
        """What is forced, or what the drafter guesses as far as it is allowed."""
        if self._reasoning is not None:
            return drafter.draft(tokens, most) if self._reasoning.is_inside else NO_DRAFT
        start = self._budget.now()
        forced = self._forced_tokens()[:most]
        self._budget.spend(start)
        if forced:
            return Draft(forced, [1.0] * len(forced))
        draft = drafter.draft(tokens, most)
        if not draft.token_ids or self._matcher.is_error():
            return NO_DRAFT
        start = self._budget.now()
        num_valid = self._matcher.validate_tokens(list(draft.token_ids))
        self._budget.spend(start)
        return Draft(draft.token_ids[:num_valid], draft.chances[:num_valid])

    def _forced_tokens(self) -> list[int]:
        if self._forced is None:
            self._forced = [] if self._matcher.is_error() else self._matcher.compute_ff_tokens()
        return self._forced

    def _mask(self) -> Indices:
        if self._matcher.is_error():
            return np.empty(0, np.intp)
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        return np.unpackbits(bits, count=self._vocab_size, bitorder="little").nonzero()[0]

    def _check(self) -> None:
        if self._budget.is_spent:
            raise UsageError("the answer's grammar takes too long at every token; use a simpler schema or grammar")
        if self._matcher.is_error():
            reason = " ".join(self._matcher.get_error().removesuffix("<non-verbose/>").split())[:120]
            raise UsageError(f"the answer's grammar became too complex ({reason}); use a simpler schema or grammar")
