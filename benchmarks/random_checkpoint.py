"""Write a checkpoint of a real model's shape with random weights: as large and as slow to run, and no download.

    python benchmarks/random_checkpoint.py OUT.gguf            Q4_0 matrices (embedding and head too), f32 vectors
    python benchmarks/random_checkpoint.py OUT_DIRECTORY       BF16 safetensors with config.json and tokenizer.json

The family is qwen2 (bias on q, k, v; untied head). Blocks are random bytes under plausible scales, with a mean of zero,
so that activations stay finite and of ordinary size; the text such a model writes is noise. Memory stays below 200 MB
whatever the size; the default shape takes 1.0 GB of disk as GGUF and 3.6 GB as safetensors. The same seed writes the
same bytes.
"""

from __future__ import annotations

import argparse
import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import random_tokenizer
from gguf_bytes import ALIGNMENT_BYTES, FILE_TYPE_Q4_0, GgufTensor, pad, render_header

SLAB_VALUES = 8 * 1024 * 1024  # values made at a time, a multiple of the Q4_0 block
WEIGHT_STD = 0.02
Q4_0_BLOCK_VALUES, Q4_0_BLOCK_BYTES = 32, 18
Q4_0_STD = 4.18  # of q - 8 with q uniform in 0..15 and 0 taken as 8


@dataclass(frozen=True)
class Shape:
    """What the speed of a qwen2 model depends on."""

    num_layers: int
    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    context_length: int = 131072
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-6


SHAPES = {
    "r1-distill-qwen-1.5b": Shape(28, 1536, 12, 2, 128, 8960, 151936),
    "r1-distill-qwen-7b": Shape(28, 3584, 28, 4, 128, 18944, 152064),
    "r1-distill-qwen-14b": Shape(48, 5120, 40, 8, 128, 13824, 152064, rope_theta=1000000.0),
}


@dataclass(frozen=True)
class TensorPlan:
    """One tensor under both of its names. A vector (one number in `shape`) is a norm or a bias."""

    gguf_name: str
    hf_name: str
    shape: tuple[int, ...]

    @property
    def num_values(self) -> int:
        return math.prod(self.shape)

    @property
    def q4_0_bytes(self) -> int:
        """Size in GGUF: vectors f32, matrices Q4_0."""
        if len(self.shape) == 1:
            return 4 * self.num_values
        return self.num_values // Q4_0_BLOCK_VALUES * Q4_0_BLOCK_BYTES


def tensor_plans(shape: Shape) -> list[TensorPlan]:
    hidden = shape.hidden_size
    layers = [plan for index in range(shape.num_layers) for plan in _layer_plans(shape, index)]
    return [
        TensorPlan("token_embd.weight", "model.embed_tokens.weight", (shape.vocab_size, hidden)),
        *layers,
        TensorPlan("output_norm.weight", "model.norm.weight", (hidden,)),
        TensorPlan("output.weight", "lm_head.weight", (shape.vocab_size, hidden)),
    ]


def _layer_plans(shape: Shape, index: int) -> Iterator[TensorPlan]:
    hidden, middle = shape.hidden_size, shape.intermediate_size
    queries, keys = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
    parts: list[tuple[str, str, tuple[int, ...]]] = [
        ("attn_norm.weight", "input_layernorm.weight", (hidden,)),
        ("attn_q.weight", "self_attn.q_proj.weight", (queries, hidden)),
        ("attn_q.bias", "self_attn.q_proj.bias", (queries,)),
        ("attn_k.weight", "self_attn.k_proj.weight", (keys, hidden)),
        ("attn_k.bias", "self_attn.k_proj.bias", (keys,)),
        ("attn_v.weight", "self_attn.v_proj.weight", (keys, hidden)),
        ("attn_v.bias", "self_attn.v_proj.bias", (keys,)),
        ("attn_output.weight", "self_attn.o_proj.weight", (hidden, queries)),
        ("ffn_norm.weight", "post_attention_layernorm.weight", (hidden,)),
        ("ffn_gate.weight", "mlp.gate_proj.weight", (middle, hidden)),
        ("ffn_up.weight", "mlp.up_proj.weight", (middle, hidden)),
        ("ffn_down.weight", "mlp.down_proj.weight", (hidden, middle)),
    ]
    for gguf_name, hf_name, tensor_shape in parts:
        yield TensorPlan(f"blk.{index}.{gguf_name}", f"model.layers.{index}.{hf_name}", tensor_shape)


# --- random values ---------------------------------------------------------------------------------------------------


