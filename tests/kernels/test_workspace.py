"""What the core takes besides weights and pages: the formula of docs/kernels.md holds, whatever is in the passes."""

from __future__ import annotations

import numpy as np
import pytest
from kernels.random_model import RandomModel, Runner, config, latent_config, tokens_of

from pocketseek.kernels.choose import supported_sets
from pocketseek.kernels.native import NativeKernels
from pocketseek.shapes import MlaShape, MoeShape
from pocketseek.types import ModelConfig

BEST = supported_sets()[-1]
SHAPE = config(hidden_size=256, intermediate_size=768, num_heads=6, num_kv_heads=2, head_dim=64, context_length=4096)


def formula_bytes(shape: ModelConfig, format_name: str, rows: int, threads: int, context: int) -> float:
    """docs/kernels.md, "Memory", of a model whose widths are multiples of 256."""
    q, kv = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
    widest = max(shape.hidden_size, q, shape.intermediate_size)
    per_value = 4 if format_name[0] == "f" else 1.02 if format_name == "q4p" else 1.375
    total = (rows + 7) * (
        4 * (2 * q + 2 * kv) + 4 * shape.intermediate_size + per_value * widest + 32 * shape.num_kv_heads
    )
    total += threads * 4 * max(shape.hidden_size, 12 * (530 + shape.head_dim) + 96 * (3 * shape.head_dim + 2))
    if threads > 1:
        total += 4 * threads * (12 * 4 * (shape.head_dim + 2) + 32) * (context / 512 + 1)
    if format_name == "q4p":
        total += 1.15 * max(31, 8 * threads) * widest + threads * (128 * min(rows + 7, 264) + 8256)
    return total


@pytest.mark.parametrize("format_name", ["q4s", "q4p", "q8s", "f16"])
@pytest.mark.parametrize("threads", [1, 3])
def test_the_workspace_is_what_the_formula_says(format_name: str, threads: int) -> None:
    model = RandomModel(format_name, SHAPE)
    for rows in (1, 8, 31, 40, 300):
        kernels = NativeKernels(SHAPE, BEST, threads)
        Runner(model, kernels).run(("a", 0, tokens_of(model, rows)))
        expected = formula_bytes(SHAPE, format_name, rows, threads, rows)
        assert 0 < kernels.workspace_bytes <= expected
    assert kernels.workspace_bytes > 0.85 * expected  # for a large pass little above; AVX2 expands smaller pieces


@pytest.mark.parametrize("sizes", [(31, 300), (300, 31, 7, 1)], ids=str)
def test_passes_of_all_sizes_take_what_the_largest_takes(sizes: tuple[int, ...]) -> None:
    model, kernels = RandomModel("q4p", SHAPE), NativeKernels(SHAPE, BEST, 2)
    runner = Runner(model, kernels)
    for index, rows in enumerate(sizes):
        runner.run((str(index), 0, tokens_of(model, rows)))
    assert kernels.workspace_bytes <= formula_bytes(SHAPE, "q4p", 300, 2, 300)


def test_the_formula_holds_for_rows_of_many_sequences() -> None:
    model, kernels = RandomModel("q4p", SHAPE), NativeKernels(SHAPE, BEST, 2)
    Runner(model, kernels).run(*((str(i), 0, tokens_of(model, 1)) for i in range(40)))
    assert 0 < kernels.workspace_bytes <= formula_bytes(SHAPE, "q4p", 40, 2, 1)


def test_the_same_passes_again_take_nothing_more() -> None:
    model = RandomModel("q4p", SHAPE)
    kernels = NativeKernels(SHAPE, BEST, 2)
    runner = Runner(model, kernels)

    def after_passes(name: str) -> int:
        runner.run((name, 0, tokens_of(model, 200)))
        for first in range(200, 232):
            runner.run((name, first, tokens_of(model, 1)))
        return kernels.workspace_bytes

    assert after_passes("a") == after_passes("b")


