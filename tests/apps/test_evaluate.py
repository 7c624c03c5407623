"""Perplexity is over every token after the first of each window, and the windows do not overlap."""

import math
from collections.abc import Sequence

import pytest
from fake_chat_engine import FakeEngine
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.apps.evaluate import evaluate_text
from pocketseek.errors import ModelOutputError, UsageError


class RecordingEngine(FakeEngine):
    def __init__(self) -> None:
        super().__init__()
        self.windows: list[tuple[int, ...]] = []

    def score(self, token_ids: Sequence[int]) -> list[float]:
        self.windows.append(tuple(token_ids))
        return super().score(token_ids)


@given(st.text(min_size=2, max_size=60), st.integers(2, 20))
def test_windows_cover_the_text_once_and_all_but_their_first_tokens_are_scored(text: str, window: int) -> None:
    engine = RecordingEngine()
    result = evaluate_text(engine, text, window=window)
    covered = [token for part in engine.windows for token in part]
    expected = list(engine.encode_prompt(text))
    left_out = 1 if len(text) % window == 1 else 0
    assert covered == expected[: len(expected) - left_out]
    assert all(len(part) == window for part in engine.windows[:-1])
    assert result.tokens == sum(len(part) - 1 for part in engine.windows)
    assert result.perplexity == pytest.approx(math.e)
    assert result.window == window


def test_progress_ends_at_the_total() -> None:
    seen: list[tuple[int, int]] = []
    evaluate_text(FakeEngine(), "abcdefg", window=3, progress=lambda *step: seen.append(step))
    assert seen == [(3, 7), (6, 7)]


@pytest.mark.parametrize("window", [-1, 0, 1, 1001])
def test_impossible_windows_are_refused(window: int) -> None:
    with pytest.raises(UsageError, match="window"):
        evaluate_text(FakeEngine(), "some text", window=window)


@pytest.mark.parametrize("text", ["", "x"])
def test_a_text_without_anything_to_score_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="longer"):
        evaluate_text(FakeEngine(), text)


@pytest.mark.parametrize("score", [-1e9, float("-inf"), float("nan")])
def test_a_text_without_probability_is_an_error_instead_of_infinity(score: float) -> None:
    engine = FakeEngine()
    engine.score = lambda token_ids: [score]
    with pytest.raises(ModelOutputError):
        evaluate_text(engine, "ab")
