"""The cost and its gradient, found slab by slab, are those of plain arithmetic over all logits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from adapt.training_models import tiny_package

from pocketseek.adapt import torch_head
from pocketseek.adapt.torch_head import Wanted, head_cost
from pocketseek.adapt.torch_weights import TorchWeights
from pocketseek.package.reader import Package


@pytest.mark.parametrize("slab_rows", [64, 8192])
@pytest.mark.parametrize("with_tail", [False, True])
def test_cost_and_gradient_are_those_of_all_logits_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slab_rows: int, with_tail: bool
) -> None:
    monkeypatch.setattr(torch_head, "SLAB_ROWS", slab_rows)
    torch.manual_seed(0)
    with Package.open(tiny_package(tmp_path)) as package:
        weights = TorchWeights(package)
        head = weights.matrix("head.weight")
        states = torch.randn(7, head.shape[1], requires_grad=True)
        ids = torch.stack([torch.randperm(len(head))[:5] for _ in range(7)])
        parts = torch.rand(7, 6).softmax(1) if with_tail else torch.rand(7, 5).softmax(1)
        tail = parts[:, 5] if with_tail else torch.zeros(7)
        cost = head_cost(states, weights, Wanted(ids, parts[:, :5], tail))
        cost.backward()

        plain = states.detach().clone().requires_grad_()
        log_q = torch.log_softmax(plain @ head.T, 1).gather(1, ids)
        rest = 1 - log_q.exp().sum(1)
        expected = -(parts[:, :5] * log_q).sum() - (tail * rest.log()).sum()
        expected.backward()
        torch.testing.assert_close(cost, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(states.grad, plain.grad, rtol=1e-4, atol=1e-5)


def test_the_cost_of_tokens_is_their_cross_entropy(tmp_path: Path) -> None:
    torch.manual_seed(0)
    with Package.open(tiny_package(tmp_path)) as package:
        weights = TorchWeights(package)
        head = weights.matrix("head.weight")
        states, ids = torch.randn(9, head.shape[1]), torch.randint(len(head), (9,))
        expected = torch.nn.functional.cross_entropy(states @ head.T, ids, reduction="sum")
        torch.testing.assert_close(head_cost(states, weights, Wanted.tokens(ids)), expected, rtol=1e-5, atol=1e-5)
        weights.pin_head()
        torch.testing.assert_close(head_cost(states, weights, Wanted.tokens(ids)), expected, rtol=1e-5, atol=1e-5)
