"""The parts of a manifest's `model` that only mixture-of-experts and latent-attention models have (format 2)."""

from __future__ import annotations

import re

from pocketseek.formats import TILE_ROWS
from pocketseek.package.strict_json import Fields, JsonValue, as_integer, format_error
from pocketseek.shapes import GroupScore, MlaShape, MoeShape, RouterScore
from pocketseek.types import ModelConfig

_MAX_EXPERTS = 4096
_MAX_EXPERTS_OF_ALL_LAYERS = 2**16  # bounds the memory that a small hostile manifest makes us use; DeepSeek-V3: 14,848
_MAX_SIZE = 2**20
_MAX_LAYERS = 1024
_MAX_HEAD_DIM = 1024
_MAX_RANK = 2**14
_SCORES: dict[str, RouterScore] = {"softmax": "softmax", "sigmoid": "sigmoid"}
_GROUP_SCORES: dict[str, GroupScore] = {"best": "best", "best_two": "best_two"}
_MOE = frozenset(MoeShape.__dataclass_fields__)
_MLA = frozenset(MlaShape.__dataclass_fields__)


def parse_moe(value: JsonValue, where: str) -> MoeShape:
    """Raises FormatError unless every field is in range and a token can choose as many experts as it shall."""
    fields = Fields(value, where, _MOE)
    moe = MoeShape(
        num_experts=fields.integer("num_experts", 1, _MAX_EXPERTS),
        experts_per_token=fields.integer("experts_per_token", 1, _MAX_EXPERTS),
        expert_size=fields.integer("expert_size", 1, _MAX_SIZE),
        shared_size=fields.integer("shared_size", 0, _MAX_SIZE),
        dense_layers=_layers(fields),
        score=_SCORES[fields.text("score", _pattern(_SCORES))],
        score_bias=fields.flag("score_bias"),
        num_groups=fields.integer("num_groups", 1, _MAX_EXPERTS),
        groups_per_token=fields.integer("groups_per_token", 1, _MAX_EXPERTS),
        group_score=_GROUP_SCORES[fields.text("group_score", _pattern(_GROUP_SCORES))],
        normalised=fields.flag("normalised"),
        weight_factor=fields.number("weight_factor", 1e-6, 1e6),
    )
    _check_groups(moe, where)
    return moe


def parse_mla(value: JsonValue, where: str) -> MlaShape:
    fields = Fields(value, where, _MLA)
    mla = MlaShape(
        rank=fields.integer("rank", 1, _MAX_RANK),
        nope_dim=fields.integer("nope_dim", 1, _MAX_HEAD_DIM),
        rope_dim=fields.integer("rope_dim", 2, _MAX_HEAD_DIM),
        value_dim=fields.integer("value_dim", 1, _MAX_HEAD_DIM),
        q_rank=fields.integer("q_rank", 0, _MAX_RANK),
        score_factor=fields.number("score_factor", 1e-6, 1e6),
    )
    if mla.rope_dim % 2:
        raise format_error(where, f"rope_dim {mla.rope_dim} is odd")
    for name, size in (("rank", mla.rank), ("value_dim", mla.value_dim)):
        if size % TILE_ROWS:  # a head's rows of k_b and v_b are then tile rows of their own
            raise format_error(where, f"{name} {size} is no multiple of {TILE_ROWS}")
    return mla


def check_sparse(model: ModelConfig, where: str) -> None:
    """Raises FormatError unless the parts fit the rest of the model."""
    if model.mla is not None:
        if model.head_dim != model.mla.nope_dim + model.mla.rope_dim or model.num_kv_heads != 1:
            raise format_error(where, "head_dim or num_kv_heads is not that of its latent attention")
        if model.qkv_bias or model.qk_norm:
            raise format_error(where, "qkv_bias or qk_norm beside latent attention")
    if model.moe is None:
        return
    if model.moe.dense_layers and model.moe.dense_layers[-1] >= model.num_layers:
        raise format_error(where, f"dense layer {model.moe.dense_layers[-1]} of {model.num_layers} layers")
    if model.num_layers * model.moe.num_experts > _MAX_EXPERTS_OF_ALL_LAYERS:
        raise format_error(where, f"{model.num_layers} layers of {model.moe.num_experts} experts are too many")


def _layers(fields: Fields) -> tuple[int, ...]:
    where = f"{fields.where}.dense_layers"
    layers = tuple(as_integer(item, where, 0, _MAX_LAYERS) for item in fields.items("dense_layers"))
    if list(layers) != sorted(set(layers)):
        raise format_error(where, "not in ascending order")
    return layers


def _check_groups(moe: MoeShape, where: str) -> None:
    size, rest = divmod(moe.num_experts, moe.num_groups)
    if rest or moe.groups_per_token > moe.num_groups:
        raise format_error(where, f"{moe.num_experts} experts in {moe.num_groups} groups, {moe.groups_per_token} used")
    if moe.experts_per_token > size * moe.groups_per_token:
        raise format_error(where, f"{moe.experts_per_token} experts per token of {size * moe.groups_per_token}")
    if moe.group_score == "best_two" and size < 2:
        raise format_error(where, "groups of one expert have no best two")


def _pattern(known: dict[str, RouterScore] | dict[str, GroupScore]) -> re.Pattern[str]:
    return re.compile("|".join(known))
