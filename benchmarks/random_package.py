"""Write a package of a real model's shape with random weights, directly: for models whose checkpoint would not fit.

    python benchmarks/random_package.py OUT_DIRECTORY [--shape r1-distill-qwen-14b] [--layers 4] [--seed 1]

What `convert --quant q4-pure` makes of a random checkpoint, without the checkpoint: valid q4p bytes at random (codes
with a mean of zero, whole-number steps, one plausible scale), norms about 1, small biases. Activations stay finite and
of ordinary size; the text is noise. Memory stays below 200 MB, the disk takes the package alone (14B: 8 GB, a minute or
two, most of it hashing). The same seed writes the same bytes.

Shapes with experts and latent attention (deepseek-v2-lite: 8.9 GB; deepseek-v2-tiny: the same form in 10 MB) have what
`--quant q4-pure` gives them: routers in f32, k_b and v_b in q8s. Tokens choose experts unevenly: skewed_routing.py. The
same shapes as GGUF files, for other engines: random_sparse_gguf.py.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import random_tokenizer
from random_checkpoint import CENTRED_NIBBLES, Q4_0_STD, SHAPES, WEIGHT_STD, Shape
from skewed_routing import NUM_TOPICS, num_topic_blocks, router_rows, size_factor

from pocketseek.convert.pack import pack_values
from pocketseek.convert.recipe import choose_format
from pocketseek.convert.rope import inverse_frequencies
from pocketseek.formats import TILE_ROWS, num_blocks, num_superblocks, num_tile_rows, tile_row_bytes
from pocketseek.package.layer_tensors import EXPERT_MATRICES
from pocketseek.package.model_fields import expected_tensors, stage_of_tensor
from pocketseek.package.writer import PackageWriter
from pocketseek.shapes import MlaShape, MoeShape
from pocketseek.text.settings_file import render_text_settings
from pocketseek.types import ModelConfig, RopeScaling, TextSettings

BYTE_RMS = 73.9  # of bytes -128..127 at random
STEP_RMS = (sum(step * step for step in range(16)) / 16) ** 0.5
SCALE = WEIGHT_STD / (Q4_0_STD * STEP_RMS)
SLAB_BYTES = 16 * 1024 * 1024
BLOCK_QUANT_BYTES, BLOCK_STEP_BYTES = 256, 8
Q8S_BLOCK_QUANT_BYTES = 512
SCORE_FACTOR = (0.1 * 0.707 * math.log(40) + 1) ** 2
YARN = RopeScaling("yarn", 40.0, 4096)
SPARSE_SHAPES = {
    "deepseek-v2-lite": ModelConfig(
        family="deepseek_v2",
        num_layers=27,
        hidden_size=2048,
        intermediate_size=10944,
        num_heads=16,
        num_kv_heads=1,
        head_dim=192,
        vocab_size=102400,
        context_length=163840,
        rms_norm_eps=1e-6,
        rope_theta=10000.0,
        rope_scaling=YARN,
        moe=MoeShape(num_experts=64, experts_per_token=6, expert_size=1408, shared_size=2816, dense_layers=(0,)),
        mla=MlaShape(rank=512, nope_dim=128, rope_dim=64, value_dim=128, score_factor=SCORE_FACTOR),
    ),
    "deepseek-v2-tiny": ModelConfig(
        family="deepseek_v2",
        num_layers=4,
        hidden_size=256,
        intermediate_size=704,
        num_heads=4,
        num_kv_heads=1,
        head_dim=48,
        vocab_size=4096,
        context_length=4096,
        rms_norm_eps=1e-6,
        rope_theta=10000.0,
        rope_scaling=YARN,
        moe=MoeShape(num_experts=64, experts_per_token=6, expert_size=96, shared_size=192, dense_layers=(0,)),
        mla=MlaShape(rank=64, nope_dim=32, rope_dim=16, value_dim=32, score_factor=SCORE_FACTOR),
    ),
}


def write_package(path: Path, shape: Shape | ModelConfig, seed: int) -> None:
    model = shape if isinstance(shape, ModelConfig) else model_config(shape)
    tensors = expected_tensors(model)
    assert tensors is not None  # the families are known
    rng = np.random.Generator(np.random.SFC64(seed))
    with PackageWriter(path) as writer:
        for stage, names in groupby(tensors, key=stage_of_tensor):
            print(f"\r{stage}      ", end="", file=sys.stderr, flush=True)
            writer.begin_stage(stage)
            for name in names:
                if stage.startswith("experts.") and name.endswith("gate"):
                    expert = name.removesuffix("gate")
                    writer.keep_together([(format_of(name), tensors[expert + part]) for part in EXPERT_MATRICES])
                add_tensor(writer, name, tensors[name], model, rng)
        settings = TextSettings(
            bos_id=random_tokenizer.bos_id(model.vocab_size), eos_ids=(random_tokenizer.eos_id(model.vocab_size),)
        )
        writer.add_file("tokenizer.json", random_tokenizer.tokenizer_json(model.vocab_size))
        writer.add_file("text.json", render_text_settings(settings))
        writer.commit(
            name=path.name,
            model=model,
            recipe={"quant": "q4-pure"},
            quality={},
            provenance={"source": "random bytes", "seed": seed},
        )
    print("\r", end="", file=sys.stderr)


def format_of(name: str) -> str:
    return choose_format("q4-pure", name, "BF16")


def add_tensor(
    writer: PackageWriter, name: str, shape: tuple[int, ...], model: ModelConfig, rng: np.random.Generator
) -> None:
    if len(shape) == 1:
        writer.add_tensor(name, "f32", shape, [vector(name, shape[0], model, rng).tobytes()])
    elif name.endswith(".router"):
        writer.add_tensor(name, "f32", shape, [pack_values("f32", router_rows(shape, rng)).reshape(-1)])
    else:
        part = name.removesuffix(".weight").rsplit(".", 1)[-1]
        factor = size_factor(part) if model.is_sparse else 1.0
        rows = tile_rows(format_of(name), shape, rng, factor)
        if model.is_sparse and part in ("embed", "head"):
            rows = with_topics(rows, shape[1])
        writer.add_tensor(name, format_of(name), shape, rows)


def with_topics(slabs: Iterable[npt.NDArray[np.uint8]], cols: int) -> Iterator[npt.NDArray[np.uint8]]:
    """q4p tile rows whose first blocks are those of their rows' topics. A tile row has as many topics as rows."""
    row_bytes, count = tile_row_bytes("q4p", cols), num_topic_blocks(num_blocks(cols))
    rng = np.random.Generator(np.random.SFC64(0))  # the same topics in embedding and head
    steps_start = num_blocks(cols) * BLOCK_QUANT_BYTES
    num_kinds = NUM_TOPICS // TILE_ROWS
    quants = CENTRED_NIBBLES[np.frombuffer(rng.bytes(num_kinds * count * BLOCK_QUANT_BYTES), np.uint8)]
    steps = np.frombuffer(rng.bytes(num_kinds * count * BLOCK_STEP_BYTES), np.uint8)
    first = 0
    for slab in slabs:
        packed = slab.reshape(-1, row_bytes)
        kinds = np.arange(first, first + len(packed)) % num_kinds
        packed[:, : count * BLOCK_QUANT_BYTES] = quants.reshape(num_kinds, -1)[kinds]
        packed[:, steps_start : steps_start + count * BLOCK_STEP_BYTES] = steps.reshape(num_kinds, -1)[kinds]
        first += len(packed)
        yield slab


