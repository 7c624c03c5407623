"""Nodes of a graph whose weights are stored in blocks (stored_blocks.py), with ONNX Runtime's own operators
(com.microsoft) where they are much faster than what ai.onnx has.

Large constants are written as they are made (data_files.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from pocketseek.convert.layer_math import Floats
from pocketseek.convert.onnx.data_files import LEAST_EXTERNAL_BYTES, DataFiles
from pocketseek.convert.onnx.graph import OnnxGraph
from pocketseek.convert.onnx.stored_blocks import Blocks, Rows
from pocketseek.formats import BLOCK_COLS, num_blocks

MICROSOFT = "com.microsoft"
LEAST_OPSET, LAST_OPSET = 15, 23
_IR_VERSIONS = {15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11}
_INT8_PRODUCTS = 4  # MatMulNBits: accuracy_level
_AXES_ARE_INPUTS = 18  # of ReduceMean


class BlockGraph(OnnxGraph):
    """Hidden states are (1, tokens, size)."""

    def __init__(self, name: str, opset: int, data: DataFiles) -> None:
        super().__init__(name, _IR_VERSIONS[opset])
        self.opset = opset
        self._data = data
        self._block_sums: dict[str, str] = {}  # by what they are of

    def model(self) -> onnx.ModelProto:
        return self._with_opsets({"": self.opset, MICROSOFT: 1})

    def _stored(self, name: str, values: NDArray[np.generic]) -> onnx.TensorProto:
        is_large = values.nbytes >= LEAST_EXTERNAL_BYTES
        return self._data.add(name, values) if is_large else super()._stored(name, values)

    def rms_norm(self, x: str, weight: str, eps: float) -> str:
        """The form that ONNX Runtime makes one operation of."""
        squares = self.node("Pow", x, self.number(2.0))
        if self.opset >= _AXES_ARE_INPUTS:
            mean = self.node("ReduceMean", squares, self.ints(-1), keepdims=1)
        else:
            mean = self.node("ReduceMean", squares, axes=[-1], keepdims=1)
        size = self.node("Sqrt", self.node("Add", mean, self.number(eps)))
        return self.node("Mul", self.node("Div", x, size), weight)

    def linear(self, name: str, x: str, pieces: Iterable[tuple[int, Rows]], cols: int, bias: Floats | None) -> str:
        """x times a matrix (outputs, cols) transposed, plus bias; pieces as of `pieces_of`."""
        parts: list[str] = []
        for first, rows in pieces:
            parts.append(self._product(f"{name}.{first}", x, rows, cols))
            del rows  # before the next is made
        y = parts[0] if len(parts) == 1 else self.node("Concat", *parts, axis=-1, label=name)
        return y if bias is None else self.node("Add", y, self.constant(f"{name}.bias", bias))

    def split(self, x: str, sizes: Sequence[int]) -> list[str]:
        """Along the last axis."""
        return self.nodes("Split", [x, self.ints(*sizes)], len(sizes), axis=-1)

    def rows_of(
        self, name: str, ids: str, pieces: Iterable[tuple[int, Rows]], cols: int, *, is_multiplied: bool = False
    ) -> str:
        """The rows `ids` (tokens,) of a table, float (tokens, cols). Every piece gives one, and that of the right piece
        is kept. is_multiplied: `linear` uses the table in this graph as well."""
        rows = ""
        for first, piece in pieces:
            local = self.node("Sub", ids, self.scalar(first))
            local = self.node("Clip", local, self.scalar(0), self.scalar(len_of(piece) - 1))
            found = self._gathered(f"{name}.{first}", local, piece, cols, is_multiplied)
            if first:
                here = self.node("Unsqueeze", self.node("GreaterOrEqual", ids, self.scalar(first)), self.ints(1))
                found = self.node("Where", here, found, rows)
            rows = found
            del piece  # before the next is made
        return rows

    def _product(self, name: str, x: str, rows: Rows, cols: int) -> str:
        if not isinstance(rows, Blocks):
            halves = self.node("Cast", x, to=TensorProto.FLOAT16)
            y = self.node("MatMul", halves, self.constant(f"{name}.weight", rows.T))
            return self.node("Cast", y, to=TensorProto.FLOAT)
        y = self.node(
            "MatMulNBits",
            x,
            self.constant(f"{name}.codes", rows.codes),
            self.constant(f"{name}.scales", rows.scales),
            label=name,
            domain=MICROSOFT,
            K=cols,
            N=rows.num_rows,
            bits=rows.bits,
            block_size=BLOCK_COLS,
            accuracy_level=_INT8_PRODUCTS,
        )
        if rows.extra is None:
            return y
        extra = self.constant(f"{name}.extra", rows.extra.T)
        return self.node("Add", y, self.node("MatMul", self._sums(x, cols), extra))

    def _sums(self, x: str, cols: int) -> str:
        """Of the inputs of each block; several matrices of one input share them.

        Not by a product with ones, which is as fast and rounds as the kernels do: ONNX Runtime 1.24 ends in a
        segmentation fault when it maps a prepared copy with such a matrix (18 rows).
        """
        if x not in self._block_sums:
            blocks = num_blocks(cols)
            padded = x
            if blocks * BLOCK_COLS != cols:
                padded = self.node("Pad", x, self.ints(0, 0, 0, 0, 0, blocks * BLOCK_COLS - cols))
            cut = self.node("Reshape", padded, self.ints(1, -1, blocks, BLOCK_COLS))
            self._block_sums[x] = self.node("ReduceSum", cut, self.ints(-1), keepdims=0)
        return self._block_sums[x]

    def _gathered(self, name: str, ids: str, rows: Rows, cols: int, is_multiplied: bool) -> str:
        if not isinstance(rows, Blocks):
            return self.node("Cast", self._halves_of(name, ids, rows, is_multiplied), to=TensorProto.FLOAT)
        blocks = rows.scales.shape[1]
        bytes_ = self.node("Gather", self.constant(f"{name}.codes", rows.codes), ids, axis=0)
        codes = self.node("Cast", bytes_, to=TensorProto.INT32)
        if rows.bits == 4:
            sixteen = self.constant("int32.16", np.array(16, np.int32))
            halves = [self.node("Mod", codes, sixteen), self.node("Div", codes, sixteen)]
            pairs = [self.node("Unsqueeze", half, self.ints(-1)) for half in halves]
            codes = self.node("Reshape", self.node("Concat", *pairs, axis=-1), self.ints(-1, blocks, BLOCK_COLS))
        numbers = self.node("Cast", codes, to=TensorProto.FLOAT)
        centred = self.node("Sub", numbers, self.number(8.0 if rows.bits == 4 else 128.0))
        values = self.node("Mul", centred, self._of_blocks(f"{name}.scales", rows.scales, ids))
        if rows.extra is not None:
            values = self.node("Add", values, self._of_blocks(f"{name}.extra_by_row", rows.extra, ids))
        flat = self.node("Reshape", values, self.ints(-1, blocks * BLOCK_COLS))
        return (
            flat
            if blocks * BLOCK_COLS == cols
            else self.node("Slice", flat, self.ints(0), self.ints(cols), self.ints(1))
        )

    def _halves_of(self, name: str, ids: str, rows: NDArray[np.float16], is_multiplied: bool) -> str:
        """A table of its own lies row by row, so that a token is one place in the file; one that is multiplied as well
        is read as a whole anyway."""
        if not is_multiplied:
            return self.node("Gather", self.constant(f"{name}.values", rows), ids, axis=0)
        columns = self.node("Gather", self.constant(f"{name}.weight", rows.T), ids, axis=1)
        return self.node("Transpose", columns, perm=[1, 0])

    def _of_blocks(self, name: str, values: Floats, ids: str) -> str:
        return self.node("Unsqueeze", self.node("Gather", self.constant(name, values), ids, axis=0), self.ints(-1))


def len_of(rows: Rows) -> int:
    return rows.num_rows if isinstance(rows, Blocks) else len(rows)
