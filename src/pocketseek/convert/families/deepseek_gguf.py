"""GGUF key-values of the architecture `deepseek2`, which is V2 and V3 alike -> SparseSettings.

Older files have head sizes as they are (key_length 192, value_length 128) and kv_b whole; newer ones have those of the
latents (576, 512), the heads' as key_length_mla and value_length_mla, and k_b and v_b apart. Both are read.
`yarn_log_multiplier` is a tenth of mscale_all_dim, and mscale is taken to be the same, as llama.cpp does. Files that do
not say how experts are grouped (older ones of V2 and V3, which have groups) are read as they would be run there:
without groups.
"""

from __future__ import annotations

import math
from dataclasses import replace

from pocketseek.convert.families.fields import Fields
from pocketseek.convert.families.gguf_config import read_scaling, refuse_unsupported
from pocketseek.convert.families.sparse_plan import SparseSettings
from pocketseek.convert.rope import inverse_frequencies, yarn_attention_factor, yarn_score_factor
from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.package.model_fields import MAX_LAYERS
from pocketseek.shapes import GroupScore, MlaShape, MoeShape, RouterScore
from pocketseek.types import ModelConfig, RopeScaling

_SCORES: dict[int, RouterScore] = {0: "softmax", 1: "softmax", 2: "sigmoid"}  # expert_gating_func; 0: not given
_GROUP_SCORES: dict[RouterScore, GroupScore] = {"softmax": "best", "sigmoid": "best_two"}


def read_deepseek_gguf(keys: Fields, *, vocab_size: int, has_score_bias: bool) -> SparseSettings:
    """vocab_size: rows of the embedding. has_score_bias: whether the file has exp_probs_b."""
    refuse_unsupported(keys, allow_experts=True)
    context = keys.whole("context_length")
    scaling = read_scaling(keys, context)
    multiplier = keys.number("rope.scaling.yarn_log_multiplier", 0.0, low=0, high=1e3)
    if scaling.kind == "yarn" and multiplier:
        scaling = _without_factor(keys, scaling, multiplier)
    mla = _read_mla(keys, yarn_score_factor(scaling, 10 * multiplier))
    theta = keys.number("rope.freq_base", 10000.0, low=1.001, high=1e18)
    num_extra = keys.whole("nextn_predict_layers", 0, low=0)
    num_layers = keys.whole("block_count", low=1 + num_extra) - num_extra
    moe = _read_moe(keys, num_layers, has_score_bias=has_score_bias) if keys.whole("expert_count", 0, low=0) else None
    model = ModelConfig(
        family="deepseek_v3" if moe is not None and moe.score == "sigmoid" else "deepseek_v2",
        num_layers=num_layers,
        hidden_size=keys.whole("embedding_length"),
        intermediate_size=keys.whole("feed_forward_length"),
        num_heads=keys.whole("attention.head_count"),
        num_kv_heads=1,
        head_dim=mla.nope_dim + mla.rope_dim,
        vocab_size=vocab_size,
        context_length=context,
        rms_norm_eps=keys.number("attention.layer_norm_rms_epsilon", low=1e-30, high=1.0),
        rope_theta=theta,
        rope_scaling=scaling,
        moe=moe,
        mla=mla,
    )
    inv_freq = inverse_frequencies(mla.rope_dim, theta, scaling)
    return SparseSettings(model, inv_freq, paired=True, num_extra_layers=num_extra)


def _without_factor(keys: Fields, scaling: RopeScaling, multiplier: float) -> RopeScaling:
    """cos and sin as they are, since mscale over mscale_all_dim is 1."""
    if not math.isclose(scaling.attention_factor, yarn_attention_factor(scaling.factor, 1.0, multiplier)):
        raise UnsupportedError(f"{keys.where}: rope.scaling.attn_factor is not supported; use a model without it")
    return replace(scaling, attention_factor=1.0)


def _read_mla(keys: Fields, score_factor: float) -> MlaShape:
    rope_dim = keys.whole("rope.dimension_count")
    key_dim = keys.whole("attention.key_length_mla", keys.whole("attention.key_length"))
    if key_dim <= rope_dim:
        raise FormatError(
            f"{keys.where}: attention.key_length {key_dim} leaves nothing beside {rope_dim} rotated values; "
            "get an undamaged checkpoint"
        )
    return MlaShape(
        rank=keys.whole("attention.kv_lora_rank"),
        nope_dim=key_dim - rope_dim,
        rope_dim=rope_dim,
        value_dim=keys.whole("attention.value_length_mla", keys.whole("attention.value_length")),
        q_rank=keys.whole("attention.q_lora_rank", 0, low=0),
        score_factor=score_factor,
    )


def _read_moe(keys: Fields, num_layers: int, *, has_score_bias: bool) -> MoeShape:
    gating = keys.whole("expert_gating_func", 0, low=0)
    if gating not in _SCORES:
        raise UnsupportedError(
            f"{keys.where}: expert_gating_func {gating} is not supported; use a DeepSeek-V2 or V3 model"
        )
    if has_score_bias and not gating:
        raise UnsupportedError(f"{keys.where}: exp_probs_b without expert_gating_func; use a newer file of the model")
    score = _SCORES[gating]
    expert_size = keys.whole("expert_feed_forward_length")
    return MoeShape(
        num_experts=keys.whole("expert_count"),
        experts_per_token=keys.whole("expert_used_count"),
        expert_size=expert_size,
        shared_size=expert_size * keys.whole("expert_shared_count", 0, low=0),
        dense_layers=tuple(range(min(keys.whole("leading_dense_block_count", 0, low=0), num_layers, MAX_LAYERS))),
        score=score,
        score_bias=has_score_bias,
        num_groups=keys.whole("expert_group_count", 0, low=0) or 1,
        groups_per_token=keys.whole("expert_group_used_count", 0, low=0) or 1,
        group_score=_GROUP_SCORES[score],
        normalised=keys.flag("expert_weights_norm", False),
        weight_factor=keys.number("expert_weights_scale", 1.0, low=0, high=1e6) or 1.0,
    )
