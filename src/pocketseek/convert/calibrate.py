"""Layer by layer: what goes into each matrix when a checkpoint reads calibration text, and the matrix quantised for it.

The order is that of the computation, and inputs come through what is quantised already. Where it helps, channels of
inputs are scaled (channel_scales.py), so that norms, the bias of v, and rows of v and up change, too. Everything is
float32 (layer_math.py). Memory: a layer's weights in float32 and one matrix three times more, Gram matrices (gram.py),
and the hidden states of the calibration text twice. The head is taken some rows at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.channel_scales import Shared, of_values, over_query_heads
from pocketseek.convert.compensate import quantize_compensated
from pocketseek.convert.families.base import ModelPlan, TensorPlan
from pocketseek.convert.gram import AnyGram, Gram
from pocketseek.convert.layer_math import Attention, Floats, gated
from pocketseek.convert.pack import Planes
from pocketseek.convert.quantize import dequantize
from pocketseek.convert.slabs import read_matrix, read_rows, read_vector
from pocketseek.convert.sources.base import Source
from pocketseek.formats import TILE_ROWS
from pocketseek.kernels.reference import rms_norm
from pocketseek.types import ModelConfig

_VECTORS = ("attn_norm", "mlp_norm", "q_norm", "k_norm", "q_bias", "k_bias", "v_bias")
_CHUNK_ROWS = 4096  # of hidden states, looked at together
_HEAD_VALUES = 1 << 26  # of the head at a time: 256 MB of float32, three times more while they are quantised


@dataclass(frozen=True)
class QuantisedMatrix:
    """planes: None if it stays as it is, else of this format. values: as the runtime will read them.

    error: mean over calibration rows of |output error|^2; norm: of |output|^2.
    """

    planes: Planes | None
    values: Floats
    error: float
    norm: float
    format_name: str = ""

    def rows_divided(self, divisors: Floats) -> QuantisedMatrix:
        """Its outputs divided: codes stay, the scales of each row change."""
        if self.planes is None:
            return replace(self, values=self.values / divisors[:, None])
        low = self.planes.minima
        planes = replace(
            self.planes,
            scales=(self.planes.scales / divisors[:, None]).astype(np.float16),
            minima=None if low is None else (low / divisors[:, None]).astype(np.float16),
        )
        values = dequantize(self.format_name, planes)[:, : self.values.shape[1]]
        return replace(self, planes=planes, values=values)


@dataclass(frozen=True)
class QuantisedLayer:
    """By short names: the matrices, and norms and biases as they are written then."""

    matrices: dict[str, QuantisedMatrix]
    vectors: dict[str, Floats]


class LayerQuantiser(Protocol):
    """How a layer's matrices are quantised. Names are canonical, weights (outputs, inputs)."""

    def quantise(self, name: str, weights: Floats, gram: AnyGram, scales: Floats | None) -> QuantisedMatrix:
        """scales: that the columns have been multiplied by; gram is that of the divided inputs."""
        ...

    def scales(
        self, names: Sequence[str], weights: Sequence[Floats], gram: Gram, divided: str, shared: Shared | None
    ) -> Floats | None:
        """What to multiply the columns of matrices with the same inputs by, if anything. divided: the norm or the
        matrix whose outputs are divided by it. shared: see channel_scales.py."""
        ...


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

    def layer(self, index: int, quantiser: LayerQuantiser) -> QuantisedLayer:
        """Quantise a layer's matrices and go through it."""
        layer = _Layer(self, f"layer.{index}.", quantiser)
        hidden = self.hidden
        layer.quantise(
            ("q", "k", "v"), self._gram(lambda part: self._normed(hidden[part], layer.attn_norm)), "attn_norm"
        )
        mixed = np.empty((len(hidden), layer.width("q")), np.float32)
        for part in self._parts():
            mixed[part] = self._mixed(layer, self._normed(hidden[part], layer.attn_norm))
        mixed /= layer.quantise(("o",), self._gram(lambda part: mixed[part]), "v")
        for part in self._parts():
            hidden[part] += layer.times("o", mixed[part])
        layer.quantise(("gate", "up"), self._gram(lambda part: self._normed(hidden[part], layer.mlp_norm)), "mlp_norm")
        # Twice the work for gate and up, since their outputs for all rows would be the largest thing in memory.
        layer.quantise(("down",), self._gram(lambda part: self._gated(layer, hidden[part])), "up")
        for part in self._parts():
            hidden[part] += layer.times("down", self._gated(layer, hidden[part]))
        return layer.done

    def head(self, quantiser: LayerQuantiser | None) -> Floats:
        """The normed last hidden states. The head's rows are quantised in several pieces, whole tile rows each."""
        x = rms_norm(self.hidden, self.vector("head.norm"), self._plan.model.rms_norm_eps)
        if quantiser is None:
            return x
        gram = Gram(x.shape[1])
        gram.add(x)
        rows, cols = self._tensors["head.weight"].shape
        step = max(TILE_ROWS, _HEAD_VALUES // cols // TILE_ROWS * TILE_ROWS)
        for first in range(0, rows, step):
            piece = read_rows(self._source, self._tensors["head.weight"], first, min(first + step, rows))
            quantiser.quantise("head.weight", piece, gram, None)
        return x

    def matrix(self, name: str) -> Floats:
        """As the checkpoint has it, rows in the package's order."""
        return read_matrix(self._source, self._tensors[name])

    def vector(self, name: str) -> Floats:
        return read_vector(self._source, self._tensors[name])

    def has(self, name: str) -> bool:
        return name in self._tensors

    @property
    def model(self) -> ModelConfig:
        return self._plan.model

    def shared_by_heads(self, importance: Floats) -> Floats:
        return over_query_heads(self._plan.model, importance)

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

    def __init__(self, calibration: Calibration, prefix: str, quantiser: LayerQuantiser) -> None:
        self._calibration = calibration
        self._prefix = prefix
        self._quantiser = quantiser
        has = calibration.has
        self.done = QuantisedLayer(
            {}, {name: calibration.vector(prefix + name) for name in _VECTORS if has(prefix + name)}
        )

    @property
    def attn_norm(self) -> Floats:
        return self.done.vectors["attn_norm"]

    @property
    def mlp_norm(self) -> Floats:
        return self.done.vectors["mlp_norm"]

    def quantise(self, names: Sequence[str], gram: Gram, divided: str) -> Floats | np.float32:
        """Matrices with the same inputs, which come out of `divided`. Returns what the inputs are divided by then."""
        full = [self._prefix + name for name in names]
        weights = [self._calibration.matrix(name) for name in full]
        shared = self._calibration.shared_by_heads if divided == "v" else None
        scales = self._quantiser.scales(full, weights, gram, self._prefix + divided, shared)
        if scales is not None:
            self._divide(divided, scales)
        inputs: AnyGram = gram if scales is None else gram.divided_by(scales)
        for name, matrix in zip(names, weights, strict=True):
            scaled = matrix if scales is None else matrix * scales
            self.done.matrices[name] = self._quantiser.quantise(self._prefix + name, scaled, inputs, scales)
        return np.float32(1) if scales is None else scales

    def _divide(self, name: str, scales: Floats) -> None:
        vectors, matrices = self.done.vectors, self.done.matrices
        if name in vectors:
            vectors[name] = vectors[name] / scales
            return
        divisors = of_values(self._calibration.model, scales) if name == "v" else scales
        matrices[name] = matrices[name].rows_divided(divisors)
        if (bias := vectors.get(f"{name}_bias")) is not None:
            vectors[f"{name}_bias"] = bias / divisors

    def times(self, name: str, x: Floats) -> Floats:
        return x @ self.done.matrices[name].values.T

    def width(self, name: str) -> int:
        return len(self.done.matrices[name].values)

    def optional(self, name: str) -> Floats | None:
        return self.done.vectors.get(name)


def compensated(format_name: str, weights: Floats, gram: AnyGram) -> QuantisedMatrix:
    return _measured(format_name, quantize_compensated(format_name, weights, gram), weights, gram)


def _measured(format_name: str, planes: Planes, weights: Floats, gram: AnyGram) -> QuantisedMatrix:
    values = dequantize(format_name, planes)[:, : weights.shape[1]]
    return QuantisedMatrix(planes, values, gram.error_of(values - weights), gram.error_of(weights), format_name)
