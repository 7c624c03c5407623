"""What checkpoints call the tensors of layers with experts and latent attention, beside those of names.py.

k_b and v_b come out of one matrix where a checkpoint has them so: for each head nope_dim rows of k_b, transposed, then
value_dim rows of v_b. Experts are tensors of their own (Hugging Face), or one tensor for each of gate, up and down with
an expert as its first dimension (GGUF).
"""

from __future__ import annotations

from collections.abc import Mapping

from pocketseek.convert.families.names import LAYER_PREFIX, source_name
from pocketseek.convert.sources.base import SourceKind

# part of a layer -> (Hugging Face, GGUF)
_LAYER_NAMES: Mapping[str, tuple[str, str]] = {
    "q_a": ("self_attn.q_a_proj.weight", "attn_q_a.weight"),
    "q_a_norm": ("self_attn.q_a_layernorm.weight", "attn_q_a_norm.weight"),
    "q_b": ("self_attn.q_b_proj.weight", "attn_q_b.weight"),
    "kv_a": ("self_attn.kv_a_proj_with_mqa.weight", "attn_kv_a_mqa.weight"),
    "kv_a_norm": ("self_attn.kv_a_layernorm.weight", "attn_kv_a_norm.weight"),
    "kv_b": ("self_attn.kv_b_proj.weight", "attn_kv_b.weight"),
    "k_b": ("", "attn_k_b.weight"),
    "v_b": ("", "attn_v_b.weight"),
    "router": ("mlp.gate.weight", "ffn_gate_inp.weight"),
    "router_bias": ("mlp.gate.e_score_correction_bias", "exp_probs_b.bias"),
    "shared_gate": ("mlp.shared_experts.gate_proj.weight", "ffn_gate_shexp.weight"),
    "shared_up": ("mlp.shared_experts.up_proj.weight", "ffn_up_shexp.weight"),
    "shared_down": ("mlp.shared_experts.down_proj.weight", "ffn_down_shexp.weight"),
}
_EXPERT_NAMES: Mapping[SourceKind, str] = {
    "safetensors": "mlp.experts.{expert}.{part}_proj.weight",
    "gguf": "ffn_{part}_exps.weight",
}


def layer_source_name(layer: int, part: str, kind: SourceKind) -> str:
    """What a checkpoint calls that part of a layer, or "kv_b". Raises KeyError for a part that there is not."""
    if part not in _LAYER_NAMES:
        return source_name(f"layer.{layer}.{part}", kind)
    return f"{LAYER_PREFIX[kind]}{layer}.{_LAYER_NAMES[part][0 if kind == 'safetensors' else 1]}"


def sparse_layer_part(name: str, kind: SourceKind) -> tuple[int, str] | None:
    """Layer and part of a checkpoint's tensor; None: it is none of these (an expert, or of names.py)."""
    index, _, rest = name.removeprefix(LAYER_PREFIX[kind]).partition(".")
    if not name.startswith(LAYER_PREFIX[kind]) or not index.isascii() or not index.isdigit() or len(index) > 6:
        return None
    column = 0 if kind == "safetensors" else 1
    part = next((part for part, names in _LAYER_NAMES.items() if names[column] == rest), None)
    return None if part is None else (int(index), part)


def expert_source_name(layer: int, expert: int, part: str, kind: SourceKind) -> str:
    return f"{LAYER_PREFIX[kind]}{layer}.{_EXPERT_NAMES[kind].format(expert=expert, part=part)}"
