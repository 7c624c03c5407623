"""The matrices of a checkpoint as a conversion with calibration writes them, in the order in which it does.

A layer is quantised when its first matrix is asked for, and its matrices are kept until the next layer is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.calibrate import Calibration, QuantisedLayer, QuantisedMatrix, compensated
from pocketseek.convert.channel_scales import Shared, choose_scales
from pocketseek.convert.checkpoint_weights import CheckpointWeights
from pocketseek.convert.encode import Loss, loss_of
from pocketseek.convert.families.base import ModelPlan, TensorPlan
from pocketseek.convert.gram import AnyGram, Gram
from pocketseek.convert.layer_math import Floats
from pocketseek.convert.pack import pack_planes
from pocketseek.convert.quantize import dequantize, quantize
from pocketseek.convert.scale_search import GROUP_COLS
from pocketseek.convert.sources.base import Source
from pocketseek.package.manifest import JsonValue

CALIBRATED_FORMATS = frozenset({"q4p", "q4s", "q4a", "q6s"})  # eight bits lose too little to be worth it


@dataclass(frozen=True)
class CalibratedMatrix:
    """packed: uint8 (tile rows, tile_row_bytes)."""

    packed: NDArray[np.uint8]
    loss: Loss


@dataclass(frozen=True)
class _Lost:
    """Of a matrix, or of those of its rows that have come so far. error, norm: of its outputs."""

    num_rows: int
    error: float
    norm: float
    loss: Loss

    def and_of(self, rows: _Lost) -> _Lost:
        return _Lost(
            self.num_rows + rows.num_rows, self.error + rows.error, self.norm + rows.norm, self.loss + rows.loss
        )


@dataclass(frozen=True)
class CalibrationState:
    """How far it is: next_layer is the one that the hidden states of the text are before; what was counted so far."""

    next_layer: int = 0
    num_matrices: int = 0
    error: float = 0.0
    norm: float = 0.0
    worst: tuple[float, str] = (0.0, "")


class CalibratedLayers:
    """A LayerQuantiser, too.

    format_of: the format of a matrix, or None if the conversion writes it as it does without calibration.

    on_matrix: called when a matrix has been quantised. embed_format: of the embedding, as it is written.
    """

    def __init__(
        self,
        source: Source,
        plan: ModelPlan,
        windows: NDArray[np.int32],
        format_of: Callable[[TensorPlan], str | None],
        on_matrix: Callable[[TensorPlan], None],
        *,
        embed_format: str,
    ) -> None:
        self._source = source
        self._plan = plan
        self._windows = windows
        self._format_of = format_of
        self._on_matrix = on_matrix
        self._embed_format = embed_format
        self._tensors = {tensor.name: tensor for tensor in plan.tensors}
        stages = {tensor.stage for tensor in plan.tensors if len(tensor.shape) == 2 and format_of(tensor) is not None}
        self._layers = stages - {"embed", "head"}  # that have something calibrated in them
        self._vectors: dict[str, Floats] = {}
        self._calibration: Calibration | None = None
        self._packed: dict[str, list[NDArray[np.uint8]]] = {}  # until they are asked for
        self._lost: dict[str, _Lost] = {}
        self._state = CalibrationState()

    def vector(self, tensor: TensorPlan) -> Floats | None:
        """A norm or bias of a layer, as it is written; None if it is as in the checkpoint."""
        if tensor.stage not in self._layers:
            return None
        while tensor.name not in self._vectors:
            self._advance()
        return self._vectors.pop(tensor.name)

    def matrix(self, tensor: TensorPlan) -> CalibratedMatrix | None:
        """None if it is written as without calibration."""
        if self._format_of(tensor) is None:
            return None
        while tensor.name not in self._packed:
            self._advance()
        parts = self._packed.pop(tensor.name)
        return CalibratedMatrix(
            parts[0] if len(parts) == 1 else np.concatenate(parts), self._lost.pop(tensor.name).loss
        )

    @property
    def state(self) -> CalibrationState:
        """Whole between two layers, when every matrix of those before has been asked for."""
        return self._state

    @property
    def num_tokens(self) -> int:
        return self._windows.size

    @property
    def hidden(self) -> Floats | None:
        """What goes with the state, (tokens, size); None before the first layer. Changed in place by the next one."""
        return self._calibration.hidden if self._calibration is not None else None

    def go_on(self, state: CalibrationState, hidden: Floats) -> None:
        """As if everything before had been done here."""
        self._calibration = Calibration(self._source, self._plan, self._windows)
        self._calibration.hidden = hidden
        self._state = state

    def report(self) -> dict[str, JsonValue]:
        """For the manifest. The relative output error is that of |W x - Q x|^2 over |W x|^2 on the calibration text.

        Without errors where nothing was calibrated: in a mixed recipe all matrices can have eight bits.
        """
        counts: dict[str, JsonValue] = {"tokens": self.num_tokens, "matrices": self._state.num_matrices}
        if self._state.num_matrices == 0:
            return counts
        return counts | {
            "relative_output_error": _four_digits(self._state.error / self._state.norm) if self._state.norm else 0.0,
            "worst_tensor": self._state.worst[1],
            "worst_relative_output_error": _four_digits(self._state.worst[0]),
        }

    def _advance(self) -> None:
        calibration = self._calibration
        if calibration is None:
            calibration = self._calibration = Calibration(self._source, self._plan, self._windows)
            calibration.embed(self._embedded)
        layer = self._state.next_layer
        if layer < self._plan.model.num_layers:
            self._take(f"layer.{layer}", calibration.layer(layer, self))
        elif layer == self._plan.model.num_layers:
            calibration.head(self)
        else:
            raise ValueError("no matrix is left")
        self._state = replace(self._state, next_layer=layer + 1)

    def scales(
        self, names: Sequence[str], weights: Sequence[Floats], gram: Gram, divided: str, shared: Shared | None
    ) -> Floats | None:
        """Of a LayerQuantiser. What stays as it is has no scales to change."""
        formats = [self._format_of(self._tensors[name]) for name in names]
        readers = [(name, matrix) for name, matrix in zip(formats, weights, strict=True) if name is not None]
        tensor = self._tensors[divided]
        is_fixed = len(tensor.shape) == 2 and self._format_of(tensor) is None
        return None if is_fixed or len(readers) < len(names) else choose_scales(readers, gram, shared)

    def quantise(self, name: str, weights: Floats, gram: AnyGram, scales: Floats | None) -> QuantisedMatrix:
        """Of a LayerQuantiser."""
        tensor = self._tensors[name]
        format_name = self._format_of(tensor)
        if format_name is None:
            return QuantisedMatrix(None, weights, 0.0, 0.0)
        matrix = compensated(format_name, weights, gram)
        if matrix.planes is None:
            raise ValueError("a quantised matrix has planes")
        unscaled = np.float32(1) if scales is None else scales
        lost = _Lost(len(weights), matrix.error, matrix.norm, loss_of(matrix.values / unscaled, weights / unscaled))
        lost = self._lost[name] = self._lost[name].and_of(lost) if name in self._lost else lost
        if lost.num_rows == tensor.shape[0]:
            self._count(name, lost)
            self._on_matrix(tensor)
        if tensor.stage == "head":
            self._packed.setdefault(name, []).append(pack_planes(format_name, matrix.planes))
        return matrix

    def _take(self, prefix: str, layer: QuantisedLayer) -> None:
        """What a layer has become."""
        if prefix in self._layers:
            self._vectors |= {f"{prefix}.{name}": values for name, values in layer.vectors.items()}
        for name, matrix in layer.matrices.items():
            if matrix.planes is not None:
                self._packed[f"{prefix}.{name}"] = [pack_planes(matrix.format_name, matrix.planes)]

    def _count(self, name: str, lost: _Lost) -> None:
        state = self._state
        worst = max(state.worst, (lost.error / lost.norm, name)) if lost.norm > 0 else state.worst
        self._state = CalibrationState(
            state.next_layer, state.num_matrices + 1, state.error + lost.error, state.norm + lost.norm, worst
        )

    def _embedded(self, ids: NDArray[np.int32]) -> Floats:
        """Rows of the embedding, rounded as they are written; a tied one is written last and not known yet."""
        name = "embed.weight" if "embed.weight" in self._tensors else "head.weight"
        result = CheckpointWeights(self._source, self._plan).rows(name, ids)
        if self._embed_format in GROUP_COLS and name == "embed.weight":
            result = dequantize(self._embed_format, quantize(self._embed_format, result))[:, : result.shape[1]]
        return result


def _four_digits(value: float) -> float:
    return float(f"{value:.4g}")
