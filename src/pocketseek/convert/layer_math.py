"""A decoder layer in float32, step by step, so that what goes into each matrix can be looked at on the way.

Texts are windows of equal length, each read from an empty context: rows are (windows * length, features), window after
window. The formulas are the reference kernels', on whole texts; the runtime's kernels round activations to int8 and are
not used here.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pocketseek.kernels.reference import rms_norm, rotate, silu
from pocketseek.types import ModelConfig

Floats = NDArray[np.float32]


def gated(gate: Floats, up: Floats) -> Floats:
    """silu(gate) * up."""
    return silu(gate) * up


class Attention:
    """Of windows of `length` tokens in one model."""

    def __init__(self, config: ModelConfig, inv_freq: Floats, length: int) -> None:
        angles = np.arange(length, dtype=np.float32)[:, None] * inv_freq[None, :]
        factor = np.float32(config.rope_scaling.attention_factor)
        self._cosine, self._sine = np.cos(angles) * factor, np.sin(angles) * factor
        self._config = config
        self._length = length
        self._hidden_keys = np.triu(np.full((length, length), -np.inf, np.float32), 1)

    def mix(self, q: Floats, k: Floats, v: Floats, q_norm: Floats | None, k_norm: Floats | None) -> Floats:
        """q, k, v: (rows, heads * head_dim), biases added. Returns what goes into the output matrix, like q."""
        config, length = self._config, self._length
        queries = self._heads(q, config.num_heads, q_norm)
        keys = self._heads(k, config.num_kv_heads, k_norm)
        values = v.reshape(-1, length, config.num_kv_heads, config.head_dim).transpose(0, 2, 1, 3)
        mixed = np.empty_like(queries)
        scale = np.float32(1 / math.sqrt(config.head_dim))
        for head in range(config.num_heads):
            shared = head // config.queries_per_kv_head
            scores = queries[:, head] @ keys[:, shared].swapaxes(1, 2)
            scores *= scale
            scores += self._hidden_keys
            scores -= scores.max(axis=-1, keepdims=True)
            np.exp(scores, out=scores)
            scores /= scores.sum(axis=-1, keepdims=True)
            mixed[:, head] = scores @ values[:, shared]
        return np.ascontiguousarray(mixed.transpose(0, 2, 1, 3)).reshape(len(q), -1)

    def _heads(self, x: Floats, num_heads: int, norm: Floats | None) -> Floats:
        """Normed if the model does that, rotated: (windows, heads, length, head_dim)."""
        heads = x.reshape(-1, self._length, num_heads, self._config.head_dim)
        if norm is not None:
            heads = rms_norm(heads, norm, self._config.rms_norm_eps)
        rows = heads.reshape(-1, num_heads, self._config.head_dim)
        num_windows = len(heads)
        rotated = rotate(rows, np.tile(self._cosine, (num_windows, 1)), np.tile(self._sine, (num_windows, 1)))
        return np.ascontiguousarray(rotated.reshape(heads.shape).transpose(0, 2, 1, 3))