LATENTS = MlaShape(rank=256, nope_dim=64, rope_dim=32, value_dim=64, q_rank=128)
LATENT_SHAPE = latent_config(LATENTS, hidden_size=256, intermediate_size=768, num_heads=16, context_length=4096)


def latent_formula_bytes(shape: ModelConfig, mla: MlaShape, rows: int, threads: int) -> float:
    """docs/kernels.md, "Memory", of a model with latents and f32 matrices."""
    q, stored, attended = shape.num_heads * shape.head_dim, mla.latent_dim, shape.num_heads * mla.value_dim
    widest = max(shape.hidden_size, attended, shape.intermediate_size)
    in_block = min(rows, 2048 // shape.num_heads) * shape.num_heads
    total = (rows + 7) * 4 * (q + stored + mla.q_rank + attended + shape.intermediate_size + widest)
    total += in_block * 4 * 2 * mla.rank
    total += threads * (256 * (stored + 2 * mla.rank + 520) + 4 * max(8 * stored, 4096))
    if threads > 1:
        total += threads * (1024 * stored + 4096 * (mla.rank + 5) + 524_288)
    return total


@pytest.mark.parametrize("threads", [1, 3])
def test_latents_take_what_the_formula_says_and_no_more_for_long_contexts(threads: int) -> None:
    model, kernels = RandomModel("f32", LATENT_SHAPE), NativeKernels(LATENT_SHAPE, BEST, threads)
    runner = Runner(model, kernels, num_pages=80)
    for rows in (1, 8, 300):
        runner.run((str(rows), 0, tokens_of(model, rows)))
        assert 0 < kernels.workspace_bytes <= latent_formula_bytes(LATENT_SHAPE, LATENTS, rows, threads)
    with np.errstate(all="ignore"):
        for count in (1, 2, 9):  # few rows: spans apart, in waves; what lies in the pages does not matter
            runner.run(("long", 4000, tokens_of(model, count)))
    assert kernels.workspace_bytes <= latent_formula_bytes(LATENT_SHAPE, LATENTS, 300, threads)


EXPERTS = {
    "shared": MoeShape(num_experts=16, experts_per_token=4, expert_size=512, shared_size=768),
    "many": MoeShape(num_experts=64, experts_per_token=6, expert_size=256),
}


def mixture_formula_bytes(hidden: int, moe: MoeShape, format_name: str, rows: int) -> float:
    """What layers with experts add to the formula above."""
    per_value = 4 if format_name[0] == "f" else 1.02 if format_name == "q4p" else 1.375
    inner, places = max(moe.expert_size, moe.shared_size), moe.experts_per_token + bool(moe.shared_size)
    total = rows * ((4 + per_value) * hidden + 4 * hidden * places + 4 * moe.num_experts + 12 * moe.experts_per_token)
    total += min(rows * places, 512) * (6.8 * inner + 1.2 * per_value * (hidden + inner))
    return total + 300 * moe.num_experts


@pytest.mark.parametrize("format_name", ["q4p", "q8s", "f16"])
@pytest.mark.parametrize("name", EXPERTS)
def test_experts_take_what_the_formula_says_however_many_rows_they_have(name: str, format_name: str) -> None:
    moe = EXPERTS[name]
    shape = config(
        moe=moe, num_layers=1, hidden_size=512, intermediate_size=256, head_dim=64, context_length=4096, qkv_bias=False
    )
    model, kernels = RandomModel(format_name, shape), NativeKernels(shape, BEST, 2)
    runner = Runner(model, kernels)
    for rows in (1, 8, 31, 300):
        runner.run((str(rows), 0, tokens_of(model, rows)))
        expected = formula_bytes(shape, format_name, rows, 2, rows)
        expected += mixture_formula_bytes(shape.hidden_size, moe, format_name, rows)
        assert 0 < kernels.workspace_bytes <= expected
    assert kernels.workspace_bytes > 0.65 * expected
