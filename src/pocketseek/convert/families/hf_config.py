"""Hugging Face `config.json` of a llama-like decoder -> ModelConfig and rotary frequencies.

Reads old files (`rope_theta`, `rope_scaling`) and new ones (`rope_parameters`). Settings that change the arithmetic
in a way the kernels do not know are refused, never ignored. One deviation from transformers, which ignores the key:
yarn's `attn_factor` (DeepSeek-R1-0528-Qwen3-8B has it: 0.878 = 1 / 1.139) multiplies the computed attention factor, as
vLLM does and as only makes sense of the value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.families.fields import Fields
from pocketseek.convert.rope import inverse_frequencies, yarn_attention_factor
from pocketseek.convert.sources.byte_file import quoted
from pocketseek.convert.sources.fp8 import SCALE_BLOCK
from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.types import ModelConfig, RopeScaling

_DEFAULT_THETA = 10000.0


@dataclass(frozen=True)
class DecoderSettings:
    """What a checkpoint's settings say, before its tensors were looked at (biases and tying depend on those)."""

    model: ModelConfig
    inv_freq: NDArray[np.float32]
    says_tied: bool


def read_hf_config(config: Fields, family: str, *, qk_norm: bool, allow_fp8: bool = False) -> DecoderSettings:
    """Raises FormatError or UnsupportedError; the message names the key. allow_fp8: as `refuse_unsupported`."""
    refuse_unsupported(config, allow_fp8=allow_fp8)
    hidden, heads = config.whole("hidden_size"), config.whole("num_attention_heads")
    head_dim = config.whole("head_dim", 128 if family == "qwen3" else max(1, hidden // heads))
    context = config.whole("max_position_embeddings")
    _check_window(config, context)
    theta, scaling, truncate = read_rope(config, context)
    model = ModelConfig(
        family=family,
        num_layers=config.whole("num_hidden_layers"),
        hidden_size=hidden,
        intermediate_size=config.whole("intermediate_size"),
        num_heads=heads,
        num_kv_heads=config.whole("num_key_value_heads", heads),
        head_dim=head_dim,
        vocab_size=config.whole("vocab_size"),
        context_length=context,
        rms_norm_eps=config.number("rms_norm_eps", 1e-6, low=1e-30, high=1.0),
        rope_theta=theta,
        rope_scaling=scaling,
        qk_norm=qk_norm,
    )
    inv_freq = inverse_frequencies(head_dim, theta, scaling, truncate=truncate)
    return DecoderSettings(model, inv_freq, config.flag("tie_word_embeddings", False))


def refuse_unsupported(config: Fields, *, allow_fp8: bool) -> None:
    """allow_fp8: weights in float8 with scales for squares of 128 x 128 are fine."""
    quantisation = config.nested("quantization_config")
    if quantisation is not None and not (allow_fp8 and _is_block_fp8(quantisation)):
        raise UnsupportedError(
            f"{config.where}: the weights are already quantised (quantization_config); use the BF16 or F16 checkpoint"
        )
    activation = config.text("hidden_act", "silu")
    if activation not in ("silu", "swish"):
        raise UnsupportedError(
            f"{config.where}: hidden_act {quoted(activation)} is not supported; use a model with silu"
        )
    for place in (config, config.nested("rope_parameters"), config.nested("rope_scaling")):
        if place is not None and place.number("partial_rotary_factor", 1.0, low=0, high=1) != 1.0:
            raise UnsupportedError(f"{place.where}: partial_rotary_factor is not supported; use a model without it")


def _is_block_fp8(quantisation: Fields) -> bool:
    is_e4m3 = quantisation.text("fmt", "e4m3") == "e4m3"
    in_blocks = quantisation.raw("weight_block_size") == [SCALE_BLOCK, SCALE_BLOCK]
    return quantisation.text("quant_method", "") == "fp8" and is_e4m3 and in_blocks


def _check_window(config: Fields, context: int) -> None:
    """Sliding windows that hide nothing within the context are fine; others are refused."""
    layer_types = config.texts("layer_types")
    others = set(layer_types) - {"full_attention", "sliding_attention"}
    if others:
        raise UnsupportedError(
            f"{config.where}: layer type {quoted(min(others))} is not supported; use a dense decoder"
        )
    in_use = config.flag("use_sliding_window", False) or "sliding_attention" in layer_types
    layers = config.whole("num_hidden_layers")
    if not layer_types and config.whole("max_window_layers", 0, low=0) >= layers:
        in_use = False  # the window starts at a layer that does not exist
    if in_use and config.has("sliding_window") and config.whole("sliding_window") < context:
        raise UnsupportedError(
            f"{config.where}: a sliding window shorter than the context is not supported; use a model without it"
        )


def read_rope(config: Fields, context: int) -> tuple[float, RopeScaling, bool]:
    """theta, scaling and whether yarn's ramp is truncated."""
    rope = config.nested("rope_scaling") or config.nested("rope_parameters") or Fields(config.where, {})
    outer_theta = config.number("rope_theta", _DEFAULT_THETA, low=1.001, high=1e18)
    theta = rope.number("rope_theta", outer_theta, low=1.001, high=1e18)
    kind = rope.text("rope_type", rope.text("type", "default"))
    original = config.whole("original_max_position_embeddings", context)
    if not config.has("original_max_position_embeddings"):
        original = rope.whole("original_max_position_embeddings", context)
    if kind == "default":
        return theta, RopeScaling(), True
    if kind == "linear":
        return theta, RopeScaling(kind="linear", factor=_factor(rope)), True
    if kind == "llama3":
        return theta, _read_llama3(rope, original), True
    if kind == "yarn":
        return theta, _read_yarn(rope, original, context), rope.flag("truncate", True)
    raise UnsupportedError(
        f"{config.where}: rope scaling {quoted(kind)} is not supported; use a model with linear, llama3, yarn or none"
    )


def _factor(rope: Fields, default: float | None = None) -> float:
    return rope.number("factor", default, low=1e-3, high=1e6)


def _read_llama3(rope: Fields, original: int) -> RopeScaling:
    low = rope.number("low_freq_factor", low=1e-3, high=1e6)
    high = rope.number("high_freq_factor", low=1e-3, high=1e6)
    if high <= low:
        raise FormatError(f"{rope.where}: high_freq_factor is not above low_freq_factor; get an undamaged checkpoint")
    return RopeScaling(
        kind="llama3", factor=_factor(rope), original_context=original, low_freq_factor=low, high_freq_factor=high
    )


def _read_yarn(rope: Fields, original: int, context: int) -> RopeScaling:
    factor = _factor(rope, context / original)
    computed = yarn_attention_factor(
        factor, rope.number("mscale", 0.0, low=0, high=1e3), rope.number("mscale_all_dim", 0.0, low=0, high=1e3)
    )
    computed *= rope.number("attn_factor", 1.0, low=1e-3, high=1e3)
    return RopeScaling(
        kind="yarn",
        factor=factor,
        original_context=original,
        beta_fast=rope.number("beta_fast", 32.0, low=1e-3, high=1e6),
        beta_slow=rope.number("beta_slow", 1.0, low=1e-3, high=1e6),
        attention_factor=rope.number("attention_factor", computed, low=1e-3, high=1e3),
    )
