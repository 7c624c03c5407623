"""What a guide makes of a grammar, without the library: tokens of more than a byte, forced ones, errors."""

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import pytest

from pocketseek.errors import UsageError
from pocketseek.runtime.guide import Guide, ReasoningFirst, StepBudget
from pocketseek.runtime.speculate import NO_DRAFT, Draft
from pocketseek.types import TextSettings

WORDS = [b"a", b"b", b"ab", b">", b">\n", b">x", b"</think", b"", b"</think>"]


class FakeMatcher:
    """Allows the bits of `mask`; `forced` is what it asks for."""

    def __init__(self, mask: bytes = b"\xff\xff", forced: Sequence[int] = (), error: str = "") -> None:
        self.mask, self.forced, self.error = mask, list(forced), error
        self.consumed: list[int] = []
        self.num_asked = 0

    def compute_bitmask(self) -> bytes:
        return self.mask

    def compute_ff_tokens(self) -> list[int]:
        self.num_asked += 1
        return self.forced[len(self.consumed) :]

    def validate_tokens(self, tokens: list[int]) -> int:
        return next((i for i, token_id in enumerate(tokens) if token_id > 1), len(tokens))

    def consume_token(self, sampled_token: int) -> bool:
        self.consumed.append(sampled_token)
        return True

    def is_stopped(self) -> bool:
        return bool(self.error)

    def is_error(self) -> bool:
        return bool(self.error)

    def get_error(self) -> str:
        return self.error


class FixedDrafter:
    def draft(self, tokens: Sequence[int], max_tokens: int) -> Draft:
        return Draft((1, 0, 3)[:max_tokens], (0.5,) * min(3, max_tokens))


def thinking() -> ReasoningFirst:
    return ReasoningFirst(TextSettings(), WORDS, [7], is_inside=True)


def test_the_mask_is_cut_to_the_vocabulary() -> None:
    assert Guide(FakeMatcher(b"\x05\xff"), 9).allowed().tolist() == [0, 2, 8]


def test_forced_tokens_are_asked_for_once_and_are_the_only_ones_allowed() -> None:
    matcher = FakeMatcher(forced=[2, 1, 0])
    guide = Guide(matcher, 9)
    for token_id in (2, 1, 0):
        assert guide.allowed().tolist() == [token_id]
        guide.accept(token_id)
    assert len(guide.allowed()) == 9
    assert (matcher.consumed, matcher.num_asked) == ([2, 1, 0], 2)


def test_forced_tokens_are_certain_drafts() -> None:
    guide = Guide(FakeMatcher(forced=[2, 1, 0]), 9)
    assert guide.draft(FixedDrafter(), [], 2) == Draft([2, 1], [1.0, 1.0])


def test_drafts_end_where_the_grammar_forbids_them() -> None:
    assert Guide(FakeMatcher(), 9).draft(FixedDrafter(), [], 9) == Draft((1, 0), (0.5, 0.5))


def test_drafts_are_free_inside_reasoning_only() -> None:
    assert Guide(FakeMatcher(), 9, thinking()).draft(FixedDrafter(), [], 3) == FixedDrafter().draft([], 3)
    opening = ReasoningFirst(TextSettings(), WORDS, [7], is_inside=False, opening_id=6)
    assert Guide(FakeMatcher(), 9, opening).draft(FixedDrafter(), [], 3) == NO_DRAFT


def test_nothing_but_white_space_may_be_glued_to_the_closing_tag() -> None:
    reasoning = thinking()
    assert 5 in reasoning.allowed()
    assert not reasoning.accept(6)
    assert np.setdiff1d(np.arange(9), reasoning.allowed()).tolist() == [5, 7]
    assert reasoning.accept(4)


def test_a_grammar_that_became_too_complex_is_an_error_and_no_end() -> None:
    guide = Guide(FakeMatcher(error="lexer error: too many states\n<non-verbose/>"), 9)
    assert not guide.is_finished
    assert guide.draft(FixedDrafter(), [], 3) == NO_DRAFT
    with pytest.raises(UsageError, match="too many states\\)"):
        guide.allowed()


class SlowMatcher(FakeMatcher):
    """Takes step_s of a clock that it turns itself."""

    def __init__(self, step_s: float) -> None:
        super().__init__()
        self.step_s, self.now_s = step_s, 0.0

    def compute_bitmask(self) -> bytes:
        self.now_s += self.step_s
        return self.mask


def _tokens_until_refused(matcher: SlowMatcher, num_answers: int, most: int) -> int:
    budget, num_tokens = StepBudget(lambda: matcher.now_s), 0
    guides = [Guide(matcher, 9, budget=budget) for _ in range(num_answers)]
    with suppress(UsageError):
        while num_tokens < most:
            guide = guides[num_tokens % num_answers]
            guide.allowed()
            guide.accept(0)
            num_tokens += 1
    return num_tokens


@pytest.mark.parametrize("num_answers", [1, 12])
def test_answers_whose_steps_are_dear_end_together_before_a_second_is_gone(num_answers: int) -> None:
    matcher = SlowMatcher(0.12)
    assert _tokens_until_refused(matcher, num_answers, 1000) < 6
    assert matcher.now_s < 1


def test_usual_steps_go_on_for_ever() -> None:
    assert _tokens_until_refused(SlowMatcher(0.009), 1, 1000) == 1000
