"""Write a GGUF file (architecture deepseek2) of a sparse model's shape with random weights, for llama.cpp and for us.

    python benchmarks/random_sparse_gguf.py OUT.gguf [--shape deepseek-v2-lite] [--layers 4] [--seed 1]
    pocketseek convert OUT.gguf PACKAGE --quant keep            # the same weights as a package, to the bit

Matrices are Q4_0, k_b and v_b Q8_0, norms and routers F32; kv_b is split, as llama.cpp wants it for latent attention.
How experts are chosen: skewed_routing.py. Blocks are random bytes under plausible scales (random_checkpoint.py).
V2-Lite takes 8.9 GB of disk; memory stays below 200 MB. The same seed writes the same bytes. llama.cpp knows V2-Lite
by its 27 layers and refuses files with another number (it looks for the low-rank queries of V2); we do not.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import random_tokenizer
from gguf_bytes import ALIGNMENT_BYTES, FILE_TYPE_Q4_0, GgufTensor, pad, render_header
from random_checkpoint import CENTRED_NIBBLES, Q4_0_BLOCK_BYTES, Q4_0_BLOCK_VALUES, Q4_0_STD, WEIGHT_STD
from random_package import BYTE_RMS, SPARSE_SHAPES
from skewed_routing import NUM_TOPICS, num_topic_blocks, router_rows, size_factor

from pocketseek.shapes import MlaShape, MoeShape
from pocketseek.types import ModelConfig

SLAB_BLOCKS = 512 * 1024
Q8_0_BLOCK_BYTES = 34
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Plan:
    """A tensor. part: the last part of its name in packages."""

    name: str
    part: str
    shape: tuple[int, ...]

    @property
    def type_name(self) -> str:
        if len(self.shape) == 1 or self.part == "router":
            return "F32"
        return "Q8_0" if self.part in ("k_b", "v_b") else "Q4_0"

    @property
    def num_rows(self) -> int:
        return math.prod(self.shape[:-1])

    @property
    def num_bytes(self) -> int:
        if self.type_name == "F32":
            return 4 * math.prod(self.shape)
        block_bytes = Q4_0_BLOCK_BYTES if self.type_name == "Q4_0" else Q8_0_BLOCK_BYTES
        return math.prod(self.shape) // Q4_0_BLOCK_VALUES * block_bytes


def plans_of(model: ModelConfig) -> list[Plan]:
    hidden = model.hidden_size
    layers = [plan for index in range(model.num_layers) for plan in _layer(model, index)]
    return [
        Plan("token_embd.weight", "embed", (model.vocab_size, hidden)),
        *layers,
        Plan("output_norm.weight", "norm", (hidden,)),
        Plan("output.weight", "head", (model.vocab_size, hidden)),
    ]


def _layer(model: ModelConfig, index: int) -> Iterator[Plan]:
    mla, moe, hidden = sparse_shapes(model)
    heads = model.num_heads
    parts: list[tuple[str, str, tuple[int, ...]]] = [
        ("attn_norm", "attn_norm", (hidden,)),
        ("attn_q", "q", (heads * (mla.nope_dim + mla.rope_dim), hidden)),
        ("attn_kv_a_mqa", "kv_a", (mla.latent_dim, hidden)),
        ("attn_kv_a_norm", "kv_a_norm", (mla.rank,)),
        ("attn_k_b", "k_b", (heads, mla.rank, mla.nope_dim)),
        ("attn_v_b", "v_b", (heads, mla.value_dim, mla.rank)),
        ("attn_output", "o", (hidden, heads * mla.value_dim)),
        ("ffn_norm", "mlp_norm", (hidden,)),
    ]
    if index in moe.dense_layers:
        parts += _mlp("", "", (), model.intermediate_size, hidden)
    else:
        parts.append(("ffn_gate_inp", "router", (moe.num_experts, hidden)))
        parts += _mlp("_exps", "", (moe.num_experts,), moe.expert_size, hidden)
        parts += _mlp("_shexp", "shared_", (), moe.shared_size, hidden)
    for name, part, shape in parts:
        yield Plan(f"blk.{index}.{name}.weight", part, shape)


def _mlp(
    ending: str, prefix: str, stack: tuple[int, ...], inner: int, hidden: int
) -> list[tuple[str, str, tuple[int, ...]]]:
    shapes = {"gate": (inner, hidden), "up": (inner, hidden), "down": (hidden, inner)}
    return [(f"ffn_{name}{ending}", prefix + name, (*stack, *shape)) for name, shape in shapes.items()]


def sparse_shapes(model: ModelConfig) -> tuple[MlaShape, MoeShape, int]:
    if model.mla is None or model.moe is None:
        raise SystemExit("only shapes with latent attention and experts can be written")
    return model.mla, model.moe, model.hidden_size


def values_of(plan: Plan, rng: np.random.Generator) -> Iterator[npt.NDArray[np.generic]]:
    """The tensor's bytes, a slab at a time."""
    if plan.part == "router":
        yield router_rows(plan.shape, rng)
    elif plan.type_name == "F32":
        yield (1 + 0.1 * rng.standard_normal(plan.shape[0])).astype("<f4")
    elif plan.type_name == "Q8_0":
        yield q8_0_blocks(plan, rng)
    else:
        yield from q4_0_rows(plan, rng)


