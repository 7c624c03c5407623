"""Attention over latents (MLA) in the reference kernels, in absorbed form for every row.

The cache holds one vector per token and layer: the normed latent and the rotated values that all heads share. A head's
query is taken into the latents' space (k_b), scores and mixes latents there, and what it mixed is taken back (v_b):

    q        = q_b(norm(q_a x)), or q x                            per head: nope_dim values, then rope_dim to rotate
    stored   = norm(latent of kv_a x), rotated(rest of kv_a x)     rounded to what the page holds, read as that
    query    = k_b[head] q_nope, rotated(q_rope)
    score    = query . stored * score_factor / sqrt(nope_dim + rope_dim)           values ascending, in one sum
    output   = v_b[head] (softmax(scores) . latents)                               positions ascending

An adapter of kv_b, B A, has B_k and B_v for each head: its query gets A^T (B_k^T q_nope) and its output B_v (A mixed).

The other form, which multiplies every latent into keys and values first, has other roundings, so that its bits are not
these: there is one form, however long the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pocketseek.kernels.contract import Floats
from pocketseek.kernels.kv_memory import PAGE_TOKENS
from pocketseek.kernels.reference_adapter import adapted_rows, raised
from pocketseek.kernels.reference_attention import LayerWeights, PassRows
from pocketseek.kernels.reference_math import UnpackedMatrix, choose_rows, multiply, quantise_rows, rms_norm, rotate
from pocketseek.shapes import MlaShape
from pocketseek.types import ModelConfig


def latent_attention(config: ModelConfig, layer: LayerWeights, index: int, batch: PassRows, x: Floats) -> Floats:
    """What goes into o, from the normed hidden rows. Writes the rows' latents."""
    mla = _expect_latents(config)
    queries = _queries(config, mla, layer, index, batch, x)
    latents = _latents(config, mla, layer, index, batch, x)
    mixed = np.empty((len(x), config.num_heads, mla.rank), np.float32)
    scale = mla.score_factor / np.sqrt(config.head_dim)
    first = 0
    for span in batch.spans:
        pages = [batch.memory.layer_of_page(page_id, index) for page_id in span.pages]
        for row in range(span.num_rows):
            page, slot = divmod(span.first_position + row, PAGE_TOKENS)
            write_latent(pages[page], slot, latents[first + row], mla.rank)
        stored = read_latents(pages, mla, span.first_position + span.num_rows)
        for row in range(first, first + span.num_rows):
            length = span.first_position + row - first + 1
            mixed[row] = _attend(queries[row], stored[:length], mla.rank, scale)
        first += span.num_rows
    outputs = np.stack(
        [
            multiply(_of_head(layer.matrices["v_b"], head, mla.value_dim), mixed[:, head])
            for head in range(config.num_heads)
        ],
        axis=1,
    )
    for row, pair in adapted_rows(batch.spans, index, "kv_b"):
        for head, b in enumerate(_of_heads(pair.b, config.num_heads)):
            outputs[row, head] += (pair.scale * (pair.a @ mixed[row, head])) @ b[:, mla.nope_dim :]
    return outputs.reshape(len(x), -1)


def _queries(config: ModelConfig, mla: MlaShape, layer: LayerWeights, index: int, batch: PassRows, x: Floats) -> Floats:
    """(rows, heads, latent_dim), in the space of what is stored."""

    def product(name: str, inputs: Floats) -> Floats:
        return raised(batch.spans, index, name, inputs, multiply(layer.matrices[name], inputs))

    if mla.q_rank:
        q = product("q_b", rms_norm(product("q_a", x), layer.vectors["q_a_norm"], config.rms_norm_eps))
    else:
        q = product("q", x)
    q = q.reshape(len(x), config.num_heads, config.head_dim)
    absorbed = np.stack(
        [
            multiply(_of_head(layer.matrices["k_b"], head, mla.rank), np.ascontiguousarray(q[:, head, : mla.nope_dim]))
            for head in range(config.num_heads)
        ],
        axis=1,
    )
    for row, pair in adapted_rows(batch.spans, index, "kv_b"):
        for head, b in enumerate(_of_heads(pair.b, config.num_heads)):
            absorbed[row, head] += (pair.scale * (b[:, : mla.nope_dim] @ q[row, head, : mla.nope_dim])) @ pair.a
    rotated = rotate(q[..., mla.nope_dim :], batch.cosine, batch.sine)
    return np.concatenate([absorbed, rotated], axis=2)


def _latents(config: ModelConfig, mla: MlaShape, layer: LayerWeights, index: int, batch: PassRows, x: Floats) -> Floats:
    """(rows, latent_dim), to be stored."""
    compressed = raised(batch.spans, index, "kv_a", x, multiply(layer.matrices["kv_a"], x))
    latent = rms_norm(compressed[:, : mla.rank], layer.vectors["kv_a_norm"], config.rms_norm_eps)
    rotated = rotate(compressed[:, None, mla.rank :], batch.cosine, batch.sine)[:, 0]
    return np.concatenate([latent, rotated], axis=1)


def _attend(query: Floats, stored: NDArray[np.float64], rank: int, scale: float) -> Floats:
    """query (heads, latent_dim) over all these positions: what each head mixes of the latents, (heads, rank)."""
    scores = stored @ query.astype(np.float64).T * scale
    weights = np.exp(scores - scores.max(axis=0, keepdims=True))
    result: Floats = ((weights / weights.sum(axis=0, keepdims=True)).T @ stored[:, :rank]).astype(np.float32)
    return result


def write_latent(page: NDArray[np.void], slot: int, values: Floats, rank: int) -> None:
    """One token into one layer of a page. page: one record of kv_memory.head_dtype."""
    if "latent_scale" in (page.dtype.names or ()):
        parts = [quantise_rows(part[None], len(part)) for part in (values[:rank], values[rank:])]
        page["latent_scale"][0, slot], page["rotary_scale"][0, slot] = (scales[0, 0] for _, scales in parts)
        values = np.concatenate([quants[0, 0] for quants, _ in parts])
    page["latent"][0, slot, : len(values)] = values


def read_latents(pages: Sequence[NDArray[np.void]], mla: MlaShape, length: int) -> NDArray[np.float64]:
    """(length, latent_dim) of positions 0 .. length-1. Cut before widening, as `read_kv`."""
    parts = []
    for index, page in enumerate(pages[: -(-length // PAGE_TOKENS)]):
        n = min(PAGE_TOKENS, length - index * PAGE_TOKENS)
        values = page["latent"][0, :n, : mla.latent_dim].astype(np.float64)
        if "latent_scale" in (page.dtype.names or ()):
            values[:, : mla.rank] *= page["latent_scale"][0, :n, None]
            values[:, mla.rank :] *= page["rotary_scale"][0, :n, None]
        parts.append(values)
    return np.concatenate(parts)


def _of_head(matrix: UnpackedMatrix, head: int, num_rows: int) -> UnpackedMatrix:
    """A head's rows, which are whole tile rows."""
    return choose_rows(matrix, slice(head * num_rows, (head + 1) * num_rows))


def _of_heads(b: Floats, num_heads: int) -> Floats:
    """B of kv_b, (rank, outputs) -> (heads, rank, nope_dim + value_dim)."""
    return np.ascontiguousarray(b.reshape(len(b), num_heads, -1).swapaxes(0, 1))


def _expect_latents(config: ModelConfig) -> MlaShape:
    if config.mla is None:
        raise TypeError(f"a {config.family} model without latents")
    return config.mla
