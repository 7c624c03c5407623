"""Hugging Face `config.json` of DeepSeek-V2 and V3 and what is built like them -> SparseSettings.

Yarn as the published code has it: cos and sin times mscale over mscale_all_dim (each of the factor), and scores times
the square of mscale_all_dim's. Settings that change the arithmetic in a way that the kernels do not know are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pocketseek.convert.families.fields import Fields
from pocketseek.convert.families.hf_config import read_rope, refuse_unsupported
from pocketseek.convert.families.sparse_plan import SparseSettings
from pocketseek.convert.rope import inverse_frequencies, yarn_score_factor
from pocketseek.convert.sources.byte_file import quoted
from pocketseek.errors import UnsupportedError
from pocketseek.package.model_fields import MAX_LAYERS
from pocketseek.shapes import MlaShape, MoeShape
from pocketseek.types import ModelConfig, RopeScaling


@dataclass(frozen=True)
class DeepseekTraits:
    """How a family differs. methods: how experts may be chosen, the first of them if the checkpoint does not say."""

    name: Literal["deepseek_v2", "deepseek_v3"]
    methods: tuple[str, ...]
    score: Literal["softmax", "sigmoid"]
    normalised: bool
    first_dense: int
    weight_factor: float


V2 = DeepseekTraits("deepseek_v2", ("greedy", "group_limited_greedy"), "softmax", False, 0, 1.0)
V3 = DeepseekTraits("deepseek_v3", ("noaux_tc",), "sigmoid", True, 3, 2.5)


def read_deepseek_hf(config: Fields, traits: DeepseekTraits) -> SparseSettings:
    """Raises FormatError or UnsupportedError; the message names the key."""
    refuse_unsupported(config, allow_fp8=True)
    for key in ("attention_bias", "mlp_bias"):
        if config.flag(key, False):
            raise UnsupportedError(f"{config.where}: {key} is not supported; use a model without it")
    context = config.whole("max_position_embeddings")
    theta, scaling, truncate = read_rope(config, context)
    mla = _read_mla(config, scaling)
    num_layers = config.whole("num_hidden_layers")
    model = ModelConfig(
        family=traits.name,
        num_layers=num_layers,
        hidden_size=config.whole("hidden_size"),
        intermediate_size=config.whole("intermediate_size"),
        num_heads=config.whole("num_attention_heads"),
        num_kv_heads=1,
        head_dim=mla.nope_dim + mla.rope_dim,
        vocab_size=config.whole("vocab_size"),
        context_length=context,
        rms_norm_eps=config.number("rms_norm_eps", 1e-6, low=1e-30, high=1.0),
        rope_theta=theta,
        rope_scaling=scaling,
        moe=_read_moe(config, traits, num_layers) if config.has("n_routed_experts") else None,
        mla=mla,
    )
    return SparseSettings(
        model,
        inverse_frequencies(mla.rope_dim, theta, scaling, truncate=truncate),
        says_tied=config.flag("tie_word_embeddings", False),
        paired=config.flag("rope_interleave", True),
        num_extra_layers=config.whole("num_nextn_predict_layers", 0, low=0),
    )


def _read_mla(config: Fields, scaling: RopeScaling) -> MlaShape:
    rope = config.nested("rope_scaling") or config.nested("rope_parameters") or Fields(config.where, {})
    all_dim = rope.number("mscale_all_dim", 0.0, low=0, high=1e3)
    return MlaShape(
        rank=config.whole("kv_lora_rank"),
        nope_dim=config.whole("qk_nope_head_dim"),
        rope_dim=config.whole("qk_rope_head_dim"),
        value_dim=config.whole("v_head_dim"),
        q_rank=config.whole("q_lora_rank", 0, low=0),
        score_factor=yarn_score_factor(scaling, all_dim),
    )


def _read_moe(config: Fields, traits: DeepseekTraits, num_layers: int) -> MoeShape:
    method = _read_method(config, traits)
    expert_size = config.whole("moe_intermediate_size")
    normalised = config.flag("norm_topk_prob", traits.normalised)
    weight_factor = config.number("routed_scaling_factor", traits.weight_factor, low=1e-6, high=1e6)
    if traits.name == "deepseek_v2" and normalised and weight_factor != 1.0:
        raise UnsupportedError(
            f"{config.where}: norm_topk_prob with a routed_scaling_factor of {weight_factor:g} means different things "
            "to different programs in DeepSeek-V2 models; use a checkpoint with one of them only"
        )
    grouped = method != "greedy"
    return MoeShape(
        num_experts=config.whole("n_routed_experts"),
        experts_per_token=config.whole("num_experts_per_tok"),
        expert_size=expert_size,
        shared_size=expert_size * config.whole("n_shared_experts", 0, low=0),
        dense_layers=_dense_layers(config, traits, num_layers),
        score=traits.score,
        score_bias=method == "noaux_tc",
        num_groups=config.whole("n_group", 1) if grouped else 1,
        groups_per_token=config.whole("topk_group", 1) if grouped else 1,
        group_score="best_two" if method == "noaux_tc" else "best",
        normalised=normalised,
        weight_factor=weight_factor,
    )


def _read_method(config: Fields, traits: DeepseekTraits) -> str:
    score = config.text("scoring_func", traits.score)
    if score != traits.score:
        raise UnsupportedError(
            f"{config.where}: scoring_func {quoted(score)} is not supported for {traits.name}; "
            f"use a model with {traits.score}"
        )
    method = config.text("topk_method", traits.methods[0])
    if method not in traits.methods:
        raise UnsupportedError(
            f"{config.where}: topk_method {quoted(method)} is not supported for {traits.name}; "
            f"use a model with {' or '.join(traits.methods)}"
        )
    return method


def _dense_layers(config: Fields, traits: DeepseekTraits, num_layers: int) -> tuple[int, ...]:
    first, step = config.whole("first_k_dense_replace", traits.first_dense, low=0), config.whole("moe_layer_freq", 1)
    return tuple(layer for layer in range(min(num_layers, MAX_LAYERS)) if layer < first or layer % step)
