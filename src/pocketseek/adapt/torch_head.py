"""What a model's last hidden states cost against wanted next tokens, without ever holding all logits.

The vocabulary is gone through in slabs, twice: for the normaliser, and for the gradient, which is found in the same
call. A row of 150,000 logits takes 0.6 MB in float32, and so would its gradient.

Wanted is a distribution over a few tokens and the rest: p of `ids`, and `tail` for all others together. The cost is
-sum(p log q) - tail log(1 - sum q), the cross-entropy over those parts; with one id, p = 1 and no tail it is that of
the token. With r = tail / (1 - sum q) its gradient by logit j is q_j (1 - r), and for j among ids q_j - p_j.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from pocketseek.adapt.torch_weights import TorchWeights

SLAB_ROWS = 8192
_LEAST_TAIL = 1e-6


@dataclass(frozen=True)
class Wanted:
    """ids (rows, k) int64, probabilities (rows, k), tail (rows,); probabilities and tail of a row sum to 1."""

    ids: torch.Tensor
    probabilities: torch.Tensor
    tail: torch.Tensor

    @classmethod
    def tokens(cls, ids: torch.Tensor) -> Wanted:
        """Exactly these: (rows,)."""
        ones = torch.ones(len(ids), 1, device=ids.device)
        return cls(ids[:, None], ones, torch.zeros(len(ids), device=ids.device))


def head_cost(states: torch.Tensor, weights: TorchWeights, wanted: Wanted) -> torch.Tensor:
    """The sum over rows, a scalar. states: (rows, hidden), normed."""
    cost: torch.Tensor = _HeadCost.apply(states, weights, wanted)  # type: ignore[no-untyped-call]  # as torch's is
    return cost


class _HeadCost(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, weights: TorchWeights, wanted: Wanted) -> torch.Tensor:
        log_sum, chosen = _normalisers(states.detach(), weights, wanted.ids)
        log_q = chosen - log_sum[:, None]
        rest = (1.0 - log_q.exp().sum(1)).clamp(min=_LEAST_TAIL)
        cost = -(wanted.probabilities * log_q).sum() - (wanted.tail * rest.log()).sum()
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(_gradient(states.detach(), weights, wanted, log_sum, log_q, wanted.tail / rest))
        return cost

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return outer[0] * gradient, None, None


def _slabs(weights: TorchWeights) -> Iterator[tuple[int, int, torch.Tensor]]:
    """(first row, end, those rows of the head)."""
    vocab_size = weights.model.vocab_size
    for first in range(0, vocab_size, SLAB_ROWS):
        end = min(first + SLAB_ROWS, vocab_size)
        yield first, end, weights.head_rows(first, end)


def _normalisers(states: torch.Tensor, weights: TorchWeights, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """log(sum(exp(logits))) of each row, and the logits of its ids."""
    chosen = torch.zeros(ids.shape, device=states.device)
    parts = []
    for first, end, rows in _slabs(weights):
        logits = states @ rows.T
        parts.append(torch.logsumexp(logits, 1))
        inside = (ids >= first) & (ids < end)
        found = logits.gather(1, (ids - first).clamp(0, end - first - 1))
        chosen = torch.where(inside, found, chosen)
    return torch.logsumexp(torch.stack(parts), 0), chosen


def _gradient(
    states: torch.Tensor,
    weights: TorchWeights,
    wanted: Wanted,
    log_sum: torch.Tensor,
    log_q: torch.Tensor,
    ratio: torch.Tensor,
) -> torch.Tensor:
    """By the states. ratio: tail / (1 - sum q)."""
    gradient = torch.zeros_like(states)
    corrections = log_q.exp() * ratio[:, None] - wanted.probabilities
    for first, end, rows in _slabs(weights):
        by_logits = (states @ rows.T - log_sum[:, None]).exp_()
        by_logits *= (1.0 - ratio)[:, None]
        inside = (wanted.ids >= first) & (wanted.ids < end)
        places = (wanted.ids - first).clamp(0, end - first - 1)
        by_logits.scatter_add_(1, places, torch.where(inside, corrections, torch.zeros_like(corrections)))
        gradient.addmm_(by_logits, rows)
    return gradient
