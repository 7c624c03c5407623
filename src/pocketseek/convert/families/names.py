"""Canonical tensor names of a llama-like decoder and what Hugging Face and GGUF checkpoints call them; both ways."""

from __future__ import annotations

from collections.abc import Mapping

from pocketseek.convert.sources.base import SourceKind

# part of a layer -> (Hugging Face, GGUF)
_LAYER_NAMES: Mapping[str, tuple[str, str]] = {
    "attn_norm": ("input_layernorm.weight", "attn_norm.weight"),
    "q": ("self_attn.q_proj.weight", "attn_q.weight"),
    "k": ("self_attn.k_proj.weight", "attn_k.weight"),
    "v": ("self_attn.v_proj.weight", "attn_v.weight"),
    "q_bias": ("self_attn.q_proj.bias", "attn_q.bias"),
    "k_bias": ("self_attn.k_proj.bias", "attn_k.bias"),
    "v_bias": ("self_attn.v_proj.bias", "attn_v.bias"),
    "q_norm": ("self_attn.q_norm.weight", "attn_q_norm.weight"),
    "k_norm": ("self_attn.k_norm.weight", "attn_k_norm.weight"),
    "o": ("self_attn.o_proj.weight", "attn_output.weight"),
    "mlp_norm": ("post_attention_layernorm.weight", "ffn_norm.weight"),
    "gate": ("mlp.gate_proj.weight", "ffn_gate.weight"),
    "up": ("mlp.up_proj.weight", "ffn_up.weight"),
    "down": ("mlp.down_proj.weight", "ffn_down.weight"),
}
_OUTER_NAMES: Mapping[str, tuple[str, str]] = {
    "embed.weight": ("model.embed_tokens.weight", "token_embd.weight"),
    "head.norm": ("model.norm.weight", "output_norm.weight"),
    "head.weight": ("lm_head.weight", "output.weight"),
}
_UNUSED_BIASES: Mapping[SourceKind, tuple[str, ...]] = {
    "safetensors": (
        "self_attn.o_proj.bias",
        "mlp.gate_proj.bias",
        "mlp.up_proj.bias",
        "mlp.down_proj.bias",
    ),
    "gguf": ("attn_output.bias", "ffn_gate.bias", "ffn_up.bias", "ffn_down.bias"),
}
LAYER_PREFIX: Mapping[SourceKind, str] = {"safetensors": "model.layers.", "gguf": "blk."}
LAYER_PARTS = tuple(_LAYER_NAMES)  # in the order they are written


def source_name(canonical: str, kind: SourceKind) -> str:
    """What a checkpoint of this kind calls the tensor. Raises KeyError for a name that is not canonical."""
    column = 0 if kind == "safetensors" else 1
    if canonical in _OUTER_NAMES:
        return _OUTER_NAMES[canonical][column]
    layer, index, part = canonical.split(".")
    if layer != "layer":
        raise KeyError(canonical)
    return f"{LAYER_PREFIX[kind]}{index}.{_LAYER_NAMES[part][column]}"


def canonical_name(name: str, kind: SourceKind) -> str | None:
    """The canonical name of a checkpoint's tensor, or None if a decoder has no such tensor."""
    column = 0 if kind == "safetensors" else 1
    for canonical, names in _OUTER_NAMES.items():
        if names[column] == name:
            return canonical
    index, _, rest = name.removeprefix(LAYER_PREFIX[kind]).partition(".")
    if not name.startswith(LAYER_PREFIX[kind]) or not index.isascii() or not index.isdigit():
        return None
    part = next((part for part, names in _LAYER_NAMES.items() if names[column] == rest), None)
    return None if part is None else f"layer.{index}.{part}"


def unused_bias_names(num_layers: int, kind: SourceKind) -> list[str]:
    """Biases that some checkpoints carry and the kernels do not add."""
    return [f"{LAYER_PREFIX[kind]}{index}.{rest}" for index in range(num_layers) for rest in _UNUSED_BIASES[kind]]