def random_vector(plan: TensorPlan, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    centre = 0.0 if plan.gguf_name.endswith("bias") else 1.0
    return (centre + 0.1 * rng.standard_normal(plan.num_values)).astype(np.float32)


def random_q4_0(num_values: int, rng: np.random.Generator) -> Iterator[npt.NDArray[np.uint8]]:
    """Blocks of a f16 scale and 16 bytes of nibbles, a slab at a time.

    A nibble of 0 becomes 8: without that the mean weight is -d/2, which one direction of the hidden state amplifies.
    """
    for num_blocks in _slabs(num_values // Q4_0_BLOCK_VALUES, SLAB_VALUES // Q4_0_BLOCK_VALUES):
        random_bytes = np.frombuffer(rng.bytes(num_blocks * Q4_0_BLOCK_BYTES), np.uint8)
        blocks = CENTRED_NIBBLES[random_bytes].reshape(num_blocks, Q4_0_BLOCK_BYTES)
        scales = (WEIGHT_STD / Q4_0_STD) * (0.5 + blocks[:, 0] / 255.0)
        blocks[:, :2] = scales.astype("<f2").view(np.uint8).reshape(num_blocks, 2)
        yield blocks


def _centred_nibbles() -> npt.NDArray[np.uint8]:
    """For every byte the byte whose nibbles are the same, but 8 instead of 0."""
    byte = np.arange(256, dtype=np.uint8)
    low, high = byte & 15, byte >> 4
    centred: npt.NDArray[np.uint8] = np.where(low == 0, 8, low) | np.where(high == 0, 8, high) << 4
    return centred.astype(np.uint8)


CENTRED_NIBBLES = _centred_nibbles()


def random_bf16(num_values: int, rng: np.random.Generator) -> Iterator[npt.NDArray[np.uint16]]:
    """Sign and mantissa random, magnitudes from 2^-7 to 2^-5 (exponents 120 and 121): a root mean square of 0.019."""
    for num in _slabs(num_values, SLAB_VALUES):
        bits = np.frombuffer(rng.bytes(2 * num), np.uint16)
        yield (bits & np.uint16(0x80FF)) + np.uint16(120 << 7)


def _slabs(total: int, largest: int) -> Iterator[int]:
    for start in range(0, total, largest):
        yield min(largest, total - start)


# --- GGUF ------------------------------------------------------------------------------------------------------------


def write_gguf(path: Path, shape: Shape, seed: int) -> None:
    """GGUF version 3, Q4_0 matrices, f32 vectors."""
    plans = tensor_plans(shape)
    rng = np.random.Generator(np.random.SFC64(seed))
    with path.open("wb") as file:
        file.write(gguf_header(shape, plans))
        for plan in plans:
            pad(file)
            if len(plan.shape) == 1:
                file.write(random_vector(plan, rng).data)
                continue
            for slab in random_q4_0(plan.num_values, rng):
                file.write(slab.data)
        pad(file)


def gguf_header(shape: Shape, plans: list[TensorPlan]) -> bytes:
    tensors = [
        GgufTensor(plan.gguf_name, plan.shape, "F32" if len(plan.shape) == 1 else "Q4_0", plan.q4_0_bytes)
        for plan in plans
    ]
    return render_header(gguf_metadata(shape), tensors)


def gguf_metadata(shape: Shape) -> dict[str, object]:
    return {
        "general.architecture": "qwen2",
        "general.name": "random weights",
        "general.alignment": ALIGNMENT_BYTES,
        "general.file_type": FILE_TYPE_Q4_0,
        "general.quantization_version": 2,
        "qwen2.block_count": shape.num_layers,
        "qwen2.context_length": shape.context_length,
        "qwen2.embedding_length": shape.hidden_size,
        "qwen2.feed_forward_length": shape.intermediate_size,
        "qwen2.attention.head_count": shape.num_heads,
        "qwen2.attention.head_count_kv": shape.num_kv_heads,
        "qwen2.rope.freq_base": shape.rope_theta,
        "qwen2.attention.layer_norm_rms_epsilon": shape.rms_norm_eps,
        **random_tokenizer.gguf_metadata(shape.vocab_size),
    }


# --- safetensors -----------------------------------------------------------------------------------------------------


def write_safetensors(directory: Path, shape: Shape, seed: int) -> None:
    """One BF16 model.safetensors with what else a checkpoint directory has."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(hf_config(shape), indent=2), encoding="utf-8")
    (directory / "tokenizer.json").write_bytes(random_tokenizer.tokenizer_json(shape.vocab_size))
    plans = tensor_plans(shape)
    rng = np.random.Generator(np.random.SFC64(seed))
    with (directory / "model.safetensors").open("wb") as file:
        file.write(safetensors_header(plans))
        for plan in plans:
            if len(plan.shape) == 1:
                file.write((random_vector(plan, rng).view(np.uint32) >> 16).astype("<u2").data)
                continue
            for slab in random_bf16(plan.num_values, rng):
                file.write(slab.data)


def safetensors_header(plans: list[TensorPlan], dtype: str = "BF16") -> bytes:
    """dtype: of all tensors, one of two bytes."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for plan in plans:
        stop = start + 2 * plan.num_values
        entries[plan.hf_name] = {"dtype": dtype, "shape": plan.shape, "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(entries, separators=(",", ":"))
    text += " " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text.encode()


def hf_config(shape: Shape) -> dict[str, object]:
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_act": "silu",
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_kv_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocab_size,
        "max_position_embeddings": shape.context_length,
        "rms_norm_eps": shape.rms_norm_eps,
        "rope_theta": shape.rope_theta,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "bos_token_id": random_tokenizer.bos_id(shape.vocab_size),
        "eos_token_id": random_tokenizer.eos_id(shape.vocab_size),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path, help="a path that ends in .gguf, or a directory for safetensors")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="r1-distill-qwen-1.5b")
    parser.add_argument("--layers", type=int, help="fewer (or more) layers than the shape has")
    parser.add_argument("--vocab", type=int, help="another vocabulary size, a multiple of 32")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    shape = SHAPES[arguments.shape]
    shape = replace(
        shape,
        num_layers=arguments.layers or shape.num_layers,
        vocab_size=arguments.vocab or shape.vocab_size,
    )
    write = write_gguf if arguments.out.suffix == ".gguf" else write_safetensors
    write(arguments.out, shape, arguments.seed)


if __name__ == "__main__":
    main()
