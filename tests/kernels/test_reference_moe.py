from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketseek.kernels.reference_attention import LayerWeights
from pocketseek.kernels.reference_math import UnpackedMatrix, silu
from pocketseek.kernels.reference_moe import mixture, route
from pocketseek.shapes import MoeShape

PLAIN = MoeShape(num_experts=8, experts_per_token=3, expert_size=4)
GROUPED = replace(PLAIN, num_groups=4, groups_per_token=2)
VARIANTS = {
    "v2-lite": PLAIN,
    "v2": replace(GROUPED, weight_factor=16.0),
    "v3": replace(
        GROUPED, score="sigmoid", score_bias=True, group_score="best_two", normalised=True, weight_factor=2.5
    ),
    "qwen3": replace(PLAIN, normalised=True),
}


def slow_route(moe: MoeShape, outputs: np.ndarray, bias: np.ndarray | None) -> dict[int, float]:
    """One row, as the papers say it: expert -> weight."""
    outputs = outputs.astype(np.float64)
    if moe.score == "softmax":
        scores = np.exp(outputs - outputs.max())
        scores /= scores.sum()
    else:
        scores = 1 / (1 + np.exp(-outputs))
    wanted = scores if bias is None else scores + bias
    size = moe.num_experts // moe.num_groups
    groups = [wanted[first : first + size] for first in range(0, moe.num_experts, size)]
    worth = [max(group) if moe.group_score == "best" else sum(sorted(group)[-2:]) for group in groups]
    best = sorted(range(moe.num_groups), key=lambda group: -worth[group])[: moe.groups_per_token]
    allowed = [expert for expert in range(moe.num_experts) if expert // size in best]
    chosen = sorted(allowed, key=lambda expert: -wanted[expert])[: moe.experts_per_token]
    total = sum(scores[expert] for expert in chosen) if moe.normalised else 1.0
    return {expert: float(scores[expert] / total * moe.weight_factor) for expert in chosen}


@pytest.mark.parametrize("name", VARIANTS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_routing_is_what_the_slow_version_does(name: str, seed: int) -> None:
    moe, rng = VARIANTS[name], np.random.default_rng(seed)
    outputs = rng.normal(0, 2, (5, moe.num_experts)).astype(np.float32)
    bias = rng.normal(0, 0.3, moe.num_experts).astype(np.float32) if moe.score_bias else None
    experts, weights = route(moe, outputs, bias)
    for row in range(5):
        expected = slow_route(moe, outputs[row], bias)
        assert experts[row].tolist() == sorted(expected)
        np.testing.assert_allclose(weights[row], [expected[expert] for expert in experts[row]], rtol=1e-5)


def test_of_equal_experts_the_first_are_chosen() -> None:
    experts, _ = route(PLAIN, np.zeros((2, 8), np.float32), None)
    assert experts.tolist() == [[0, 1, 2]] * 2
    experts, _ = route(GROUPED, np.zeros((1, 8), np.float32), None)
    assert experts.tolist() == [[0, 1, 2]]


def test_a_bias_chooses_and_weighs_nothing() -> None:
    moe = replace(PLAIN, score="sigmoid", score_bias=True)
    bias = np.zeros(8, np.float32)
    bias[5:] = 10
    experts, weights = route(moe, np.zeros((1, 8), np.float32), bias)
    assert experts.tolist() == [[5, 6, 7]]
    np.testing.assert_array_equal(weights, np.float32(0.5))


def test_experts_of_the_worst_groups_are_not_chosen_however_few_are_left() -> None:
    moe = replace(GROUPED, groups_per_token=2, experts_per_token=4, score="sigmoid", score_bias=True)
    bias = np.array([3, -9, 2, -9, 1, 1, 1, 1], np.float32)  # negative ones in the best groups, good ones outside
    experts, _ = route(moe, np.zeros((1, 8), np.float32), bias)
    assert experts.tolist() == [[0, 1, 2, 3]]


def float_matrix(values: np.ndarray) -> UnpackedMatrix:
    return UnpackedMatrix(len(values), values.astype(np.float32)[:, None, :])


def random_layer(moe: MoeShape, hidden: int, rng: np.random.Generator) -> LayerWeights:
    sizes = {f"{expert}.": moe.expert_size for expert in range(moe.num_experts)}
    if moe.shared_size:
        sizes["shared_"] = moe.shared_size
    matrices = {"router": rng.normal(0, 1, (moe.num_experts, hidden))}
    for prefix, inner in sizes.items():
        shapes = {"gate": (inner, hidden), "up": (inner, hidden), "down": (hidden, inner)}
        matrices |= {prefix + name: rng.normal(0, 0.5, shape) for name, shape in shapes.items()}
    vectors = {"router_bias": rng.normal(0, 0.3, moe.num_experts).astype(np.float32)} if moe.score_bias else {}
    return LayerWeights({name: float_matrix(values) for name, values in matrices.items()}, vectors)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("shared_size", [0, 6])
def test_a_mixture_is_the_sum_of_shared_and_weighted_experts(name: str, shared_size: int) -> None:
    moe, rng = replace(VARIANTS[name], shared_size=shared_size), np.random.default_rng(3)
    layer = random_layer(moe, 12, rng)
    x = rng.normal(0, 1, (7, 12)).astype(np.float32)

    def mlp(prefix: str, row: np.ndarray) -> np.ndarray:
        gate, up, down = (layer.matrices[prefix + part].quants[:, 0] for part in ("gate", "up", "down"))
        return np.asarray(down @ (silu(gate @ row) * (up @ row)))

    result = mixture(moe, layer, x)
    for row, values in enumerate(x):
        chosen = slow_route(moe, layer.matrices["router"].quants[:, 0] @ values, layer.vectors.get("router_bias"))
        expected = sum((weight * mlp(f"{expert}.", values) for expert, weight in chosen.items()), np.zeros(12))
        if shared_size:
            expected = expected + mlp("shared_", values)
        np.testing.assert_allclose(result[row], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_row_comes_to_the_same_bits_in_any_company(name: str) -> None:
    moe, rng = replace(VARIANTS[name], shared_size=6), np.random.default_rng(4)
    layer = random_layer(moe, 12, rng)
    x = rng.normal(0, 1, (9, 12)).astype(np.float32)
    together = mixture(moe, layer, x)
    for row in range(9):
        assert mixture(moe, layer, x[row : row + 1]).tobytes() == together[row].tobytes()