def q8_0_blocks(plan: Plan, rng: np.random.Generator) -> Bytes:
    """Of k_b and v_b, whose inputs are few: scaled so that what comes out is of ordinary size."""
    num_blocks = math.prod(plan.shape) // Q4_0_BLOCK_VALUES
    blocks = np.frombuffer(rng.bytes(num_blocks * Q8_0_BLOCK_BYTES), np.uint8).reshape(-1, Q8_0_BLOCK_BYTES).copy()
    blocks[:, :2] = np.full(1, 1 / math.sqrt(plan.shape[-1]) / BYTE_RMS, "<f2").view(np.uint8)
    return blocks


def q4_0_rows(plan: Plan, rng: np.random.Generator) -> Iterator[Bytes]:
    """Slabs of rows; those of embedding and head begin with the blocks of their topics, the same in both."""
    row_blocks = plan.shape[-1] // Q4_0_BLOCK_VALUES
    scale = WEIGHT_STD / Q4_0_STD * size_factor(plan.part)
    topics = topic_blocks(row_blocks, scale) if plan.part in ("embed", "head") else None
    at_a_time = max(1, SLAB_BLOCKS // row_blocks)
    for start in range(0, plan.num_rows, at_a_time):
        rows = np.arange(start, min(start + at_a_time, plan.num_rows))
        blocks = q4_0_blocks(len(rows) * row_blocks, scale, rng).reshape(len(rows), row_blocks, Q4_0_BLOCK_BYTES)
        if topics is not None:
            blocks[:, : topics.shape[1]] = topics[rows % NUM_TOPICS]
        yield blocks


def topic_blocks(row_blocks: int, scale: float) -> Bytes:
    """[topics, blocks, bytes]; from a seed of their own, so that embedding and head have the same."""
    count = num_topic_blocks(row_blocks)
    blocks = q4_0_blocks(NUM_TOPICS * count, scale, np.random.Generator(np.random.SFC64(0)))
    return blocks.reshape(NUM_TOPICS, count, Q4_0_BLOCK_BYTES)


def q4_0_blocks(num_blocks: int, scale: float, rng: np.random.Generator) -> Bytes:
    """Codes with a mean of zero, scales about `scale`."""
    random_bytes = np.frombuffer(rng.bytes(num_blocks * Q4_0_BLOCK_BYTES), np.uint8)
    blocks = CENTRED_NIBBLES[random_bytes].reshape(num_blocks, Q4_0_BLOCK_BYTES)
    scales = scale * (0.5 + blocks[:, 0] / 255.0)
    blocks[:, :2] = scales.astype("<f2").view(np.uint8).reshape(num_blocks, 2)
    return blocks


def gguf_metadata(model: ModelConfig) -> dict[str, object]:
    mla, moe, hidden = sparse_shapes(model)
    own: dict[str, object] = {
        "block_count": model.num_layers,
        "context_length": model.context_length,
        "embedding_length": hidden,
        "feed_forward_length": model.intermediate_size,
        "vocab_size": model.vocab_size,
        "rope.freq_base": model.rope_theta,
        "rope.dimension_count": mla.rope_dim,
        "attention.layer_norm_rms_epsilon": model.rms_norm_eps,
        "attention.head_count": model.num_heads,
        "attention.head_count_kv": 1,
        "attention.key_length": mla.latent_dim,
        "attention.value_length": mla.rank,
        "attention.key_length_mla": mla.nope_dim + mla.rope_dim,
        "attention.value_length_mla": mla.value_dim,
        "attention.kv_lora_rank": mla.rank,
        "leading_dense_block_count": len(moe.dense_layers),
        "expert_count": moe.num_experts,
        "expert_used_count": moe.experts_per_token,
        "expert_feed_forward_length": moe.expert_size,
        "expert_shared_count": moe.shared_size // moe.expert_size,
        "expert_weights_scale": moe.weight_factor,
        "expert_weights_norm": moe.normalised,
        "expert_gating_func": 1,  # softmax
    }
    if (scaling := model.rope_scaling) is not None:
        own |= {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": scaling.factor,
            "rope.scaling.original_context_length": scaling.original_context,
            "rope.scaling.yarn_log_multiplier": 0.1 * 0.707,
        }
    return {
        "general.architecture": "deepseek2",
        "general.name": "random weights",
        "general.alignment": ALIGNMENT_BYTES,
        "general.file_type": FILE_TYPE_Q4_0,
        "general.quantization_version": 2,
        **{f"deepseek2.{key}": value for key, value in own.items()},
        **random_tokenizer.gguf_metadata(model.vocab_size),
    }


def write_gguf(path: Path, model: ModelConfig, seed: int) -> None:
    plans = plans_of(model)
    rng = np.random.Generator(np.random.SFC64(seed))
    tensors = [GgufTensor(plan.name, plan.shape, plan.type_name, plan.num_bytes) for plan in plans]
    with path.open("wb") as file:
        file.write(render_header(gguf_metadata(model), tensors))
        for plan in plans:
            print(f"\r{plan.name:40}", end="", file=sys.stderr, flush=True)
            pad(file)
            for slab in values_of(plan, rng):
                file.write(slab.data)
        pad(file)
    print("\r", end="", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument("--shape", choices=sorted(SPARSE_SHAPES), default="deepseek-v2-lite")
    parser.add_argument("--layers", type=int, help="instead of all the layers of the shape")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    model = SPARSE_SHAPES[arguments.shape]
    if arguments.layers is not None:
        if arguments.layers < 1:
            parser.error("--layers must be at least 1")
        model = replace(model, num_layers=arguments.layers)
    write_gguf(arguments.out, model, arguments.seed)


if __name__ == "__main__":
    main()
