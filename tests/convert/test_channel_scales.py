"""Scales are chosen where they lower the error of outputs, and they respect what must have one scale."""

from __future__ import annotations

import numpy as np
import pytest

from pocketseek.convert.calibrate import compensated
from pocketseek.convert.channel_scales import choose_scales, of_values, over_query_heads
from pocketseek.convert.gram import Gram
from pocketseek.convert.layer_math import Floats
from pocketseek.types import ModelConfig


def gram_of(x: Floats) -> Gram:
    gram = Gram(x.shape[1])
    gram.add(x)
    return gram


def outlying(rows: int, cols: int, seed: int) -> Floats:
    """A few channels are far larger than the rest."""
    sizes = np.ones(cols, np.float32)
    sizes[:: cols // 8] = 30
    return np.random.default_rng(seed).normal(size=(rows, cols)).astype(np.float32) * sizes


@pytest.mark.parametrize("format_name", ["q4p", "q4s"])
def test_scales_lower_the_error_on_inputs_that_were_not_seen(format_name: str) -> None:
    weights = np.random.default_rng(1).normal(size=(64, 256)).astype(np.float32)
    gram, unseen = gram_of(outlying(1000, 256, 2)), outlying(500, 256, 3)
    scales = choose_scales([(format_name, weights)], gram)
    assert scales is not None
    plain = compensated(format_name, weights, gram).values
    scaled = compensated(format_name, weights * scales, gram.divided_by(scales)).values / scales
    errors = [np.square(unseen @ (values - weights).T).sum() for values in (plain, scaled)]
    assert errors[1] < 0.9 * errors[0]


def test_inputs_that_are_alike_are_not_scaled() -> None:
    weights = np.random.default_rng(1).normal(size=(64, 256)).astype(np.float32)
    x = np.random.default_rng(2).normal(size=(1000, 256)).astype(np.float32)
    assert choose_scales([("q4p", weights)], gram_of(x)) is None


def test_inputs_that_were_never_seen_are_not_scaled() -> None:
    weights = np.random.default_rng(1).normal(size=(64, 256)).astype(np.float32)
    assert choose_scales([("q4p", weights)], gram_of(np.zeros((8, 256), np.float32))) is None


def test_query_heads_that_read_one_channel_have_one_scale() -> None:
    config = ModelConfig(
        family="llama",
        num_layers=1,
        hidden_size=96,
        intermediate_size=96,
        num_heads=6,
        num_kv_heads=2,
        head_dim=16,
        vocab_size=10,
        context_length=64,
        rms_norm_eps=1e-5,
        rope_theta=1e4,
    )
    importance = np.random.default_rng(1).uniform(1, 2, 96).astype(np.float32)
    shared = over_query_heads(config, importance)
    heads = shared.reshape(2, 3, 16)
    np.testing.assert_array_equal(heads, np.repeat(heads[:, :1], 3, axis=1))
    np.testing.assert_allclose(of_values(config, shared), importance.reshape(2, 3, 16).mean(axis=1).reshape(-1))
