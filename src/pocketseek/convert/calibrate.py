"""Layer by layer: what goes into each matrix when a checkpoint reads calibration text, and the matrix quantised for it.

The order is that of the computation, and inputs come through what is quantised already. Everything is float32
(layer_math.py). Memory: a layer's weights in float32 and one matrix three times more, Gram matrices (gram.py), and the
hidden states of the calibration text twice. The head is taken some rows at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.compensate import quantize_compensated
from pocketseek.convert.families.base import ModelPlan, TensorPlan
from pocketseek.convert.gram import Gram
from pocketseek.convert.layer_math import Attention, Floats, gated
from pocketseek.convert.pack import Planes
from pocketseek.convert.quantize import dequantize
from pocketseek.convert.slabs import read_matrix, read_rows, read_vector
from pocketseek.convert.sources.base import Source
from pocketseek.formats import TILE_ROWS
from pocketseek.kernels.reference import rms_norm

_CHUNK_ROWS = 4096  # of hidden states, looked at together
_HEAD_VALUES = 1 << 26  # of the head at a time: 256 MB of float32, three times more while they are quantised


@dataclass(frozen=True)
class QuantisedMatrix:
    """planes: None if it stays as it is. values: as the runtime will read them.

    error: mean over calibration rows of |output error|^2; norm: of |output|^2.
    """

    planes: Planes | None
    values: Floats
    error: float
    norm: float


Quantise = Callable[[str, Floats, Gram], QuantisedMatrix]
"""(canonical name, weights (outputs, inputs), Gram of its inputs)."""


class Calibration:
    """Walks through a model with the calibration text in it. Layers must be taken in order."""

    def __init__(self, source: Source, plan: ModelPlan, windows: NDArray[np.int32]) -> None:
        """windows: token ids (number, length)."""
        self._source = source
        self._plan = plan
        self._tensors: Mapping[str, TensorPlan] = {tensor.name: tensor for tensor in plan.tensors}
        self._windows = windows
        self._attention = Attention(plan.model, plan.inv_freq, windows.shape[1])
        self.hidden: Floats = np.empty((windows.size, plan.model.hidden_size), np.float32)

    def embed(self, table: Callable[[NDArray[np.int32]], Floats]) -> None:
        """table: rows of the embedding, as they will be written."""
        self.hidden[:] = table(self._windows.reshape(-1))

    def layer(self, index: int, quantise: Quantise) -> dict[str, QuantisedMatrix]:
        """Quantise a layer's matrices, by their short names, and go through it."""
        layer = _Layer(self, f"layer.{index}.", quantise)
        hidden = self.hidden
        layer.quantise(("q", "k", "v"), self._gram(lambda part: self._normed(hidden[part], layer.attn_norm)))
        mixed = np.empty((len(hidden), layer.width("q")), np.float32)
        for part in self._parts():
            mixed[part] = self._mixed(layer, self._normed(hidden[part], layer.attn_norm))
        layer.quantise(("o",), self._gram(lambda part: mixed[part]))
        for part in self._parts():
            hidden[part] += layer.times("o", mixed[part])
        layer.quantise(("gate", "up"), self._gram(lambda part: self._normed(hidden[part], layer.mlp_norm)))
        # Twice the work for gate and up, since their outputs for all rows would be the largest thing in memory.
        layer.quantise(("down",), self._gram(lambda part: self._gated(layer, hidden[part])))
        for part in self._parts():
            hidden[part] += layer.times("down", self._gated(layer, hidden[part]))
        return layer.done

    def head(self, quantise: Quantise | None) -> Floats:
        """The normed last hidden states. quantise is given the head's rows in several pieces, whole tile rows each."""
        x = rms_norm(self.hidden, self.vector("head.norm"), self._plan.model.rms_norm_eps)
        if quantise is None:
            return x
        gram = Gram(x.shape[1])
        gram.add(x)
        rows, cols = self._tensors["head.weight"].shape
        step = max(TILE_ROWS, _HEAD_VALUES // cols // TILE_ROWS * TILE_ROWS)
        for first in range(0, rows, step):
            piece = read_rows(self._source, self._tensors["head.weight"], first, min(first + step, rows))
            quantise("head.weight", piece, gram)
        return x

    def matrix(self, name: str) -> Floats:
        """As the checkpoint has it, rows in the package's order."""
        return read_matrix(self._source, self._tensors[name])

    def vector(self, name: str) -> Floats:
        return read_vector(self._source, self._tensors[name])

    def has(self, name: str) -> bool:
        return name in self._tensors

    def _parts(self) -> Iterator[slice]:
        """Whole windows."""
        length = self._windows.shape[1]
        step = max(1, _CHUNK_ROWS // length) * length
        for start in range(0, len(self.hidden), step):
            yield slice(start, min(start + step, len(self.hidden)))

    def _gram(self, rows: Callable[[slice], Floats]) -> Gram:
        gram: Gram | None = None
        for part in self._parts():
            inputs = rows(part)
            gram = gram or Gram(inputs.shape[1])
            gram.add(inputs)
        if gram is None:
            raise ValueError("there are no calibration rows")
        return gram

    def _normed(self, rows: Floats, weight: Floats) -> Floats:
        return rms_norm(rows, weight, self._plan.model.rms_norm_eps)

    def _mixed(self, layer: _Layer, x: Floats) -> Floats:
        q, k, v = (layer.times(name, x) for name in ("q", "k", "v"))
        for values, name in ((q, "q_bias"), (k, "k_bias"), (v, "v_bias")):
            if (bias := layer.optional(name)) is not None:
                values += bias
        return self._attention.mix(q, k, v, layer.optional("q_norm"), layer.optional("k_norm"))

    def _gated(self, layer: _Layer, hidden: Floats) -> Floats:
        x = self._normed(hidden, layer.mlp_norm)
        return gated(layer.times("gate", x), layer.times("up", x))


class _Layer:
    """One layer on its way: what is quantised of it so far."""

    def __init__(self, calibration: Calibration, prefix: str, quantise: Quantise) -> None:
        self._calibration = calibration
        self._prefix = prefix
        self._quantise = quantise
        self.done: dict[str, QuantisedMatrix] = {}
        self.attn_norm = calibration.vector(prefix + "attn_norm")
        self.mlp_norm = calibration.vector(prefix + "mlp_norm")

    def quantise(self, names: tuple[str, ...], gram: Gram) -> None:
        for name in names:
            full = self._prefix + name
            self.done[name] = self._quantise(full, self._calibration.matrix(full), gram)

    def times(self, name: str, x: Floats) -> Floats:
        return x @ self.done[name].values.T

    def width(self, name: str) -> int:
        return len(self.done[name].values)

    def optional(self, name: str) -> Floats | None:
        full = self._prefix + name
        return self._calibration.vector(full) if self._calibration.has(full) else None


def compensated(format_name: str, weights: Floats, gram: Gram) -> QuantisedMatrix:
    return _measured(format_name, quantize_compensated(format_name, weights, gram), weights, gram)


def _measured(format_name: str, planes: Planes, weights: Floats, gram: Gram) -> QuantisedMatrix:
    values = dequantize(format_name, planes)[:, : weights.shape[1]]
    return QuantisedMatrix(planes, values, gram.error_of(values - weights), gram.error_of(weights))
