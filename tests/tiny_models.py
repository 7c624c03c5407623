"""Tiny random models of each family, as Hugging Face directories and as GGUF files, tokenizer included.

The two forms of one TinyModel hold the same weights, so converting either must give the same model. GGUF follows the
conventions of llama.cpp: q and k rows of the llama architecture are permuted, llama3 scaling is a tensor of divisors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from checkpoints import encode, random_blocks, write_gguf, write_safetensors, write_sharded
from tiny_tokenizer import BOS, EOS, tiny_tokenizer

_ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
_PRE_TOKENIZERS = {
    "llama": "gpt-2",
    "qwen2": "qwen2",
    "qwen3": "qwen2",
    "qwen3_moe": "qwen2",
    "deepseek_v2": "gpt-2",
    "deepseek_v3": "gpt-2",
}
_ENCODABLE = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1")
_GGUF_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_GGUF_LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@dataclass(frozen=True)
class TinyModel:
    """config: as in config.json. weights: Hugging Face names, float32."""

    family: str
    config: dict[str, object]
    weights: dict[str, np.ndarray]


def tiny_model(
    family: str = "llama",
    *,
    seed: int = 0,
    hidden: int = 64,
    intermediate: int = 96,
    num_layers: int = 2,
    num_heads: int = 4,
    num_kv_heads: int = 2,
    head_dim: int | None = None,
    vocab: int = 320,
    context: int = 256,
    tied: bool = False,
    attention_bias: bool = False,
    rope_theta: float = 10000.0,
    rope_scaling: Mapping[str, object] | None = None,
) -> TinyModel:
    """A model with random weights. head_dim: hidden / num_heads, but 32 for qwen3, where the two usually differ."""
    dim = head_dim or (32 if family == "qwen3" else hidden // num_heads)
    token_ids = {token: token_id for token_id, token in enumerate(tiny_tokenizer().tokens)}
    config: dict[str, object] = {
        "architectures": [_ARCHITECTURES[family]],
        "model_type": family,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": num_layers,
        "num_attention_heads": num_heads,
        "num_key_value_heads": num_kv_heads,
        "vocab_size": vocab,
        "max_position_embeddings": context,
        "rms_norm_eps": 1e-5,
        "rope_theta": rope_theta,
        "rope_scaling": None if rope_scaling is None else dict(rope_scaling),
        "tie_word_embeddings": tied,
        "hidden_act": "silu",
        "torch_dtype": "float32",
        "bos_token_id": token_ids[BOS],
        "eos_token_id": token_ids[EOS],
    }
    if family != "qwen2":
        config |= {"head_dim": dim, "attention_bias": attention_bias}
    has_bias = family == "qwen2" or attention_bias
    weights = _Weights(np.random.default_rng(seed))
    weights.matrix("model.embed_tokens", vocab, hidden)
    for layer in range(num_layers):
        prefix = f"model.layers.{layer}"
        weights.norm(f"{prefix}.input_layernorm", hidden)
        for name, rows in (("q", num_heads * dim), ("k", num_kv_heads * dim), ("v", num_kv_heads * dim)):
            weights.matrix(f"{prefix}.self_attn.{name}_proj", rows, hidden, bias=has_bias)
        weights.matrix(f"{prefix}.self_attn.o_proj", hidden, num_heads * dim, bias=attention_bias)
        if family == "qwen3":
            weights.norm(f"{prefix}.self_attn.q_norm", dim)
            weights.norm(f"{prefix}.self_attn.k_norm", dim)
        weights.norm(f"{prefix}.post_attention_layernorm", hidden)
        weights.matrix(f"{prefix}.mlp.gate_proj", intermediate, hidden)
        weights.matrix(f"{prefix}.mlp.up_proj", intermediate, hidden)
        weights.matrix(f"{prefix}.mlp.down_proj", hidden, intermediate)
    weights.norm("model.norm", hidden)
    if not tied:
        weights.matrix("lm_head", vocab, hidden)
    return TinyModel(family, config, weights.arrays)


class _Weights:
    def __init__(self, rng: np.random.Generator) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._rng = rng

    def matrix(self, name: str, rows: int, cols: int, bias: bool = False) -> None:
        self.arrays[f"{name}.weight"] = self._normal((rows, cols), 1 / math.sqrt(cols))
        if bias:
            self.arrays[f"{name}.bias"] = self._normal((rows,), 0.1)

    def norm(self, name: str, size: int) -> None:
        self.arrays[f"{name}.weight"] = 1 + self._normal((size,), 0.1)

    def _normal(self, shape: tuple[int, ...], std: float) -> np.ndarray:
        return (self._rng.standard_normal(shape) * std).astype(np.float32)


# --- as a Hugging Face directory ---


def write_hf(directory: Path, model: TinyModel, *, dtype: str = "F32", num_shards: int = 1) -> Path:
    """config, tokenizer and weights ("F32", "F16" or "BF16"; the weights are rounded to it) in a new directory."""
    directory.mkdir(parents=True)
    tokenizer = tiny_tokenizer(_PRE_TOKENIZERS[model.family])
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "add_bos_token": model.family == "llama",
        "chat_template": CHAT_TEMPLATE,
    }
    generation = {"bos_token_id": model.config["bos_token_id"], "eos_token_id": [model.config["eos_token_id"]]}
    (directory / "config.json").write_text(json.dumps(model.config))
    (directory / "tokenizer.json").write_bytes(tokenizer.json)
    (directory / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    (directory / "generation_config.json").write_text(json.dumps(generation))
    tensors = {name: (dtype, array) for name, array in model.weights.items()}
    if num_shards == 1:
        write_safetensors(directory / "model.safetensors", tensors, {"format": "pt"})
    else:
        write_sharded(directory, tensors, num_shards)
    return directory


def tiny_hf_directory(
    directory: Path, family: str = "llama", *, dtype: str = "F32", num_shards: int = 1, context: int = 256
) -> Path:
    return write_hf(directory, tiny_model(family, context=context), dtype=dtype, num_shards=num_shards)


# --- as a GGUF file ---


def write_model_gguf(path: Path, model: TinyModel, *, type_name: str = "F32", seed: int = 0) -> Path:
    """A GGUF file with all matrices in one type and vectors in F32.

    F32, F16, BF16, Q8_0, Q4_0 and Q4_1 hold the model's weights, rounded; the other types hold random blocks
    (and then hidden and intermediate sizes must be multiples of the block).
    """
    rng = np.random.default_rng(seed)
    tensors: dict[str, tuple[str, np.ndarray]] = {}
    for name, array in model.weights.items():
        gguf_name = gguf_tensor_name(name)
        stored = _permuted(model, name, array)
        if array.ndim == 1:
            tensors[gguf_name] = ("F32", stored)
        elif type_name in _ENCODABLE:
            tensors[gguf_name] = (type_name, encode(type_name, stored))
        else:
            tensors[gguf_name] = (type_name, random_blocks(type_name, *array.shape, rng))
    if _scaling_kind(model) == "llama3":
        tensors["rope_freqs.weight"] = ("F32", llama3_divisors(model))
    return write_gguf(path, gguf_metadata(model), tensors)


def tiny_gguf(path: Path, family: str = "llama", *, type_name: str = "F32") -> Path:
    """A tiny GGUF; wide enough for the type's blocks."""
    wide = type_name.endswith("_K")
    model = tiny_model(family, hidden=256, intermediate=512) if wide else tiny_model(family)
    return write_model_gguf(path, model, type_name=type_name)


