"""How far one model's next-token distributions are from another's, of the same tokenizer, on a text.

Used for what quantisation costs: the reference is the same model with more bits. Windows are those of `evaluate`; every
position of a window is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pocketseek.errors import UsageError

Floats = npt.NDArray[np.float64]


class GivesLogits(Protocol):
    """As WindowLogits."""

    @property
    def vocab_size(self) -> int: ...

    def run(self, token_ids: Sequence[int]) -> Iterator[npt.NDArray[np.float32]]: ...


@dataclass(frozen=True)
class Comparison:
    """kl: KL(reference || model) in nats. top1_agreement: how often both have the same likeliest token.

    perplexities: of the text, every token after the first of a window.
    """

    positions: int
    mean_kl: float
    p99_kl: float
    top1_agreement: float
    perplexity: float
    reference_perplexity: float


def compare_models(
    model: GivesLogits,
    reference: GivesLogits,
    token_ids: Sequence[int],
    *,
    window: int,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Raises UsageError for vocabularies of different sizes, and for fewer than two tokens."""
    if model.vocab_size != reference.vocab_size:
        raise UsageError(
            f"the models have vocabularies of {model.vocab_size} and {reference.vocab_size} tokens; "
            "only packages of the same model can be compared"
        )
    if len(token_ids) < 2:
        raise UsageError("the text has fewer than two tokens, so there is nothing to compare; give a longer one")
    found = _Found()
    for start in range(0, len(token_ids) - 1, window):
        ids = token_ids[start : start + window]
        first = 0
        for own, other in zip(model.run(ids), reference.run(ids), strict=True):
            found.add(own, other, ids[first + 1 : first + 1 + len(own)])
            first += len(own)
        if progress is not None:
            progress(min(start + window, len(token_ids)), len(token_ids))
    return found.comparison()


class _Found:
    def __init__(self) -> None:
        self._divergences: list[Floats] = []
        self._num_same = 0
        self._own_nats, self._other_nats, self._num_scored = 0.0, 0.0, 0

    def add(self, own: npt.NDArray[np.float32], other: npt.NDArray[np.float32], following: Sequence[int]) -> None:
        """following: the token after each row; the last row of a window has none."""
        own_log, other_log = log_softmax(own), log_softmax(other)
        self._divergences.append(np.einsum("rv,rv->r", np.exp(other_log), other_log - own_log))
        self._num_same += int((own.argmax(axis=-1) == other.argmax(axis=-1)).sum())
        rows = np.arange(len(following))
        self._own_nats -= float(own_log[rows, list(following)].sum())
        self._other_nats -= float(other_log[rows, list(following)].sum())
        self._num_scored += len(following)

    def comparison(self) -> Comparison:
        divergences = np.concatenate(self._divergences)
        return Comparison(
            positions=len(divergences),
            mean_kl=float(divergences.mean()),
            p99_kl=float(np.quantile(divergences, 0.99)),
            top1_agreement=self._num_same / len(divergences),
            perplexity=float(np.exp(self._own_nats / self._num_scored)),
            reference_perplexity=float(np.exp(self._other_nats / self._num_scored)),
        )


def log_softmax(logits: npt.NDArray[np.float32]) -> Floats:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
