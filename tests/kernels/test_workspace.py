"""What the core takes besides weights and pages: the formula of docs/kernels.md holds, whatever is in the passes."""

from __future__ import annotations

import numpy as np
import pytest
from kernels.random_model import RandomModel, Runner, config, tokens_of

from pocketseek.kernels.choose import supported_sets
from pocketseek.kernels.native import NativeKernels
from pocketseek.types import ModelConfig

BEST = supported_sets()[-1]
SHAPE = config(hidden_size=192, intermediate_size=600, num_heads=6, num_kv_heads=2, head_dim=64, context_length=4096)


def formula_bytes(shape: ModelConfig, rows: int, threads: int, context: int) -> float:
    """docs/kernels.md, "Memory", of a model in quantised formats."""
    q, kv = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
    widest, padded_rows = max(shape.hidden_size, q, shape.intermediate_size) + 256, rows + 8
    per_row = 4 * (2 * q + 2 * kv) + 4 * (shape.intermediate_size + 16) + 2 * 1.4 * widest
    attention = 12 * (530 + shape.head_dim) + 96 * (3 * shape.head_dim + 4)
    per_thread = 4 * max(shape.hidden_size, attention) + 128 * min(padded_rows, 264) + 8 * 1.4 * widest + 9000
    spans = 4 * threads * 12 * (shape.head_dim + 2) * 4 * (context / 512 + 1)
    return padded_rows * per_row + threads * per_thread + spans


@pytest.mark.parametrize("format_name", ["q4s", "q4p", "q8s"])
@pytest.mark.parametrize("threads", [1, 3])
def test_the_workspace_stays_within_the_formula(format_name: str, threads: int) -> None:
    model = RandomModel(format_name, SHAPE)
    for rows in (1, 8, 40, 300):
        kernels = NativeKernels(SHAPE, BEST, threads)
        Runner(model, kernels).run(("a", 0, tokens_of(model, rows)))
        assert 0 < kernels.workspace_bytes <= formula_bytes(SHAPE, rows, threads, rows)


def test_the_formula_holds_for_rows_of_many_sequences() -> None:
    model, kernels = RandomModel("q4p", SHAPE), NativeKernels(SHAPE, BEST, 2)
    Runner(model, kernels).run(*((str(i), 0, tokens_of(model, 1)) for i in range(40)))
    assert 0 < kernels.workspace_bytes <= formula_bytes(SHAPE, 40, 2, 1)


def test_the_same_passes_again_take_nothing_more() -> None:
    model = RandomModel("q4p", SHAPE)
    kernels = NativeKernels(SHAPE, BEST, 2)
    runner = Runner(model, kernels)
    runner.run(("a", 0, tokens_of(model, 200)))
    before = kernels.workspace_bytes
    for first in range(200, 232):
        runner.run(("a", first, tokens_of(model, 1)))
    assert kernels.workspace_bytes <= before + 4 * 2 * 12 * (SHAPE.head_dim + 2) * 4 * 2  # spans computed apart
    assert np.isfinite(before)
