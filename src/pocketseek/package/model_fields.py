"""The `model` object of a manifest: ModelConfig to and from JSON, its limits, its stages and its tensors.

Fields that have a default in ModelConfig may be missing in a package (it was written before they existed); unknown ones
are refused. For the families in `_FAMILIES` the set of tensors and every shape follow from the config, so whoever
got a manifest from `parse_manifest` needs no shape checks of its own. Format 1 knows neither experts nor latents.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict

from pocketseek.package.layer_tensors import Shape as Shape
from pocketseek.package.layer_tensors import expert_tensors, layer_tensors
from pocketseek.package.sparse_fields import check_sparse, parse_mla, parse_moe
from pocketseek.package.strict_json import Fields, JsonValue, format_error
from pocketseek.types import ModelConfig, RopeKind, RopeScaling

MAX_LAYERS = 1024
_FAMILIES = frozenset({"llama", "qwen2", "qwen3", "qwen3_moe", "deepseek_v2", "deepseek_v3"})
_FAMILY_PATTERN = re.compile(r"[a-z0-9_]{1,32}")
_KIND_PATTERN = re.compile(r"none|linear|llama3|yarn")
_ROPE_KINDS: dict[str, RopeKind] = {"none": "none", "linear": "linear", "llama3": "llama3", "yarn": "yarn"}

_SIZE_LIMITS = {
    "num_layers": MAX_LAYERS,
    "hidden_size": 2**17,
    "intermediate_size": 2**20,
    "num_heads": 1024,
    "num_kv_heads": 1024,
    "head_dim": 1024,
    "vocab_size": 2**22,
    "context_length": 2**26,
}
_REQUIRED = frozenset({"family", "rms_norm_eps", "rope_theta", *_SIZE_LIMITS})
_FLAGS = ("tied_embeddings", "qkv_bias", "qk_norm")
_OPTIONAL = frozenset({"rope_scaling", *_FLAGS})
_SPARSE = frozenset({"moe", "mla"})
_ROPE_NUMBERS = ("factor", "low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow", "attention_factor")
_ROPE_OPTIONAL = frozenset({"kind", "original_context", *_ROPE_NUMBERS})


def parse_model(value: JsonValue, *, allow_sparse: bool = True) -> ModelConfig:
    """Raises FormatError unless every field is in range and the heads fit together. allow_sparse: not in format 1."""
    fields = Fields(value, "manifest.json: model", _REQUIRED, _OPTIONAL | _SPARSE if allow_sparse else _OPTIONAL)
    size = {name: fields.integer(name, 1, limit) for name, limit in _SIZE_LIMITS.items()}
    flag = {name: fields.flag(name) if fields.has(name) else False for name in _FLAGS}
    model = ModelConfig(
        family=fields.text("family", _FAMILY_PATTERN),
        num_layers=size["num_layers"],
        hidden_size=size["hidden_size"],
        intermediate_size=size["intermediate_size"],
        num_heads=size["num_heads"],
        num_kv_heads=size["num_kv_heads"],
        head_dim=size["head_dim"],
        vocab_size=size["vocab_size"],
        context_length=size["context_length"],
        rms_norm_eps=fields.number("rms_norm_eps", 1e-30, 1.0),
        rope_theta=fields.number("rope_theta", 1e-3, 1e18),
        rope_scaling=_parse_rope(fields.raw("rope_scaling")) if fields.has("rope_scaling") else RopeScaling(),
        tied_embeddings=flag["tied_embeddings"],
        qkv_bias=flag["qkv_bias"],
        qk_norm=flag["qk_norm"],
        moe=parse_moe(fields.raw("moe"), f"{fields.where}.moe") if fields.has("moe") else None,
        mla=parse_mla(fields.raw("mla"), f"{fields.where}.mla") if fields.has("mla") else None,
    )
    check_sparse(model, fields.where)
    if model.num_heads % model.num_kv_heads:
        raise format_error(fields.where, f"{model.num_heads} heads cannot share {model.num_kv_heads} KV heads")
    if model.head_dim % 2:
        raise format_error(fields.where, f"head_dim {model.head_dim} is odd")
    return model


def render_model(model: ModelConfig) -> dict[str, JsonValue]:
    """What a dense model has not is left out, so that its manifest has the bytes that it had before."""
    return {name: value for name, value in asdict(model).items() if name not in _SPARSE or value is not None}


def stage_names(model: ModelConfig) -> tuple[str, ...]:
    """The steps of a pass, in order; the experts of a layer are a stage of their own."""
    names = ["embed"]
    for index in range(model.num_layers):
        names.append(f"layer.{index}")
        if model.has_experts(index):
            names.append(f"experts.{index}")
    return (*names, "head")


def expected_tensors(model: ModelConfig) -> Mapping[str, Shape] | None:
    """Every tensor a package of this model has, with its shape; None for a family whose set is not known here."""
    if model.family not in _FAMILIES:
        return None
    table: dict[str, Shape] = {"rope.inv_freq": (model.rope_dim // 2,)}
    vocabulary: Shape = (model.vocab_size, model.hidden_size)
    if not model.tied_embeddings:
        table["embed.weight"] = vocabulary
    for index in range(model.num_layers):
        table |= {f"layer.{index}.{part}": shape for part, shape in layer_tensors(model, index).items()}
        if model.moe is not None and model.has_experts(index):
            table |= _experts(model, index, model.moe.num_experts)
    return table | {"head.norm": (model.hidden_size,), "head.weight": vocabulary}


def _experts(model: ModelConfig, layer: int, num_experts: int) -> dict[str, Shape]:
    shapes = expert_tensors(model)
    return {
        f"experts.{layer}.{expert}.{part}": shape for expert in range(num_experts) for part, shape in shapes.items()
    }


def stage_of_tensor(name: str) -> str:
    """The stage that a tensor's canonical name puts it in."""
    if name == "rope.inv_freq":
        return "embed"
    if name.startswith("experts."):
        return ".".join(name.split(".")[:2])
    return name.rpartition(".")[0]


def _parse_rope(value: JsonValue) -> RopeScaling:
    fields = Fields(value, "manifest.json: model.rope_scaling", frozenset(), _ROPE_OPTIONAL)
    numbers = {name: fields.number(name, 1e-6, 1e9) for name in _ROPE_NUMBERS if fields.has(name)}
    return RopeScaling(
        kind=_ROPE_KINDS[fields.text("kind", _KIND_PATTERN)] if fields.has("kind") else "none",
        original_context=fields.integer("original_context", 0, 2**26) if fields.has("original_context") else 0,
        **numbers,
    )
