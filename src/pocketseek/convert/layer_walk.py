"""A layer of a model with its weights in float32, to send a text through: hidden states in, hidden states out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pocketseek.convert.layer_math import Attention, Floats, gated
from pocketseek.convert.static_walk import LAYER_MATRICES, FloatWeights
from pocketseek.kernels.reference import rms_norm

_CHUNK_ROWS = 4096  # of hidden states, together
_VECTORS = ("attn_norm", "mlp_norm", "q_norm", "k_norm", "q_bias", "k_bias", "v_bias")


class Layer:
    """matrices (outputs, inputs) by their short names."""

    def __init__(
        self, matrices: Mapping[str, Floats], vectors: Mapping[str, Floats], eps: float, attention: Attention
    ) -> None:
        self.matrices = matrices
        self._vectors = vectors
        self._eps = eps
        self._attention = attention

    @classmethod
    def of(cls, weights: FloatWeights, index: int, attention: Attention) -> Layer:
        prefix = f"layer.{index}."
        matrices = {name: weights.matrix(prefix + name) for name in LAYER_MATRICES}
        vectors = {name: weights.vector(prefix + name) for name in _VECTORS if weights.has(prefix + name)}
        return cls(matrices, vectors, weights.model.rms_norm_eps, attention)

    def with_matrices(self, replaced: Mapping[str, Floats]) -> Layer:
        """The same layer with other values in some matrices."""
        return Layer({**self.matrices, **replaced}, self._vectors, self._eps, self._attention)

    def run(self, hidden: Floats, length: int) -> Floats:
        """In place, whole windows of `length` rows at a time; returns hidden."""
        step = max(1, _CHUNK_ROWS // length) * length
        for start in range(0, len(hidden), step):
            rows = hidden[start : start + step]
            x = rms_norm(rows, self._vectors["attn_norm"], self._eps)
            q, k, v = (self._times(name, x) for name in ("q", "k", "v"))
            mixed = self._attention.mix(q, k, v, self._vectors.get("q_norm"), self._vectors.get("k_norm"))
            rows += self._times("o", mixed)
            x = rms_norm(rows, self._vectors["mlp_norm"], self._eps)
            rows += self._times("down", gated(self._times("gate", x), self._times("up", x)))
        return hidden

    def _times(self, name: str, x: Floats) -> Floats:
        y: Floats = x @ self.matrices[name].T
        bias = self._vectors.get(f"{name}_bias")
        return y if bias is None else y + bias


def logits_of(weights: FloatWeights, hidden: Floats, head: Floats) -> Floats:
    """Of hidden states after the last layer. head: the matrix, or some of its rows."""
    x = rms_norm(hidden, weights.vector("head.norm"), weights.model.rms_norm_eps)
    return np.asarray(x @ head.T, np.float32)
