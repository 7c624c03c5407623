"""The matrices of a checkpoint as a conversion with calibration writes them, in the order in which it does.

A layer is quantised when its first matrix is asked for, and its matrices are kept until the next layer is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.calibrate import Calibration, QuantisedMatrix, compensated
from pocketseek.convert.checkpoint_weights import CheckpointWeights
from pocketseek.convert.encode import Loss, loss_of
from pocketseek.convert.families.base import ModelPlan, TensorPlan
from pocketseek.convert.gram import Gram
from pocketseek.convert.layer_math import Floats
from pocketseek.convert.pack import pack_planes
from pocketseek.convert.quantize import dequantize, quantize
from pocketseek.convert.scale_search import GROUP_COLS
from pocketseek.convert.sources.base import Source
from pocketseek.formats import num_tile_rows
from pocketseek.package.manifest import JsonValue

CALIBRATED_FORMATS = frozenset({"q4p", "q4s", "q4a", "q6s"})  # eight bits lose too little to be worth it


@dataclass(frozen=True)
class CalibratedMatrix:
    """packed: uint8 (tile rows, tile_row_bytes)."""

    packed: NDArray[np.uint8]
    loss: Loss

    def followed_by(self, rows: CalibratedMatrix) -> CalibratedMatrix:
        return CalibratedMatrix(np.concatenate([self.packed, rows.packed]), self.loss + rows.loss)


@dataclass(frozen=True)
class CalibrationState:
    """How far it is: next_layer is the one that the hidden states of the text are before; what was counted so far."""

    next_layer: int = 0
    num_matrices: int = 0
    error: float = 0.0
    norm: float = 0.0
    worst: tuple[float, str] = (0.0, "")


class CalibratedLayers:
    """format_of: the format of a matrix, or None if the conversion writes it as it does without calibration.

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
        self._calibration: Calibration | None = None
        self._ready: dict[str, CalibratedMatrix] = {}
        self._state = CalibrationState()
        self._begun: dict[str, tuple[float, float]] = {}  # error and norm of a matrix that comes in pieces

    def matrix(self, tensor: TensorPlan) -> CalibratedMatrix | None:
        """None if it is written as without calibration."""
        if self._format_of(tensor) is None:
            return None
        while tensor.name not in self._ready:
            self._advance()
        return self._ready.pop(tensor.name)

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
            calibration.layer(layer, self._quantise)
        elif layer == self._plan.model.num_layers:
            calibration.head(self._quantise)
        else:
            raise ValueError("no matrix is left")
        self._state = replace(self._state, next_layer=layer + 1)

    def _quantise(self, name: str, weights: Floats, gram: Gram) -> QuantisedMatrix:
        tensor = self._tensors[name]
        format_name = self._format_of(tensor)
        if format_name is None:
            return QuantisedMatrix(None, weights, 0.0, 0.0)
        matrix = compensated(format_name, weights, gram)
        if matrix.planes is None:
            raise ValueError("a quantised matrix has planes")
        error, norm = self._begun.pop(name, (0.0, 0.0))
        error, norm = error + matrix.error, norm + matrix.norm
        rows = CalibratedMatrix(pack_planes(format_name, matrix.planes), loss_of(matrix.values, weights))
        ready = self._ready[name] = self._ready[name].followed_by(rows) if name in self._ready else rows
        if len(ready.packed) == num_tile_rows(tensor.shape[0]):
            self._count(name, error, norm)
            self._on_matrix(tensor)
        else:
            self._begun[name] = error, norm
        return matrix

    def _count(self, name: str, error: float, norm: float) -> None:
        state = self._state
        worst = max(state.worst, (error / norm, name)) if norm > 0 else state.worst
        self._state = CalibrationState(
            state.next_layer, state.num_matrices + 1, state.error + error, state.norm + norm, worst
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
