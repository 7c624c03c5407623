"""A layer's experts in the reference kernels: who is chosen, and what comes of it.

The order that every implementation keeps, so that a row's bits depend on nothing but the row: the router's outputs and
what follows from them in f32; of equal scores the lower expert wins; sums over the chosen ones go in ascending order of
experts; the output is the shared experts' plus, expert after expert in ascending order, weight times output. Each
expert's matrices are used once per pass, for all the rows that chose it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketseek.kernels.contract import Floats
from pocketseek.kernels.reference_attention import LayerWeights
from pocketseek.kernels.reference_math import UnpackedMatrix, multiply, silu
from pocketseek.shapes import MoeShape

Raise = Callable[[str, Floats, Floats], Floats]  # matrix, inputs, outputs -> outputs with what adapters add

_LEAST_SUM = np.float32(1e-20)  # what chosen weights are divided by is more


def as_they_are(name: str, inputs: Floats, outputs: Floats) -> Floats:
    """Without adapters; none raises an expert."""
    return outputs


def mixture(moe: MoeShape, layer: LayerWeights, x: Floats, raise_outputs: Raise = as_they_are) -> Floats:
    """What is added to the hidden rows, from the normed ones, of a layer that was loaded with its experts."""
    steps = MixtureSteps(moe, layer, x, raise_outputs)
    steps.share()
    steps.compute({expert: ExpertWeights(layer.matrices, f"{expert}.") for expert in steps.missing})
    return steps.total()


@dataclass(frozen=True)
class ExpertWeights:
    """One expert's gate, up and down, under these names behind the prefix."""

    matrices: Mapping[str, UnpackedMatrix]
    prefix: str = ""


class MixtureSteps:
    """The mixture of one layer and pass, step by step; raises ValueError, with nothing done, for one out of place."""

    def __init__(self, moe: MoeShape, layer: LayerWeights, x: Floats, raise_outputs: Raise = as_they_are) -> None:
        self._moe = moe
        self._raise_outputs = raise_outputs
        self._layer = layer
        self._x = x
        self._shared: Floats | None = None if moe.shared_size else np.zeros_like(x)
        self._outputs: dict[int, Floats] = {}
        self.chosen, self._weights = route(moe, multiply(layer.matrices["router"], x), layer.vectors.get("router_bias"))

    @property
    def missing(self) -> list[int]:
        """Experts that somebody chose and nobody computed, ascending."""
        return [expert for expert in np.unique(self.chosen).tolist() if expert not in self._outputs]

    def is_of(self, layer: LayerWeights) -> bool:
        return self._layer is layer

    def share(self) -> None:
        if not self._moe.shared_size:
            return
        if self._shared is not None:
            raise ValueError("the shared experts of this layer are computed already")
        self._shared = gated_mlp(self._layer.matrices, "shared_", self._x, self._raise_outputs)

    def compute(self, ready: Mapping[int, ExpertWeights]) -> None:
        if wrong := ready.keys() - set(self.missing):
            raise ValueError(f"expert {min(wrong)} was chosen by no row, or is computed already")
        for expert, weights in ready.items():
            rows = (self.chosen == expert).any(axis=1)
            self._outputs[expert] = gated_mlp(weights.matrices, weights.prefix, self._x[rows])

    def total(self) -> Floats:
        """What is added to the hidden rows."""
        if self._shared is None or self.missing:
            raise ValueError(f"the layer is not complete: {self.missing or 'its shared experts'} were not computed")
        total = self._shared.copy()
        for expert in sorted(self._outputs):
            rows, places = np.nonzero(self.chosen == expert)
            output = self._outputs[expert].astype(np.float64)
            total[rows] = (self._weights[rows, places, None] * output + total[rows]).astype(np.float32)
        return total


def route(moe: MoeShape, outputs: Floats, bias: Floats | None) -> tuple[NDArray[np.intp], Floats]:
    """The router's outputs (rows, experts) -> experts (rows, experts_per_token), ascending, and their weights."""
    scores = _softmax(outputs) if moe.score == "softmax" else _sigmoid(outputs)
    wanted: Floats = scores if bias is None else scores + bias
    if moe.groups_per_token < moe.num_groups:
        wanted = _within_best_groups(moe, wanted)
    experts = np.sort(_best(wanted, moe.experts_per_token), axis=1)
    weights: Floats = np.take_along_axis(scores, experts, axis=1)
    if moe.normalised:
        total = np.zeros(len(weights), np.float32)
        for place in range(weights.shape[1]):
            total = total + weights[:, place]
        weights = weights / (total + _LEAST_SUM)[:, None]
    return experts, weights * np.float32(moe.weight_factor)


def gated_mlp(
    matrices: Mapping[str, UnpackedMatrix], prefix: str, x: Floats, raise_outputs: Raise = as_they_are
) -> Floats:
    def product(name: str, inputs: Floats) -> Floats:
        return raise_outputs(prefix + name, inputs, multiply(matrices[prefix + name], inputs))

    return product("down", silu(product("gate", x)) * product("up", x))


def _softmax(outputs: Floats) -> Floats:
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    result: Floats = (powers / powers.sum(axis=1, keepdims=True, dtype=np.float64)).astype(np.float32)
    return result


def _sigmoid(outputs: Floats) -> Floats:
    result: Floats = (1 / (1 + np.exp(-np.clip(outputs, -87.3, 88)))).astype(np.float32)
    return result


def _within_best_groups(moe: MoeShape, wanted: Floats) -> Floats:
    """Minus infinity where an expert is in none of the best groups."""
    groups = wanted.reshape(len(wanted), moe.num_groups, -1)
    ranked = -np.sort(-groups, axis=2)
    values = ranked[..., 0] if moe.group_score == "best" else ranked[..., 0] + ranked[..., 1]
    is_best = np.zeros(values.shape, bool)
    np.put_along_axis(is_best, _best(values, moe.groups_per_token), True, axis=1)
    allowed: Floats = np.where(is_best[..., None], groups, np.float32(-np.inf))
    return allowed.reshape(wanted.shape)


def _best(values: Floats, count: int) -> NDArray[np.intp]:
    """Columns of the largest values of each row; of equal ones the first."""
    return np.argsort(-values, axis=1, kind="stable")[:, :count]