def gguf_tensor_name(name: str) -> str:
    if name in _GGUF_NAMES:
        return _GGUF_NAMES[name]
    layer, part = name.removeprefix("model.layers.").split(".", 1)
    stem, _, kind = part.rpartition(".")
    return f"blk.{layer}.{_GGUF_LAYER_NAMES[stem]}.{kind}"


def gguf_metadata(model: TinyModel) -> dict[str, object]:
    """The key-values that llama.cpp's converter would write."""
    config, arch = model.config, model.family
    hidden, num_heads = _int(config, "hidden_size"), _int(config, "num_attention_heads")
    head_dim = _head_dim(model)
    tokenizer = tiny_tokenizer(_PRE_TOKENIZERS[arch])
    metadata: dict[str, object] = {
        "general.architecture": arch,
        "general.name": f"Tiny {arch}",
        f"{arch}.block_count": config["num_hidden_layers"],
        f"{arch}.context_length": config["max_position_embeddings"],
        f"{arch}.embedding_length": hidden,
        f"{arch}.feed_forward_length": config["intermediate_size"],
        f"{arch}.attention.head_count": num_heads,
        f"{arch}.attention.head_count_kv": config["num_key_value_heads"],
        f"{arch}.attention.key_length": head_dim,
        f"{arch}.attention.value_length": head_dim,
        f"{arch}.attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        f"{arch}.rope.freq_base": config["rope_theta"],
        f"{arch}.rope.dimension_count": head_dim,
        f"{arch}.vocab_size": config["vocab_size"],
        "tokenizer.chat_template": CHAT_TEMPLATE,
    }
    scaling = config["rope_scaling"]
    if isinstance(scaling, dict) and _scaling_kind(model) in ("linear", "yarn"):
        metadata[f"{arch}.rope.scaling.type"] = _scaling_kind(model)
        metadata[f"{arch}.rope.scaling.factor"] = float(scaling["factor"])
        if "original_max_position_embeddings" in scaling:
            original = scaling["original_max_position_embeddings"]
            metadata[f"{arch}.rope.scaling.original_context_length"] = original
    return metadata | tokenizer.gguf_metadata(_int(config, "vocab_size"), add_bos=arch == "llama")


def llama3_divisors(model: TinyModel) -> np.ndarray:
    """What each rotary frequency is divided by (`rope_freqs.weight`), head_dim / 2 values."""
    scaling = model.config["rope_scaling"]
    theta, head_dim = model.config["rope_theta"], _head_dim(model)
    assert isinstance(scaling, dict)
    assert isinstance(theta, float)
    factor, low, high = scaling["factor"], scaling["low_freq_factor"], scaling["high_freq_factor"]
    original = scaling["original_max_position_embeddings"]
    turns = original / (2 * math.pi) * theta ** -(np.arange(0, head_dim, 2) / head_dim)  # in the original context
    smooth = np.clip((turns - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)


def permute_rope_rows(rows: np.ndarray, num_heads: int) -> np.ndarray:
    """Rows of q or k, head by head, from half-split order (pairs i, i + dim/2) to neighbouring pairs."""
    halves = rows.reshape(num_heads, 2, len(rows) // num_heads // 2, *rows.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows.shape))


def _permuted(model: TinyModel, name: str, array: np.ndarray) -> np.ndarray:
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
    projection = name.split(".")[-2]
    if model.family != "llama" or projection not in heads:
        return array
    return permute_rope_rows(array, _int(model.config, heads[projection]))


def _scaling_kind(model: TinyModel) -> str | None:
    scaling = model.config["rope_scaling"]
    return str(scaling["rope_type"]) if isinstance(scaling, dict) else None


def _head_dim(model: TinyModel) -> int:
    if "head_dim" in model.config:
        return _int(model.config, "head_dim")
    return _int(model.config, "hidden_size") // _int(model.config, "num_attention_heads")


def _int(config: Mapping[str, object], key: str) -> int:
    value = config[key]
    assert isinstance(value, int)
    return value
