"""Tiny random models with experts, and with latent attention, under Hugging Face names.

`write_hf` of tiny_models.py writes them as directories, `write_sparse_gguf` of sparse_gguf.py as GGUF files.
"""

from __future__ import annotations

import math

import numpy as np
from tiny_models import TinyModel
from tiny_tokenizer import BOS, EOS, tiny_tokenizer

ARCHITECTURES = {
    "deepseek_v2": "DeepseekV2ForCausalLM",
    "deepseek_v3": "DeepseekV3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
}
YARN = {
    "type": "yarn",
    "factor": 40.0,
    "original_max_position_embeddings": 64,
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": 0.707,
    "mscale_all_dim": 0.707,
}
LATENTS: dict[str, object] = {
    "num_key_value_heads": 4,
    "kv_lora_rank": 32,
    "q_lora_rank": 64,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16,
    "v_head_dim": 32,
    "n_routed_experts": 8,
    "n_shared_experts": 2,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
    "num_nextn_predict_layers": 0,
}
FAMILY_CONFIGS: dict[str, dict[str, object]] = {
    "deepseek_v2": {
        **LATENTS,
        "scoring_func": "softmax",
        "topk_method": "greedy",
        "norm_topk_prob": False,
        "routed_scaling_factor": 1.0,
        "n_group": None,
        "topk_group": None,
    },
    "deepseek_v3": {
        **LATENTS,
        "scoring_func": "sigmoid",
        "topk_method": "noaux_tc",
        "norm_topk_prob": True,
        "routed_scaling_factor": 2.5,
        "n_group": 4,
        "topk_group": 2,
    },
    "qwen3_moe": {
        "num_key_value_heads": 2,
        "head_dim": 32,
        "num_experts": 8,
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    },
}


def tiny_sparse(family: str, *, seed: int = 0, num_layers: int = 2, **changes: object) -> TinyModel:
    """changes: of the configuration."""
    token_ids = {token: token_id for token_id, token in enumerate(tiny_tokenizer().tokens)}
    config: dict[str, object] = {
        "architectures": [ARCHITECTURES[family]],
        "model_type": family,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": num_layers,
        "num_attention_heads": 4,
        "num_experts_per_tok": 3,
        "moe_intermediate_size": 32,
        "vocab_size": 320,
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "tie_word_embeddings": False,
        "hidden_act": "silu",
        "torch_dtype": "float32",
        "bos_token_id": token_ids[BOS],
        "eos_token_id": token_ids[EOS],
        **FAMILY_CONFIGS[family],
        **changes,
    }
    weights = _Weights(config, np.random.default_rng(seed))
    weights.matrix("model.embed_tokens.weight", config["vocab_size"], config["hidden_size"])
    for layer in range(num_layers):
        weights.layer(layer)
    weights.norm("model.norm.weight", config["hidden_size"])
    weights.matrix("lm_head.weight", config["vocab_size"], config["hidden_size"])
    return TinyModel(family, config, weights.arrays)


class _Weights:
    def __init__(self, config: dict[str, object], rng: np.random.Generator) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._config = config
        self._rng = rng

    def size(self, key: str) -> int:
        value = self._config[key]
        assert isinstance(value, int)
        return value

    def matrix(self, name: str, rows: object, cols: object) -> None:
        assert isinstance(rows, int)
        assert isinstance(cols, int)
        self.arrays[name] = (self._rng.standard_normal((rows, cols)) / math.sqrt(cols)).astype(np.float32)

    def norm(self, name: str, size: object) -> None:
        assert isinstance(size, int)
        self.arrays[name] = (1 + 0.1 * self._rng.standard_normal(size)).astype(np.float32)

    def layer(self, layer: int) -> None:
        prefix, hidden = f"model.layers.{layer}", self.size("hidden_size")
        self.norm(f"{prefix}.input_layernorm.weight", hidden)
        if "kv_lora_rank" in self._config:
            self._latent_attention(f"{prefix}.self_attn", hidden)
        else:
            self._attention(f"{prefix}.self_attn", hidden)
        self.norm(f"{prefix}.post_attention_layernorm.weight", hidden)
        if is_dense(self._config, layer):
            self._mlp(f"{prefix}.mlp", hidden, self.size("intermediate_size"))
        else:
            self._experts(f"{prefix}.mlp", hidden)

    def _attention(self, prefix: str, hidden: int) -> None:
        dim, heads, kv_heads = (self.size(k) for k in ("head_dim", "num_attention_heads", "num_key_value_heads"))
        for name, count in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
            self.matrix(f"{prefix}.{name}_proj.weight", count * dim, hidden)
        for name in ("q_norm", "k_norm"):
            self.norm(f"{prefix}.{name}.weight", dim)
        self.matrix(f"{prefix}.o_proj.weight", hidden, heads * dim)

    def _latent_attention(self, prefix: str, hidden: int) -> None:
        heads, rank, nope, rope, value = (
            self.size(key)
            for key in ("num_attention_heads", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
        )
        if self._config["q_lora_rank"] is None:
            self.matrix(f"{prefix}.q_proj.weight", heads * (nope + rope), hidden)
        else:
            q_rank = self.size("q_lora_rank")
            self.matrix(f"{prefix}.q_a_proj.weight", q_rank, hidden)
            self.norm(f"{prefix}.q_a_layernorm.weight", q_rank)
            self.matrix(f"{prefix}.q_b_proj.weight", heads * (nope + rope), q_rank)
        self.matrix(f"{prefix}.kv_a_proj_with_mqa.weight", rank + rope, hidden)
        self.norm(f"{prefix}.kv_a_layernorm.weight", rank)
        self.matrix(f"{prefix}.kv_b_proj.weight", heads * (nope + value), rank)
        self.matrix(f"{prefix}.o_proj.weight", hidden, heads * value)

    def _experts(self, prefix: str, hidden: int) -> None:
        num_experts = self.size("n_routed_experts" if "n_routed_experts" in self._config else "num_experts")
        inner = self.size("moe_intermediate_size")
        self.matrix(f"{prefix}.gate.weight", num_experts, hidden)
        self.arrays[f"{prefix}.gate.weight"] *= 3
        if self._config.get("scoring_func") == "sigmoid":
            bias = 0.2 * self._rng.standard_normal(num_experts)
            self.arrays[f"{prefix}.gate.e_score_correction_bias"] = bias.astype(np.float32)
        for expert in range(num_experts):
            self._mlp(f"{prefix}.experts.{expert}", hidden, inner)
        if self._config.get("n_shared_experts"):
            self._mlp(f"{prefix}.shared_experts", hidden, inner * self.size("n_shared_experts"))

    def _mlp(self, prefix: str, hidden: int, inner: int) -> None:
        self.matrix(f"{prefix}.gate_proj.weight", inner, hidden)
        self.matrix(f"{prefix}.up_proj.weight", inner, hidden)
        self.matrix(f"{prefix}.down_proj.weight", hidden, inner)


def is_dense(config: dict[str, object], layer: int) -> bool:
    named = config.get("mlp_only_layers")
    first = config.get("first_k_dense_replace", 0)
    assert isinstance(first, int)
    return layer < first or (isinstance(named, list) and layer in named)
