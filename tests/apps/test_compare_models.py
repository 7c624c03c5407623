"""Comparing gives the textbook figures, whatever the windows and the pieces that logits come in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from pocketseek.apps.compare_models import compare_models
from pocketseek.errors import UsageError
from pocketseek.kernels.divergence import log_softmax


class Source:
    """Logits that depend on the position in the window, in pieces of `at_once` rows."""

    def __init__(self, seed: int, vocab_size: int = 11, at_once: int = 4) -> None:
        self.vocab_size = vocab_size
        self._table = np.random.default_rng(seed).normal(size=(64, vocab_size)).astype(np.float32)
        self._at_once = at_once

    def logits(self, count: int) -> npt.NDArray[np.float32]:
        return self._table[:count]

    def run(self, token_ids: Sequence[int]) -> Iterator[npt.NDArray[np.float32]]:
        for first in range(0, len(token_ids), self._at_once):
            yield self._table[first : min(first + self._at_once, len(token_ids))]


def test_the_figures_are_those_of_the_formulas() -> None:
    own, other = Source(1), Source(2)
    ids = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
    result = compare_models(own, other, ids, window=10)
    p, q = log_softmax(other.logits(10)), log_softmax(own.logits(10))
    kl = (np.exp(p) * (p - q)).sum(axis=1)
    assert result.positions == 10
    assert result.mean_kl == pytest.approx(kl.mean())
    assert result.p99_kl == pytest.approx(np.quantile(kl, 0.99))
    assert result.top1_agreement == pytest.approx((p.argmax(1) == q.argmax(1)).mean())
    assert result.perplexity == pytest.approx(np.exp(-q[np.arange(9), ids[1:]].mean()))
    assert result.reference_perplexity == pytest.approx(np.exp(-p[np.arange(9), ids[1:]].mean()))


def test_a_model_does_not_differ_from_itself() -> None:
    result = compare_models(Source(1), Source(1), list(range(10)), window=5)
    assert result.mean_kl == pytest.approx(0, abs=1e-12)
    assert result.top1_agreement == 1.0


@pytest.mark.parametrize("at_once", [1, 3, 64])
def test_the_pieces_do_not_matter(at_once: int) -> None:
    ids = [index % 11 for index in range(50)]
    expected = compare_models(Source(1), Source(2), ids, window=20)
    result = compare_models(Source(1, at_once=at_once), Source(2, at_once=at_once), ids, window=20)
    assert result.positions == expected.positions == 50
    assert result.mean_kl == pytest.approx(expected.mean_kl)
    assert result.perplexity == pytest.approx(expected.perplexity)


def test_progress_ends_at_the_total() -> None:
    seen: list[tuple[int, int]] = []
    compare_models(Source(1), Source(2), [1] * 35, window=8, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (35, 35)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(UsageError, match="same model"):
        compare_models(Source(1), Source(2, vocab_size=12), [1, 2, 3], window=4)
    with pytest.raises(UsageError, match="fewer than two tokens"):
        compare_models(Source(1), Source(2), [1], window=4)
