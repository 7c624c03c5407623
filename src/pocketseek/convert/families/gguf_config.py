"""GGUF key-values of a llama-like decoder -> ModelConfig and rotary frequencies, with llama.cpp's defaults.

Keys are `<architecture>.<key>`. llama3 scaling is not a key but a tensor of divisors, which the caller passes in.
yarn's attention factor is the usual one times `rope.scaling.attn_factor` and `rope.scaling.yarn_attn_factor` where
given (both mean a multiplier; 1 is what writers put there for "as usual").
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.families.fields import Fields
from pocketseek.convert.families.hf_config import DecoderSettings
from pocketseek.convert.rope import divided_frequencies, inverse_frequencies, yarn_attention_factor
from pocketseek.convert.sources.byte_file import quoted
from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.types import ModelConfig, RopeScaling

_PLAIN_SCALES = ("logit_scale", "embedding_scale", "residual_scale", "attention.scale")
_PER_LAYER = ("feed_forward_length", "attention.head_count", "attention.head_count_kv")


def gguf_fields(where: str, metadata: Mapping[str, object], architecture: str) -> Fields:
    """The architecture's own keys without their prefix. Per-layer lists of one value count as that value."""
    prefix = f"{architecture}."
    values = {key.removeprefix(prefix): value for key, value in metadata.items() if key.startswith(prefix)}
    for key in _PER_LAYER:
        value = values.get(key)
        if isinstance(value, list) and value:
            if any(entry != value[0] for entry in value):
                raise UnsupportedError(
                    f"{where}: {prefix}{key} differs by layer, which is not supported; take another model"
                )
            values[key] = value[0]
    return Fields(f"{where}: {architecture}", values)


def read_gguf_config(
    keys: Fields,
    family: str,
    *,
    qk_norm: bool,
    vocab_size: int,
    divisors: NDArray[np.float32] | None,
    allow_experts: bool = False,
) -> DecoderSettings:
    """vocab_size: rows of the embedding. divisors: `rope_freqs.weight` (llama3), or None."""
    refuse_unsupported(keys, allow_experts=allow_experts)
    hidden, heads = keys.whole("embedding_length"), keys.whole("attention.head_count")
    head_dim = keys.whole("attention.key_length", max(1, hidden // heads))
    context = keys.whole("context_length")
    _check_heads(keys, head_dim)
    check_window(keys, context)
    theta = keys.number("rope.freq_base", 10000.0, low=1.001, high=1e18)
    scaling = read_scaling(keys, context)
    if divisors is None:
        inv_freq = inverse_frequencies(head_dim, theta, scaling)
    else:
        inv_freq, scaling = _divided(keys, head_dim, theta, scaling, divisors)
    model = ModelConfig(
        family=family,
        num_layers=keys.whole("block_count"),
        hidden_size=hidden,
        intermediate_size=keys.whole("feed_forward_length"),
        num_heads=heads,
        num_kv_heads=keys.whole("attention.head_count_kv", heads),
        head_dim=head_dim,
        vocab_size=vocab_size,
        context_length=context,
        rms_norm_eps=keys.number("attention.layer_norm_rms_epsilon", low=1e-30, high=1.0),
        rope_theta=theta,
        rope_scaling=scaling,
        qk_norm=qk_norm,
    )
    return DecoderSettings(model, inv_freq, says_tied=False)


def refuse_unsupported(keys: Fields, *, allow_experts: bool) -> None:
    if not allow_experts and keys.whole("expert_count", 0, low=0) > 0:
        raise UnsupportedError(
            f"{keys.where}: a {keys.where.rpartition(' ')[2]} with experts is not supported; use a dense one"
        )
    if not keys.flag("attention.causal", True):
        raise UnsupportedError(f"{keys.where}: models without causal attention are not supported; use a decoder")
    for key in _PLAIN_SCALES:
        if keys.number(key, 0.0, low=-1e9, high=1e9) not in (0.0, 1.0):
            raise UnsupportedError(f"{keys.where}: {key} is not supported; use a model without it")


def _check_heads(keys: Fields, head_dim: int) -> None:
    for key in ("attention.value_length", "rope.dimension_count"):
        if keys.whole(key, head_dim) != head_dim:
            raise UnsupportedError(
                f"{keys.where}: {key} differs from the head size {head_dim}, which is not supported; take another model"
            )


def check_window(keys: Fields, context: int) -> None:
    window = keys.whole("attention.sliding_window", 0, low=0)
    if 0 < window < context:
        raise UnsupportedError(
            f"{keys.where}: a sliding window shorter than the context is not supported; use a model without it"
        )


def read_scaling(keys: Fields, context: int) -> RopeScaling:
    kind = keys.text("rope.scaling.type", "linear")
    legacy_factor = keys.number("rope.scale_linear", 1.0, low=0, high=1e6)
    factor = keys.number("rope.scaling.factor", legacy_factor, low=0, high=1e6) or 1.0
    if kind == "none" or (kind == "linear" and factor == 1.0):
        return RopeScaling()
    if kind == "linear":
        return RopeScaling(kind="linear", factor=factor)
    if kind == "yarn":
        return _read_yarn(keys, factor, context)
    raise UnsupportedError(
        f"{keys.where}: rope scaling {quoted(kind)} is not supported; use a model with linear, llama3, yarn or none"
    )


def _read_yarn(keys: Fields, factor: float, context: int) -> RopeScaling:
    if keys.number("rope.scaling.yarn_ext_factor", 1.0, low=-1e6, high=1e6) not in (1.0, -1.0):
        raise UnsupportedError(f"{keys.where}: rope.scaling.yarn_ext_factor is not supported; use a model without it")
    weight = keys.number("rope.scaling.yarn_log_multiplier", 0.0, low=0, high=1e3)
    attention = yarn_attention_factor(factor, 1.0, weight)
    for key in ("rope.scaling.attn_factor", "rope.scaling.yarn_attn_factor"):
        attention *= keys.number(key, 1.0, low=1e-3, high=1e3)
    return RopeScaling(
        kind="yarn",
        factor=factor,
        original_context=keys.whole("rope.scaling.original_context_length", context),
        beta_fast=keys.number("rope.scaling.yarn_beta_fast", 32.0, low=1e-3, high=1e6),
        beta_slow=keys.number("rope.scaling.yarn_beta_slow", 1.0, low=1e-3, high=1e6),
        attention_factor=attention,
    )


def _divided(
    keys: Fields, head_dim: int, theta: float, scaling: RopeScaling, divisors: NDArray[np.float32]
) -> tuple[NDArray[np.float32], RopeScaling]:
    if scaling.kind != "none":
        raise UnsupportedError(
            f"{keys.where}: rope_freqs.weight together with {scaling.kind} scaling is not supported; take another model"
        )
    if divisors.shape != (head_dim // 2,) or not bool((divisors >= 1e-3).all() and (divisors <= 1e6).all()):
        raise FormatError(
            f"{keys.where}: rope_freqs.weight is not {head_dim // 2} divisors; get an undamaged checkpoint"
        )
    return divided_frequencies(head_dim, theta, divisors)
