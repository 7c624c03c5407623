"""Write a package of a real model's shape with random weights, directly: for models whose checkpoint would not fit.

    python benchmarks/random_package.py OUT_DIRECTORY [--shape r1-distill-qwen-14b] [--seed 1]

What `convert --quant q4-pure` makes of a random checkpoint, without the checkpoint: valid q4p bytes at random (codes
with a mean of zero, whole-number steps, one plausible scale), norms about 1, small biases. Activations stay finite and
of ordinary size; the text is noise. Memory stays below 200 MB, the disk takes the package alone (14B: 8 GB, a minute or
two, most of it hashing). The same seed writes the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import random_tokenizer
from random_checkpoint import CENTRED_NIBBLES, Q4_0_STD, SHAPES, WEIGHT_STD, Shape

from pocketseek.formats import TILE_ROWS, num_blocks, num_superblocks, num_tile_rows, tile_row_bytes
from pocketseek.package.model_fields import expected_tensors, stage_of_tensor
from pocketseek.package.writer import PackageWriter
from pocketseek.text.settings_file import render_text_settings
from pocketseek.types import ModelConfig, TextSettings

FORMAT = "q4p"
STEP_RMS = (sum(step * step for step in range(16)) / 16) ** 0.5
SCALE = WEIGHT_STD / (Q4_0_STD * STEP_RMS)
SLAB_BYTES = 16 * 1024 * 1024
BLOCK_QUANT_BYTES, BLOCK_STEP_BYTES = 256, 8


def write_package(path: Path, shape: Shape, seed: int) -> None:
    model = model_config(shape)
    tensors = expected_tensors(model)
    assert tensors is not None  # qwen2 is known
    rng = np.random.Generator(np.random.SFC64(seed))
    stage = ""
    with PackageWriter(path) as writer:
        for name, tensor_shape in tensors.items():
            if stage_of_tensor(name) != stage:
                stage = stage_of_tensor(name)
                print(f"\r{stage}      ", end="", file=sys.stderr, flush=True)
                writer.begin_stage(stage)
            if len(tensor_shape) == 1:
                writer.add_tensor(name, "f32", tensor_shape, [vector(name, tensor_shape[0], model, rng).tobytes()])
            else:
                writer.add_tensor(name, FORMAT, tensor_shape, tile_rows(tensor_shape, rng))
        settings = TextSettings(
            bos_id=random_tokenizer.bos_id(shape.vocab_size), eos_ids=(random_tokenizer.eos_id(shape.vocab_size),)
        )
        writer.add_file("tokenizer.json", random_tokenizer.tokenizer_json(shape.vocab_size))
        writer.add_file("text.json", render_text_settings(settings))
        writer.commit(
            name=path.name,
            model=model,
            recipe={"quant": "q4-pure"},
            quality={},
            provenance={"source": "random bytes", "seed": seed},
        )
    print("\r", end="", file=sys.stderr)


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
        exponents = np.arange(num_values, dtype=np.float64) / num_values
        return (model.rope_theta**-exponents).astype("<f4")
    centre = 0.0 if name.endswith("bias") else 1.0
    return (centre + 0.1 * rng.standard_normal(num_values)).astype("<f4")


def tile_rows(shape: tuple[int, ...], rng: np.random.Generator) -> Iterator[npt.NDArray[np.uint8]]:
    """The planes of formats.py: quants, steps, scales; some tile rows at a time."""
    rows, cols = shape
    row_bytes = tile_row_bytes(FORMAT, cols)
    quants = num_blocks(cols) * BLOCK_QUANT_BYTES
    steps = quants + num_blocks(cols) * BLOCK_STEP_BYTES
    scales = steps + num_superblocks(cols) * TILE_ROWS * 2
    at_a_time = max(1, SLAB_BYTES // row_bytes)
    for start in range(0, num_tile_rows(rows), at_a_time):
        count = min(at_a_time, num_tile_rows(rows) - start)
        packed = np.frombuffer(rng.bytes(count * row_bytes), np.uint8).reshape(count, row_bytes).copy()
        packed[:, :quants] = CENTRED_NIBBLES[packed[:, :quants]]
        packed[:, steps:scales] = np.full((scales - steps) // 2, SCALE, "<f2").view(np.uint8)
        packed[:, scales:] = 0
        yield packed.reshape(-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path, help="the directory to create")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="r1-distill-qwen-14b")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    write_package(arguments.out, SHAPES[arguments.shape], arguments.seed)


if __name__ == "__main__":
    main()
