"""Graphs in which every quantised value is a QuantizeLinear followed by a DequantizeLinear, and the operation between
two such pairs is an ordinary one. That is the form from which NPU compilers make integer operations.

Activations are uint8 or uint16 with a zero point, weights int8 symmetric per output, biases int32. Constants of weights
exist as int8 alone. Only operators of ai.onnx are used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from pocketseek.convert.activation_ranges import Range
from pocketseek.convert.layer_math import Floats
from pocketseek.convert.onnx.graph import Attribute, OnnxGraph

_IR_VERSION = 10  # what opset 21 came with
_LEAST_SCALE = 1e-10
_SLAB_VALUES = 1 << 20  # rounded at a time, so that copies stay small


@dataclass(frozen=True)
class Scale:
    """Names of the constants, and scale's value."""

    scale: str
    zero_point: str
    value: float


@dataclass(frozen=True)
class Value:
    """A float tensor in the graph. scale: of the pair that it came out of; None: it was never quantised."""

    name: str
    scale: Scale | None = None


class QdqGraph(OnnxGraph):
    def __init__(self, name: str) -> None:
        super().__init__(name, _IR_VERSION)

    def model(self, opset: int) -> onnx.ModelProto:
        return self._with_opsets({"": opset})

    def scale(self, name: str, limits: Range, bits: int) -> Scale:
        """Constants for a range. bits: 8 or 16."""
        kind = np.uint8 if bits == 8 else np.uint16
        levels = 2**bits - 1
        value = np.float32(max((limits.high - limits.low) / levels, _LEAST_SCALE))
        zero = np.clip(np.rint(-limits.low / value), 0, levels)
        return Scale(
            self.constant(f"{name}.scale", np.array(value, np.float32)),
            self.constant(f"{name}.zero_point", np.array(zero).astype(kind)),
            float(value),
        )

    def quantised(self, value: str, scale: Scale | None, *, label: str = "") -> Value:
        """The pair; without a scale, the value itself."""
        if scale is None:
            return Value(value)
        return self.dequantised(self.node("QuantizeLinear", value, scale.scale, scale.zero_point, label=label), scale)

    def dequantised(self, codes: str, scale: Scale) -> Value:
        return Value(self.node("DequantizeLinear", codes, scale.scale, scale.zero_point), scale)

    def moved(self, op: str, value: Value, *inputs: str, **attributes: Attribute) -> Value:
        """An operation that changes no value (Reshape, Transpose): the same steps after it."""
        return self.quantised(self.node(op, value.name, *inputs, label="", domain="", **attributes), value.scale)

    def linear(self, name: str, x: Value, weights: Floats, bias: Floats | None) -> str:
        """x (rows, inputs) times weights (outputs, inputs) transposed, plus bias: not quantised yet."""
        codes, scales = int8_rows(weights)
        matrix = self._int8_matrix(name, np.ascontiguousarray(codes.T), scales, axis=1)
        if bias is None:
            return self.node("MatMul", x.name, matrix, label=name)
        if x.scale is None:
            return self.node("Gemm", x.name, matrix, self.constant(f"{name}.bias", bias), label=name)
        return self.node("Gemm", x.name, matrix, self._int32_bias(name, bias, scales * x.scale.value), label=name)

    def _int8_matrix(self, name: str, codes: NDArray[np.int8], scales: Floats, *, axis: int) -> str:
        zeros = self.constant(f"int8_zeros.{len(scales)}", np.zeros(len(scales), np.int8))
        inputs = (self.constant(f"{name}.weight", codes), self.constant(f"{name}.weight_scale", scales), zeros)
        return self.node("DequantizeLinear", *inputs, label=f"{name}.values", axis=axis)

    def _int32_bias(self, name: str, bias: Floats, scales: Floats) -> str:
        limit = 2**31 - 1
        codes = np.clip(np.rint(bias / scales.astype(np.float64)), -limit, limit).astype(np.int32)
        zeros = self.constant(f"int32_zeros.{len(scales)}", np.zeros(len(scales), np.int32))
        inputs = (self.constant(f"{name}.bias", codes), self.constant(f"{name}.bias_scale", scales), zeros)
        return self.node("DequantizeLinear", *inputs, label=f"{name}.bias_values", axis=0)


def int8_rows(weights: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Symmetric per row: codes (rows, columns) in -127..127 and scales (rows,). A row of zeros has scale 1."""
    codes, scales = np.empty(weights.shape, np.int8), np.empty(len(weights), np.float32)
    step = max(1, _SLAB_VALUES // weights.shape[1])
    for start in range(0, len(weights), step):
        rows = weights[start : start + step]
        peaks = np.abs(rows).max(axis=1)
        found: Floats = np.where(peaks > 0, peaks / np.float32(127), 1).astype(np.float32)
        codes[start : start + step] = np.clip(np.rint(rows / found[:, None]), -127, 127)
        scales[start : start + step] = found
    return codes, scales
