from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pocketseek.convert.families.fields import Fields
from pocketseek.convert.families.hf_config import DecoderSettings, read_hf_config
from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.types import ModelConfig, RopeScaling

PLAIN: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
    "max_position_embeddings": 1024,
    "rms_norm_eps": 1e-5,
    "rope_theta": 50000.0,
    "hidden_act": "silu",
}
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 128}


def read(family: str = "llama", **changes: object) -> DecoderSettings:
    return read_hf_config(Fields("config.json", PLAIN | changes), family, qk_norm=False)


def test_settings_become_the_model_config() -> None:
    assert read().model == ModelConfig(
        family="llama",
        num_layers=2,
        hidden_size=64,
        intermediate_size=96,
        num_heads=4,
        num_kv_heads=2,
        head_dim=16,
        vocab_size=300,
        context_length=1024,
        rms_norm_eps=1e-5,
        rope_theta=50000.0,
    )


QWEN3_0528 = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768} | {
    "attn_factor": 0.8782488562869419
}
# What the model cards' config.json files say, without the keys that nobody reads.
PUBLISHED: dict[str, tuple[str, dict[str, Any], int, RopeScaling]] = {
    "DeepSeek-R1-Distill-Qwen-1.5B": (
        "qwen2",
        {"hidden_size": 1536, "num_attention_heads": 12, "num_key_value_heads": 2, "num_hidden_layers": 28}
        | {"max_position_embeddings": 131072, "rope_theta": 10000, "sliding_window": 4096}
        | {"use_sliding_window": False, "max_window_layers": 21, "use_mrope": False},
        128,
        RopeScaling(),
    ),
    "DeepSeek-R1-Distill-Llama-8B": (
        "llama",
        {"hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8, "rope_theta": 500000.0}
        | {"max_position_embeddings": 131072, "mlp_bias": False}
        | {"rope_scaling": {"rope_type": "llama3"} | LLAMA3 | {"original_max_position_embeddings": 8192}},
        128,
        RopeScaling("llama3", 8.0, 8192),
    ),
    "DeepSeek-R1-0528-Qwen3-8B": (
        "qwen3",
        {"hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128}
        | {"max_position_embeddings": 131072, "rope_theta": 1000000}
        | {"rope_scaling": QWEN3_0528},
        128,
        RopeScaling("yarn", 4.0, 32768),  # its attn_factor cancels yarn's
    ),
    "deepseek-coder-1.3b-instruct": (
        "llama",
        {"hidden_size": 2048, "num_attention_heads": 16, "num_key_value_heads": 16, "rope_theta": 100000}
        | {"max_position_embeddings": 16384, "rope_scaling": {"factor": 4.0, "type": "linear"}},
        128,
        RopeScaling("linear", 4.0),
    ),
    "deepseek-llm-7b-chat": (
        "llama",
        {"hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 32, "rope_theta": None}
        | {"max_position_embeddings": 4096, "rope_scaling": None, "pretraining_tp": 1},
        128,
        RopeScaling(),
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_are_understood(name: str) -> None:
    family, config, head_dim, scaling = PUBLISHED[name]
    model = read(family, **config).model
    assert model.head_dim == head_dim
    assert model.rope_scaling.attention_factor == pytest.approx(1.0, abs=1e-12)
    assert replace(model.rope_scaling, attention_factor=1.0) == scaling
    assert model.context_length == config["max_position_embeddings"]


def test_head_size_is_taken_from_the_file_before_it_is_computed() -> None:
    assert read(head_dim=128).model.head_dim == 128
    assert read("qwen3").model.head_dim == 128
    assert read(head_dim=None).model.head_dim == 16


def test_without_kv_heads_every_head_has_its_own() -> None:
    assert read(num_key_value_heads=None).model.num_kv_heads == 4


@pytest.mark.parametrize("key", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize("kind_key", ["rope_type", "type"])
def test_rope_settings_are_read_from_old_and_new_keys(key: str, kind_key: str) -> None:
    settings = read(**{key: {kind_key: "linear", "factor": 4.0}})
    assert settings.model.rope_scaling == RopeScaling(kind="linear", factor=4.0)
    np.testing.assert_allclose(settings.inv_freq, read().inv_freq / 4, rtol=1e-6)


def test_theta_inside_rope_parameters_wins() -> None:
    assert read(rope_parameters={"rope_type": "default", "rope_theta": 1e6}).model.rope_theta == 1e6
    assert read(rope_theta=None).model.rope_theta == 10000.0


def test_llama3_scaling_is_read() -> None:
    scaling = read(rope_scaling={"rope_type": "llama3"} | LLAMA3).model.rope_scaling
    assert scaling == RopeScaling("llama3", 8.0, 128, low_freq_factor=1.0, high_freq_factor=4.0)


def test_yarn_gets_its_attention_factor() -> None:
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256}
    assert read(rope_scaling=yarn).model.rope_scaling.attention_factor == pytest.approx(1.138629436)
    assert read(rope_scaling=yarn | {"attention_factor": 0.5}).model.rope_scaling.attention_factor == 0.5


def test_yarn_without_factor_uses_the_ratio_of_contexts() -> None:
    scaling = read(rope_scaling={"type": "yarn", "original_max_position_embeddings": 128}).model.rope_scaling
    assert scaling.factor == 8.0


def test_yarns_ramp_may_be_left_untruncated() -> None:
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256}
    truncated, smooth = read(rope_scaling=yarn), read(rope_scaling=yarn | {"truncate": False})
    assert not np.array_equal(truncated.inv_freq, smooth.inv_freq)


def test_original_context_outside_the_rope_settings_wins() -> None:
    settings = read(original_max_position_embeddings=512, rope_scaling={"rope_type": "llama3"} | LLAMA3)
    assert settings.model.rope_scaling.original_context == 512


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
        {"rope_scaling": {"type": "longrope", "short_factor": [1.0]}},
        {"rope_scaling": {"type": "mrope", "mrope_section": [16]}},
        {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
        {"partial_rotary_factor": 0.5},
        {"hidden_act": "gelu"},
        {"quantization_config": {"quant_method": "fp8"}},
        {"use_sliding_window": True, "sliding_window": 512, "max_window_layers": 1},
        {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 512},
        {"layer_types": ["full_attention", "linear_attention"]},
    ],
)
def test_settings_that_the_kernels_do_not_know_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(UnsupportedError, match=r"config.json.*; use "):
        read(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"use_sliding_window": False, "sliding_window": 512},
        {"use_sliding_window": True, "sliding_window": 1024, "max_window_layers": 0},
        {"use_sliding_window": True, "sliding_window": 512, "max_window_layers": 2},
        {"use_sliding_window": True, "sliding_window": None},
        {"layer_types": ["full_attention", "full_attention"], "sliding_window": 512},
        {"rope_scaling": None, "quantization_config": None},
        {"rope_scaling": {"rope_type": "default"}},
    ],
)
def test_settings_that_change_nothing_are_accepted(changes: dict[str, object]) -> None:
    assert read(**changes).model == read().model


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": None},
        {"hidden_size": -64},
        {"hidden_size": 10**30},
        {"num_hidden_layers": "2"},
        {"rms_norm_eps": 0},
        {"rope_theta": 1.0},
        {"rope_theta": True},
        {"rope_scaling": "linear"},
        {"rope_scaling": {"rope_type": "linear"}},
        {"rope_scaling": {"rope_type": "linear", "factor": 0}},
        {"rope_scaling": {"rope_type": 3}},
        {"rope_scaling": {"rope_type": "llama3"} | LLAMA3 | {"high_freq_factor": 1.0}},
        {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 0}},
        {"layer_types": [1, 2]},
        {"tie_word_embeddings": "yes"},
    ],
)
def test_impossible_settings_are_format_errors(changes: dict[str, object]) -> None:
    with pytest.raises(FormatError, match=r"config.json.*; get "):
        read(**changes)
