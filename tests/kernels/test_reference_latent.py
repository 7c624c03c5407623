"""Latent attention in absorbed form against the form of the papers, which makes keys and values of every head first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from kernels.random_model import config

from pocketseek.kernels.contract import RowSpan
from pocketseek.kernels.kv_memory import PAGE_TOKENS, KvFormat, KvMemory, head_dtype, used_page_bytes
from pocketseek.kernels.reference_attention import LayerWeights, PassRows
from pocketseek.kernels.reference_latent import latent_attention
from pocketseek.kernels.reference_math import UnpackedMatrix, rms_norm, rotate
from pocketseek.shapes import MlaShape
from pocketseek.types import ModelConfig

MLA = MlaShape(rank=32, nope_dim=24, rope_dim=8, value_dim=16, q_rank=20, score_factor=1.3)
NUM_ROWS = 70  # crosses a page


def sparse_config(mla: MlaShape = MLA) -> ModelConfig:
    return config(
        family="deepseek_v2", num_kv_heads=1, num_heads=3, head_dim=32, qkv_bias=False, qk_norm=False, mla=mla
    )


def random_layer(model: ModelConfig, mla: MlaShape, rng: np.random.Generator) -> LayerWeights:
    hidden, heads = model.hidden_size, model.num_heads
    shapes = {"q": (heads * model.head_dim, hidden)}
    vectors = {"kv_a_norm": mla.rank}
    if mla.q_rank:
        shapes = {"q_a": (mla.q_rank, hidden), "q_b": (heads * model.head_dim, mla.q_rank)}
        vectors["q_a_norm"] = mla.q_rank
    shapes |= {"kv_a": (mla.latent_dim, hidden), "k_b": (heads * mla.rank, mla.nope_dim)}
    shapes |= {"v_b": (heads * mla.value_dim, mla.rank)}
    matrices = {name: rng.normal(0, 1 / np.sqrt(shape[1]), shape).astype(np.float32) for name, shape in shapes.items()}
    return LayerWeights(
        {name: UnpackedMatrix(len(values), values[:, None, :]) for name, values in matrices.items()},
        {name: rng.normal(1, 0.2, size).astype(np.float32) for name, size in vectors.items()},
    )


def in_full(model: ModelConfig, mla: MlaShape, layer: LayerWeights, rows: PassRows, x: np.ndarray) -> np.ndarray:
    """Keys and values of all heads, causal, in one go."""
    weights = {name: matrix.quants[:, 0] for name, matrix in layer.matrices.items()}
    if mla.q_rank:
        q = rms_norm(x @ weights["q_a"].T, layer.vectors["q_a_norm"], model.rms_norm_eps) @ weights["q_b"].T
    else:
        q = x @ weights["q"].T
    q = q.reshape(len(x), model.num_heads, -1)
    q_rope = rotate(q[..., mla.nope_dim :], rows.cosine, rows.sine)
    compressed = x @ weights["kv_a"].T
    latent = rms_norm(compressed[:, : mla.rank], layer.vectors["kv_a_norm"], model.rms_norm_eps)
    k_rope = rotate(compressed[:, None, mla.rank :], rows.cosine, rows.sine)[:, 0]
    outputs = []
    for head in range(model.num_heads):
        w_uk = weights["k_b"][head * mla.rank : (head + 1) * mla.rank].T  # as published: (nope_dim, rank)
        w_uv = weights["v_b"][head * mla.value_dim : (head + 1) * mla.value_dim]
        keys = np.concatenate([latent @ w_uk.T, k_rope], axis=1)
        query = np.concatenate([q[:, head, : mla.nope_dim], q_rope[:, head]], axis=1)
        scores = query @ keys.T * mla.score_factor / np.sqrt(mla.nope_dim + mla.rope_dim)
        scores[np.triu_indices(len(x), 1)] = -np.inf
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        outputs.append(powers / powers.sum(axis=1, keepdims=True) @ (latent @ w_uv.T))
    return np.concatenate(outputs, axis=1)


def rows_of(model: ModelConfig, memory: KvMemory, first: int, count: int) -> PassRows:
    angles = np.arange(first, first + count)[:, None] * 0.3 ** np.arange(model.rope_dim // 2)
    span = RowSpan(first, count, (1, 0))
    return PassRows([span], np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32), memory)


@pytest.mark.parametrize(("kv", "tolerance"), [("f16", 2e-3), ("q8", 0.02)])
@pytest.mark.parametrize("q_rank", [0, 20])
def test_the_absorbed_form_is_the_full_one(q_rank: int, kv: KvFormat, tolerance: float) -> None:
    mla = replace(MLA, q_rank=q_rank)
    model, rng = sparse_config(mla), np.random.default_rng(6)
    layer = random_layer(model, mla, rng)
    x = rng.normal(0, 1, (NUM_ROWS, model.hidden_size)).astype(np.float32)
    memory = KvMemory(model, 2, kv)
    rows = rows_of(model, memory, 0, NUM_ROWS)
    result, expected = latent_attention(model, layer, 1, rows, x), in_full(model, mla, layer, rows, x)
    assert np.sqrt(np.mean((result - expected) ** 2) / np.mean(expected**2)) < tolerance


@pytest.mark.parametrize("kv", ["f16", "q8"])
def test_rows_come_to_the_same_bits_one_by_one(kv: KvFormat) -> None:
    model, rng = sparse_config(), np.random.default_rng(7)
    layer = random_layer(model, MLA, rng)
    x = rng.normal(0, 1, (NUM_ROWS, model.hidden_size)).astype(np.float32)
    whole = latent_attention(model, layer, 0, rows_of(model, KvMemory(model, 2, kv), 0, NUM_ROWS), x)
    memory = KvMemory(model, 2, kv)
    for page_id in range(2):
        memory.page(page_id)[:] = 0x7D  # what was never written must not matter
    parts = [latent_attention(model, layer, 0, rows_of(model, memory, 0, 60), x[:60])]
    parts += [
        latent_attention(model, layer, 0, rows_of(model, memory, row, 1), x[row : row + 1]) for row in range(60, 70)
    ]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_a_token_takes_its_latent_and_nothing_else() -> None:
    lite = replace(sparse_config(), mla=MlaShape(512, 128, 64, 128), head_dim=192, num_layers=27)
    assert head_dtype(lite, "f16").itemsize == PAGE_TOKENS * (512 + 64) * 2
    assert used_page_bytes(lite, "f16") == 27 * PAGE_TOKENS * 1152
    assert used_page_bytes(lite, "q8") == 27 * PAGE_TOKENS * (576 + 2 * 4)
