"""Perplexity of a model on a text: how surprised it is, on average, by the next token.

The text's tokens are cut into windows that do not overlap; each is read from an empty context and every token after its
first is scored. A last window of one token has nothing to score and is left out. Figures of other programs compare only
if they use the same windows and the same tokens.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pocketseek.errors import ModelOutputError, UsageError

DEFAULT_WINDOW = 512
_LARGEST_EXPONENT = 700.0  # e to this is still a float


class ScoringEngine(Protocol):
    """What an evaluation needs of an Engine."""

    @property
    def context_length(self) -> int: ...

    def encode_prompt(self, prompt: str) -> tuple[int, ...]: ...

    def score(self, token_ids: Sequence[int]) -> list[float]: ...


@dataclass(frozen=True)
class Evaluation:
    """tokens: how many were scored. window: tokens in a window."""

    perplexity: float
    tokens: int
    window: int
    duration_s: float


def evaluate_text(
    engine: ScoringEngine,
    text: str,
    *,
    window: int = DEFAULT_WINDOW,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score a text. progress(done, total) counts tokens. Raises UsageError for a bad window or a text too short."""
    if not 2 <= window <= engine.context_length:
        raise UsageError(
            f"the window is {window}; use 2 to {engine.context_length}, the context that model and memory allow"
        )
    start_s = time.perf_counter()
    token_ids = engine.encode_prompt(text) if text else ()
    if len(token_ids) < 2:
        raise UsageError("the text has fewer than two tokens, so there is nothing to score; give a longer one")
    scores: list[float] = []
    for start in range(0, len(token_ids) - 1, window):
        scores += engine.score(token_ids[start : start + window])
        if progress is not None:
            progress(min(start + window, len(token_ids)), len(token_ids))
    return Evaluation(_perplexity(scores), len(scores), window, time.perf_counter() - start_s)


def _perplexity(log_probabilities: Sequence[float]) -> float:
    surprise = -math.fsum(log_probabilities) / len(log_probabilities)
    if not surprise <= _LARGEST_EXPONENT:
        raise ModelOutputError("the model gives this text no probability at all; verify or convert the model again")
    return math.exp(surprise)