def model_config(shape: Shape) -> ModelConfig:
    return ModelConfig(
        family="qwen2",
        num_layers=shape.num_layers,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_heads=shape.num_heads,
        num_kv_heads=shape.num_kv_heads,
        head_dim=shape.head_dim,
        vocab_size=shape.vocab_size,
        context_length=shape.context_length,
        rms_norm_eps=shape.rms_norm_eps,
        rope_theta=shape.rope_theta,
        qkv_bias=True,
    )


def vector(name: str, num_values: int, model: ModelConfig, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    if name == "rope.inv_freq":
        return inverse_frequencies(model.rope_dim, model.rope_theta, model.rope_scaling).astype("<f4")
    centre = 0.0 if name.endswith("bias") else 1.0
    return (centre + 0.1 * rng.standard_normal(num_values)).astype("<f4")


def tile_rows(
    format_name: str, shape: tuple[int, ...], rng: np.random.Generator, factor: float = 1.0
) -> Iterator[npt.NDArray[np.uint8]]:
    """The planes of formats.py, some tile rows at a time. factor: of the usual size of the values, in q4p."""
    rows, cols = shape
    row_bytes = tile_row_bytes(format_name, cols)
    at_a_time = max(1, SLAB_BYTES // row_bytes)
    for start in range(0, num_tile_rows(rows), at_a_time):
        count = min(at_a_time, num_tile_rows(rows) - start)
        packed = np.frombuffer(rng.bytes(count * row_bytes), np.uint8).reshape(count, row_bytes).copy()
        if format_name == "q4p":
            _fill_q4p(packed, cols, SCALE * factor)
        else:
            _fill_q8s(packed, cols)
        yield packed.reshape(-1)


def _fill_q4p(packed: npt.NDArray[np.uint8], cols: int, scale: float) -> None:
    """Quants, steps, scales."""
    quants = num_blocks(cols) * BLOCK_QUANT_BYTES
    steps = quants + num_blocks(cols) * BLOCK_STEP_BYTES
    scales = steps + num_superblocks(cols) * TILE_ROWS * 2
    packed[:, :quants] = CENTRED_NIBBLES[packed[:, :quants]]
    packed[:, steps:scales] = np.full((scales - steps) // 2, scale, "<f2").view(np.uint8)
    packed[:, scales:] = 0


def _fill_q8s(packed: npt.NDArray[np.uint8], cols: int) -> None:
    """Quants, scales: of k_b and v_b, whose inputs are few, so that what comes out is of ordinary size."""
    quants = num_blocks(cols) * Q8S_BLOCK_QUANT_BYTES
    scales = quants + num_blocks(cols) * TILE_ROWS * 2
    packed[:, quants:scales] = np.full((scales - quants) // 2, 1 / math.sqrt(cols) / BYTE_RMS, "<f2").view(np.uint8)
    packed[:, scales:] = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path, help="the directory to create")
    parser.add_argument("--shape", choices=sorted({*SHAPES, *SPARSE_SHAPES}), default="r1-distill-qwen-14b")
    parser.add_argument("--layers", type=int, help="instead of all the layers of the shape")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    shape = SPARSE_SHAPES.get(arguments.shape) or SHAPES[arguments.shape]
    if arguments.layers is not None:
        if arguments.layers < 1:
            parser.error("--layers must be at least 1")
        shape = replace(shape, num_layers=arguments.layers)
    write_package(arguments.out, shape, arguments.seed)


if __name__ == "__main__":
    main()
