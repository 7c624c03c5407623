"""Attention of the reference kernels over keys and values, and how these lie in a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketseek.kernels.contract import Floats, RowSpan
from pocketseek.kernels.kv_memory import PAGE_TOKENS, KvMemory
from pocketseek.kernels.reference_adapter import raised
from pocketseek.kernels.reference_math import UnpackedMatrix, multiply, quantise_rows, rms_norm, rotate
from pocketseek.types import ModelConfig


@dataclass(frozen=True)
class PassRows:
    """Of one pass. cosine, sine: (rows, rotated values / 2)."""

    spans: Sequence[RowSpan]
    cosine: Floats
    sine: Floats
    memory: KvMemory


@dataclass(frozen=True)
class LayerWeights:
    """By the last part of their names; of expert 7 "7.gate" and so on."""

    matrices: Mapping[str, UnpackedMatrix]
    vectors: Mapping[str, Floats]


def attention(config: ModelConfig, layer: LayerWeights, index: int, batch: PassRows, x: Floats) -> Floats:
    """What goes into o, from the normed hidden rows. Writes K and V of the rows."""
    heads = {}
    for name, count in (("q", config.num_heads), ("k", config.num_kv_heads), ("v", config.num_kv_heads)):
        y = raised(batch.spans, index, name, x, multiply(layer.matrices[name], x))
        y = y + layer.vectors.get(f"{name}_bias", np.float32(0))
        y = y.reshape(len(x), count, config.head_dim)
        if f"{name}_norm" in layer.vectors:
            y = rms_norm(y, layer.vectors[f"{name}_norm"], config.rms_norm_eps)
        heads[name] = rotate(y, batch.cosine, batch.sine) if name != "v" else y
    mixed = np.empty((len(x), config.num_heads, config.head_dim), np.float32)
    first = 0
    for span in batch.spans:
        pages = [batch.memory.layer_of_page(page_id, index) for page_id in span.pages]
        for row in range(span.num_rows):
            page, slot = divmod(span.first_position + row, PAGE_TOKENS)
            write_kv(pages[page], slot, heads["k"][first + row], heads["v"][first + row])
        keys, values = read_kv(pages, config.head_dim, span.first_position + span.num_rows)
        for row in range(first, first + span.num_rows):
            length = span.first_position + row - first + 1
            mixed[row] = _attend(config, heads["q"][row], keys[..., :length], values[:, :length])
        first += span.num_rows
    return mixed.reshape(len(x), -1)


def _attend(config: ModelConfig, q: Floats, keys: NDArray[np.float64], values: NDArray[np.float64]) -> Floats:
    """q (heads, head_dim) over all these positions: softmax(q k / sqrt(head_dim)) v."""
    grouped = q.reshape(config.num_kv_heads, config.queries_per_kv_head, config.head_dim).astype(np.float64)
    scores = grouped @ np.ascontiguousarray(keys) / np.sqrt(config.head_dim)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    out = (weights / weights.sum(axis=-1, keepdims=True)) @ np.ascontiguousarray(values)
    result: Floats = out.reshape(config.num_heads, config.head_dim).astype(np.float32)
    return result


def write_kv(heads: NDArray[np.void], slot: int, k: Floats, v: Floats) -> None:
    """One token into one layer of a page. heads: records of kv_memory.head_dtype; k, v: (kv heads, head_dim)."""
    head_dim = k.shape[1]
    names = heads.dtype.names or ()
    if "key_scale" in names:
        (k, key_scales), (v, value_scales) = (quantise_rows(x, head_dim) for x in (k, v))
        k, v = k[:, 0], v[:, 0]
        heads["key_scale"][:, slot], heads["value_scale"][:, slot] = key_scales[:, 0], value_scales[:, 0]
    heads["key"][:, :, slot] = k
    heads["value"][:, slot, :head_dim] = v


def read_kv(
    pages: Sequence[NDArray[np.void]], head_dim: int, length: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Keys (kv heads, head_dim, length) and values (kv heads, length, head_dim) of positions 0 .. length-1.

    Cut before widening: beyond the length lies anything, and arm64 warns of a signalling NaN in it.
    """
    keys, values = [], []
    for index, heads in enumerate(pages[: -(-length // PAGE_TOKENS)]):
        n = min(PAGE_TOKENS, length - index * PAGE_TOKENS)
        key, value = heads["key"][..., :n].astype(np.float64), heads["value"][:, :n, :head_dim].astype(np.float64)
        if "key_scale" in (heads.dtype.names or ()):
            key = key * heads["key_scale"][:, None, :n]
            value = value * heads["value_scale"][:, :n, None]
        keys.append(key)
        values.append(value)
    return np.concatenate(keys, axis=2), np.concatenate(values, axis=1)
