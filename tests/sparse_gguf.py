"""The models of tiny_sparse.py as GGUF files, as llama.cpp has them: a layer's experts are stacked, and kv_b is whole
(older files) or split, k_b transposed. Weights are those of the Hugging Face form.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from checkpoints import encode, write_gguf
from tiny_models import CHAT_TEMPLATE, TinyModel
from tiny_tokenizer import tiny_tokenizer

GGUF_ARCHITECTURES = {"deepseek_v2": "deepseek2", "deepseek_v3": "deepseek2", "qwen3_moe": "qwen3moe"}
_GGUF_LAYER_NAMES = {
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.q_norm.weight": "attn_q_norm.weight",
    "self_attn.k_norm.weight": "attn_k_norm.weight",
    "self_attn.q_a_proj.weight": "attn_q_a.weight",
    "self_attn.q_a_layernorm.weight": "attn_q_a_norm.weight",
    "self_attn.q_b_proj.weight": "attn_q_b.weight",
    "self_attn.kv_a_proj_with_mqa.weight": "attn_kv_a_mqa.weight",
    "self_attn.kv_a_layernorm.weight": "attn_kv_a_norm.weight",
    "self_attn.kv_b_proj.weight": "attn_kv_b.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
    "mlp.gate.weight": "ffn_gate_inp.weight",
    "mlp.gate.e_score_correction_bias": "exp_probs_b.bias",
    "mlp.shared_experts.gate_proj.weight": "ffn_gate_shexp.weight",
    "mlp.shared_experts.up_proj.weight": "ffn_up_shexp.weight",
    "mlp.shared_experts.down_proj.weight": "ffn_down_shexp.weight",
}
_GGUF_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def write_sparse_gguf(path: Path, model: TinyModel, *, type_name: str = "F32", split_kv_b: bool = True) -> Path:
    """Matrices in one type (that holds values), vectors and routers in F32."""
    tensors: dict[str, tuple[str, np.ndarray]] = {}
    for name, array in gguf_arrays(model, split_kv_b=split_kv_b).items():
        is_plain = array.ndim == 1 or name.endswith("ffn_gate_inp.weight")
        tensors[name] = ("F32", array) if is_plain else (type_name, encode(type_name, array))
    return write_gguf(path, gguf_metadata(model, split_kv_b=split_kv_b), tensors)


def gguf_arrays(model: TinyModel, *, split_kv_b: bool) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    stacks: dict[str, list[np.ndarray]] = {}
    for name, array in model.weights.items():
        if name in _GGUF_NAMES:
            arrays[_GGUF_NAMES[name]] = array
            continue
        layer, part = name.removeprefix("model.layers.").split(".", 1)
        if part.startswith("mlp.experts."):
            stacks.setdefault(f"blk.{layer}.ffn_{part.split('.')[3].removesuffix('_proj')}_exps.weight", []).append(
                array
            )
        elif part == "self_attn.kv_b_proj.weight" and split_kv_b:
            arrays |= _split(model, layer, array)
        else:
            arrays[f"blk.{layer}.{_GGUF_LAYER_NAMES[part]}"] = array
    return arrays | {name: np.stack(stack) for name, stack in stacks.items()}


def _split(model: TinyModel, layer: str, kv_b: np.ndarray) -> dict[str, np.ndarray]:
    heads, nope = model.config["num_attention_heads"], model.config["qk_nope_head_dim"]
    assert isinstance(heads, int)
    assert isinstance(nope, int)
    by_head = kv_b.reshape(heads, -1, kv_b.shape[1])
    return {
        f"blk.{layer}.attn_k_b.weight": np.ascontiguousarray(by_head[:, :nope].swapaxes(1, 2)),
        f"blk.{layer}.attn_v_b.weight": np.ascontiguousarray(by_head[:, nope:]),
    }


def gguf_metadata(model: TinyModel, *, split_kv_b: bool = True) -> dict[str, object]:
    """The key-values that llama.cpp's converter would write."""
    config, arch = model.config, GGUF_ARCHITECTURES[model.family]
    own: dict[str, object] = {
        "block_count": config["num_hidden_layers"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        "rope.freq_base": config["rope_theta"],
        "vocab_size": config["vocab_size"],
        "expert_used_count": config["num_experts_per_tok"],
        "expert_feed_forward_length": config["moe_intermediate_size"],
    }
    own |= _latent_keys(config, split_kv_b) if "kv_lora_rank" in config else _plain_keys(config)
    general = {"general.architecture": arch, "general.name": f"Tiny {arch}", "tokenizer.chat_template": CHAT_TEMPLATE}
    tokenizer = tiny_tokenizer("gpt-2" if arch == "deepseek2" else "qwen2")
    vocab_size = config["vocab_size"]
    assert isinstance(vocab_size, int)
    keys = {f"{arch}.{key}": value for key, value in own.items()}
    return {**general, **keys, **tokenizer.gguf_metadata(vocab_size, add_bos=False)}


def _plain_keys(config: dict[str, object]) -> dict[str, object]:
    return {
        "attention.head_count_kv": config["num_key_value_heads"],
        "attention.key_length": config["head_dim"],
        "attention.value_length": config["head_dim"],
        "expert_count": config["num_experts"],
    }


def _latent_keys(config: dict[str, object], split_kv_b: bool) -> dict[str, object]:
    rank, nope, rope, value = (
        config[key] for key in ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    )
    assert isinstance(rank, int)
    assert isinstance(nope, int)
    assert isinstance(rope, int)
    keys: dict[str, object] = {
        "attention.kv_lora_rank": rank,
        "rope.dimension_count": rope,
        "leading_dense_block_count": config["first_k_dense_replace"],
        "expert_count": config["n_routed_experts"],
        "expert_shared_count": config["n_shared_experts"],
        "expert_weights_scale": config["routed_scaling_factor"],
        "expert_weights_norm": config["norm_topk_prob"],
        "expert_gating_func": 2 if config["scoring_func"] == "sigmoid" else 1,
    }
    if config["q_lora_rank"] is not None:
        keys["attention.q_lora_rank"] = config["q_lora_rank"]
    if config["n_group"] is not None:
        keys |= {"expert_group_count": config["n_group"], "expert_group_used_count": config["topk_group"]}
    if split_kv_b:
        keys |= {"attention.head_count_kv": 1, "attention.key_length": rank + rope, "attention.value_length": rank}
        keys |= {"attention.key_length_mla": nope + rope, "attention.value_length_mla": value}
    else:
        keys |= {"attention.head_count_kv": config["num_attention_heads"]}
        keys |= {"attention.key_length": nope + rope, "attention.value_length": value}
    scaling = config["rope_scaling"]
    if isinstance(scaling, dict):
        keys |= {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": scaling["factor"],
            "rope.scaling.original_context_length": scaling["original_max_position_embeddings"],
            "rope.scaling.yarn_log_multiplier": 0.1 * scaling["mscale_all_dim"],
        }
    return keys
