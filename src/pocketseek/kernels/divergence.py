"""How far next-token distributions are from others of the same vocabulary: figures over many rows of logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


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


class Divergence:
    """Adds rows up; of the rows only one number each is kept."""

    def __init__(self) -> None:
        self._divergences: list[Doubles] = []
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

    @property
    def mean_kl(self) -> float:
        return float(np.concatenate(self._divergences).mean())

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


def log_softmax(logits: npt.NDArray[np.float32]) -> Doubles:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
