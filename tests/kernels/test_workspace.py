"""What the core takes besides weights and pages: the formula of docs/kernels.md holds, whatever is in the passes."""

from __future__ import annotations

import pytest
from kernels.random_model import RandomModel, Runner, config, tokens_of

from pocketseek.kernels.choose import supported_sets
from pocketseek.kernels.native import NativeKernels
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
