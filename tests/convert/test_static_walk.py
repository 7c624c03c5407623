"""Smoothing changes nothing in what is computed, and the walk sees what the model computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_model, write_hf

from pocketseek.convert.checkpoint_weights import CheckpointWeights
from pocketseek.convert.families.choose import choose_planner
from pocketseek.convert.layer_math import Floats
from pocketseek.convert.sources.open import open_source
from pocketseek.convert.static_rule import ATTENTION, MLP, StaticRule
from pocketseek.convert.static_walk import StaticLayer, StaticWalk
from pocketseek.kernels.reference import rms_norm, silu

GOLDEN = Path(__file__).parents[1] / "golden" / "data"
CASES = sorted(path.name for path in GOLDEN.iterdir() if not path.name.startswith(("deepseek-", "qwen3-moe")))  # dense


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Path:
    return GOLDEN / str(request.param)


@pytest.mark.parametrize("share", [None, 0.5])
def test_the_forward_pass_is_that_of_transformers(case: Path, share: float | None) -> None:
    golden = np.load(case / "golden.npz")
    with closing(open_source(case)) as source:
        weights = CheckpointWeights(source, choose_planner(source)(source))
        walk = StaticWalk(weights, golden["input_ids"].astype(np.int32).reshape(1, -1), share=share)
        for index in range(weights.model.num_layers):
            walk.layer(index)
        head = walk.head()
        matrix = weights.matrix("head.weight") * head.scales
    logits = rms_norm(walk.hidden, head.norm, walk.config.rms_norm_eps) @ matrix.T
    np.testing.assert_allclose(logits, golden["logits"], atol=3e-4)


@pytest.fixture(params=["llama", "qwen2", "qwen3"])
def weights(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CheckpointWeights]:
    """A model with an outlying channel where each of the scales is to help."""
    model = tiny_model(request.param)
    for name in ("input_layernorm", "post_attention_layernorm"):
        model.weights[f"model.layers.0.{name}.weight"][5] = 40
    for name, row in (("self_attn.v_proj", 3), ("mlp.up_proj", 7)):
        model.weights[f"model.layers.0.{name}.weight"][row] *= 30
    with closing(open_source(write_hf(tmp_path / "model", model))) as source:
        yield CheckpointWeights(source, choose_planner(source)(source))


def windows() -> np.ndarray:
    return np.random.default_rng(2).integers(10, 300, (3, 24)).astype(np.int32)


def test_smoothing_leaves_the_layer_as_it_was(weights: CheckpointWeights) -> None:
    plain, smoothed = (StaticWalk(weights, windows(), share=share) for share in (None, 0.5))
    before, after = plain.layer(0), smoothed.layer(0)
    np.testing.assert_allclose(smoothed.hidden, plain.hidden, rtol=2e-3, atol=2e-3)
    assert before.seen["scores"].high == pytest.approx(after.seen["scores"].high, rel=1e-3)
    assert before.seen["down"].high == pytest.approx(after.seen["down"].high, rel=1e-3)


@pytest.mark.parametrize("name", ["attn_in", "mlp_in", "mixed", "gated"])
def test_smoothing_makes_the_inputs_of_matrices_quieter(weights: CheckpointWeights, name: str) -> None:
    plain, smoothed = (StaticWalk(weights, windows(), share=share).layer(0) for share in (None, 0.5))
    assert smoothed.seen[name].rounding_noise() < 0.75 * plain.seen[name].rounding_noise()


def test_ranges_are_those_of_the_values(weights: CheckpointWeights) -> None:
    """The MLP again, computed at once for all rows."""
    walk = StaticWalk(weights, windows(), share=0.5)
    layer = walk.layer(0)
    last, inputs = walk.hidden, middle_of(weights)
    x = rms_norm(inputs, layer.vectors["mlp_norm"], walk.config.rms_norm_eps)
    gate, up = x @ layer.matrices["gate"].T, x @ layer.matrices["up"].T
    down = (silu(gate) * up) @ layer.matrices["down"].T
    np.testing.assert_allclose(inputs + down, last, rtol=2e-3, atol=2e-3)
    expect_range(layer, "mlp_in", x)
    expect_range(layer, "gate", gate)
    expect_range(layer, "activated", silu(gate))
    expect_range(layer, "gated", silu(gate) * up)
    expect_range(layer, "down", down)


def middle_of(weights: CheckpointWeights) -> Floats:
    """Hidden states between attention and MLP of the first layer: those after it, without what its MLP adds."""

    class NoMlp(CheckpointWeights):
        def matrix(self, name: str) -> Floats:
            matrix = weights.matrix(name)
            return np.zeros_like(matrix) if name.endswith("down") else matrix

    walk = StaticWalk(NoMlp(weights._source, weights._plan), windows(), share=None)
    walk.layer(0)
    return walk.hidden


def expect_range(layer: StaticLayer, name: str, values: Floats) -> None:
    assert layer.seen[name].low == pytest.approx(min(0, float(values.min())), rel=2e-3, abs=1e-4)
    assert layer.seen[name].high == pytest.approx(max(0, float(values.max())), rel=2e-3, abs=1e-4)


def test_every_activation_that_has_a_rule_was_seen(weights: CheckpointWeights) -> None:
    layer = StaticWalk(weights, windows(), share=0.5).layer(0)
    assert set(ATTENTION + MLP) <= set(layer.seen)


def test_a_loud_mlp_takes_16_bits_and_a_quiet_one_8(weights: CheckpointWeights) -> None:
    layer = StaticWalk(weights, windows(), share=0.5).layer(0)
    rule = StaticRule()
    assert rule.bits_of(layer, MLP) == 8
    layer.seen["gated"].add(np.array([4000], np.float32))
    assert rule.bits_of(layer, MLP) == 16
    assert rule.bits_of(layer, ATTENTION) == 8
    assert StaticRule(bits=16).bits_of(layer, ATTENTION) == 16
