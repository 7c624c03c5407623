from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pocketseek.convert.families.gguf_config import gguf_fields, read_gguf_config
from pocketseek.convert.families.hf_config import DecoderSettings
from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.types import ModelConfig, RopeScaling

PLAIN: dict[str, Any] = {
    "block_count": 2,
    "context_length": 1024,
    "embedding_length": 64,
    "feed_forward_length": 96,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "attention.layer_norm_rms_epsilon": 1e-5,
}
YARN = {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 256}


def read(changes: dict[str, object] | None = None, divisors: np.ndarray | None = None) -> DecoderSettings:
    metadata = {f"llama.{key}": value for key, value in (PLAIN | (changes or {})).items()}
    keys = gguf_fields("model.gguf", {"general.architecture": "llama"} | metadata, "llama")
    return read_gguf_config(keys, "llama", qk_norm=False, vocab_size=300, divisors=divisors)


def test_key_values_become_the_model_config_with_llama_cpps_defaults() -> None:
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
        rope_theta=10000.0,
    )


def test_head_size_is_the_key_length() -> None:
    changes = {"attention.key_length": 128, "attention.value_length": 128, "rope.dimension_count": 128}
    assert read(changes).model.head_dim == 128


def test_per_layer_lists_of_one_value_count_as_the_value() -> None:
    assert read({"attention.head_count_kv": [2, 2], "feed_forward_length": [96, 96]}).model == read().model


@pytest.mark.parametrize(
    ("changes", "scaling"),
    [
        ({}, RopeScaling()),
        ({"rope.scaling.type": "none", "rope.scaling.factor": 4.0}, RopeScaling()),
        ({"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}, RopeScaling("linear", 4.0)),
        ({"rope.scaling.factor": 4.0}, RopeScaling("linear", 4.0)),
        ({"rope.scale_linear": 2.0}, RopeScaling("linear", 2.0)),
        ({"rope.scale_linear": 0.0}, RopeScaling()),
    ],
)
def test_linear_scaling_is_read_as_llama_cpp_reads_it(changes: dict[str, object], scaling: RopeScaling) -> None:
    assert read(changes).model.rope_scaling == scaling


@pytest.mark.parametrize(
    ("changes", "attention_factor"),
    [
        ({}, 1.138629436),
        ({"rope.scaling.attn_factor": 0.5}, 0.569314718),
        ({"rope.scaling.yarn_attn_factor": 1.0}, 1.138629436),
        ({"rope.scaling.yarn_attn_factor": 0.8782488562869419}, 1.0),
        ({"rope.scaling.yarn_log_multiplier": 1.0}, 1.0),
        ({"rope.scaling.yarn_ext_factor": 1.0}, 1.138629436),
    ],
)
def test_yarns_attention_factor_is_the_usual_one_times_the_files(
    changes: dict[str, object], attention_factor: float
) -> None:
    scaling = read(YARN | changes).model.rope_scaling
    assert (scaling.kind, scaling.factor, scaling.original_context) == ("yarn", 4.0, 256)
    assert scaling.attention_factor == pytest.approx(attention_factor, rel=1e-8)


def test_divisors_become_llama3_scaling() -> None:
    divisors = np.array([1, 1, 1, 1, 2, 8, 8, 8], np.float32)
    settings = read(divisors=divisors)
    np.testing.assert_allclose(settings.inv_freq, read().inv_freq / divisors, rtol=1e-6)
    assert settings.model.rope_scaling == RopeScaling("llama3", 8.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"expert_count": 8},
        {"attention.causal": False},
        {"attention.value_length": 32},
        {"rope.dimension_count": 8},
        {"attention.sliding_window": 512},
        {"attention.head_count_kv": [2, 4]},
        {"logit_scale": 0.1},
        {"attention.scale": 0.3},
        {"rope.scaling.type": "longrope"},
        YARN | {"rope.scaling.yarn_ext_factor": 0.5},
    ],
)
def test_settings_that_the_kernels_do_not_know_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(UnsupportedError, match=r"model.gguf.*(; use |not supported)"):
        read(changes)


@pytest.mark.parametrize("changes", [{"attention.sliding_window": 1024}, {"expert_count": 0}, {"logit_scale": 1.0}])
def test_settings_that_change_nothing_are_accepted(changes: dict[str, object]) -> None:
    assert read(changes).model == read().model


@pytest.mark.parametrize(
    "changes",
    [
        {"block_count": None},
        {"block_count": 0},
        {"context_length": "long"},
        {"attention.head_count": []},
        {"attention.layer_norm_rms_epsilon": float("nan")},
        {"rope.freq_base": -1.0},
        {"rope.scaling.type": 3},
    ],
)
def test_impossible_settings_are_format_errors(changes: dict[str, object]) -> None:
    with pytest.raises(FormatError, match=r"model.gguf.*; get "):
        read(changes)


@pytest.mark.parametrize("divisors", [[1.0] * 7, [0.0] * 8, [float("nan")] * 8, [-1.0] * 8])
def test_impossible_divisors_are_format_errors(divisors: list[float]) -> None:
    with pytest.raises(FormatError, match=r"rope_freqs.weight"):
        read(divisors=np.array(divisors, np.float32))
