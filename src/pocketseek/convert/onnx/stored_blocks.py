"""A package's matrix in blocks of 32 inputs, as com.microsoft.MatMulNBits wants them: the very codes where possible.

    code (rows, blocks, 16 or 32 bytes)      4 bits: input 2j in the low half of byte j, 2j + 1 in the high one
    value = scale * (code - 8 or 128) + extra

q4s and q8s fit as they are, q6s as codes of 8 bits, q4p with scale = D * g (float32 holds it exactly). The minima of
q4a do not fit whole zero points, so they become `extra`, what is left of them: sum over a block's inputs times extra, a
product of its own.
Whoever wants other bits than are stored gets codes made anew, or the values in float16.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.pack import Planes
from pocketseek.convert.quantize import quantize
from pocketseek.errors import UnsupportedError
from pocketseek.formats import (
    BLOCK_COLS,
    FORMATS,
    SUPERBLOCK_BLOCKS,
    TILE_ROWS,
    num_blocks,
    num_tile_rows,
    tile_row_bytes,
)
from pocketseek.kernels.contract import Floats, TensorData
from pocketseek.kernels.reference import UnpackedMatrix, dequantise, unpack_matrix
from pocketseek.package.reader import StoredTensor

Quant = Literal["int4", "int8", "f16"]

_SLAB_VALUES = 1 << 20  # unpacked at a time: 4 MB of float32
_WIDE_ZERO = {"q6s": 128 - 32, "q8s": 128}  # what makes codes of formats with more than four bits those of 8 bits
_LARGEST_F16 = float(np.finfo(np.float16).max)

_Kind = TypeVar("_Kind", bound=np.generic)


@dataclass(frozen=True)
class Blocks:
    """Some rows of a matrix. codes uint8 (rows, blocks, bytes), scales and extra float32 (rows, blocks)."""

    bits: int
    codes: NDArray[np.uint8]
    scales: Floats
    extra: Floats | None = None

    @property
    def num_rows(self) -> int:
        return len(self.codes)


Rows = Blocks | NDArray[np.float16]
"""float16 (rows, inputs) where the matrix is not quantised, or is not to be."""


def pieces_of(
    tensor: StoredTensor, quant: Quant, most_bytes: int, *, by_input: bool = False
) -> Iterator[tuple[int, Rows]]:
    """(first row, rows), in order; codes or values of at most most_bytes each (but at least TILE_ROWS rows).

    by_input: float16 values lie in memory input by input, so that their transpose is what is contiguous.
    Raises UnsupportedError for values that float16 cannot hold.
    """
    rows, cols = tensor.shape
    row_bytes = _row_bytes(tensor.format, cols, quant)
    step = max(TILE_ROWS, most_bytes // row_bytes // TILE_ROWS * TILE_ROWS)
    for first in range(0, rows, step):
        stop = min(first + step, rows)
        yield first, _together(_slabs(tensor, first, stop, quant), stop - first, by_input)


def joined(tensors: Sequence[StoredTensor], quant: Quant, most_bytes: int, *, by_input: bool = False) -> Rows | None:
    """The rows of matrices with the same inputs, one matrix below the other, so that they are one product.

    None where they do not go together: of different forms, or more than most_bytes. Raises as `pieces_of` does.
    """
    cols = tensors[0].shape[1]
    num_rows = sum(tensor.shape[0] for tensor in tensors)
    forms = {_form(tensor.format, quant) for tensor in tensors}
    if len(forms) > 1 or num_rows * _row_bytes(tensors[0].format, cols, quant) > most_bytes:
        return None
    slabs = (slab for tensor in tensors for slab in _slabs(tensor, 0, tensor.shape[0], quant))
    return _together(slabs, num_rows, by_input)


def exported_bytes(format_name: str, shape: tuple[int, ...], quant: Quant) -> int:
    """What a tensor of a package takes in an export."""
    if len(shape) == 1:
        return 4 * shape[0]
    rows, cols = shape
    if quant == "f16" or not FORMATS[format_name].quantised:
        return rows * 2 * cols
    planes = 2 if _form(format_name, quant) == "minima" else 1
    return rows * (_row_bytes(format_name, cols, quant) + planes * 4 * num_blocks(cols))


def has_8_bits(format_name: str, quant: Quant) -> bool:
    """Whether a matrix becomes codes of 8 bits."""
    return _form(format_name, quant) == "wide"


def _form(format_name: str, quant: Quant) -> Literal["halves", "wide", "minima", "plain"]:
    """What `_converted` makes of a format: only rows of one form fit into one array."""
    if quant == "f16" or not FORMATS[format_name].quantised:
        return "halves"
    if quant == "int8" or format_name in _WIDE_ZERO:
        return "wide"
    return "minima" if format_name == "q4a" else "plain"


def _row_bytes(format_name: str, cols: int, quant: Quant) -> int:
    padded = num_blocks(cols) * BLOCK_COLS
    return {"halves": 2 * padded, "wide": padded}.get(_form(format_name, quant), padded // 2)


def _slabs(tensor: StoredTensor, first: int, stop: int, quant: Quant) -> Iterator[Rows]:
    cols = tensor.shape[1]
    step = max(TILE_ROWS, _SLAB_VALUES // cols // TILE_ROWS * TILE_ROWS)
    for start in range(first, stop, step):
        yield _converted(tensor.name, _some_rows(tensor, start, min(start + step, stop)), quant)


def _some_rows(tensor: StoredTensor, start: int, stop: int) -> TensorData:
    """start: a multiple of TILE_ROWS."""
    cols = tensor.shape[1]
    row_bytes = tile_row_bytes(tensor.format, cols)
    first_tile, last_tile = start // TILE_ROWS, num_tile_rows(stop)
    found: list[NDArray[np.uint8]] = []
    for part in tensor.parts:
        low = max(first_tile, part.first_tile) - part.first_tile
        high = min(last_tile, part.first_tile + len(part.data) // row_bytes) - part.first_tile
        if low < high:
            found.append(part.data[low * row_bytes : high * row_bytes])
    return TensorData(tensor.format, (stop - start, cols), ((0, np.concatenate(found)),))


def _converted(name: str, tensor: TensorData, quant: Quant) -> Rows:
    """Unquantised weights stay so: someone had a reason. Six and eight bits are eight: embedding and head."""
    matrix, cols = unpack_matrix(tensor), tensor.shape[1]
    if quant == "f16" or not FORMATS[tensor.format].quantised:
        return _halves(name, dequantise(matrix, cols))
    if quant == "int8" and tensor.format == "q4a":
        return _of_planes(quantize("q8s", dequantise(matrix, cols)))
    stored = _of_codes(tensor.format, matrix)
    return stored if quant == "int4" else _widened(stored)


def _halves(name: str, values: Floats) -> NDArray[np.float16]:
    if float(np.abs(values).max(initial=0)) > _LARGEST_F16:
        raise UnsupportedError(
            f"{name} holds values too large for float16; convert the model with --quant q8 and export it as int8"
        )
    return values.astype(np.float16)


def _of_codes(format_name: str, matrix: UnpackedMatrix) -> Blocks:
    if matrix.scales is None:
        raise ValueError("a matrix without codes")
    scales = matrix.scales
    if matrix.steps is not None:
        scales = np.repeat(scales, SUPERBLOCK_BLOCKS, axis=1)[:, : matrix.steps.shape[1]] * matrix.steps
    rows = slice(matrix.rows)
    codes = matrix.quants[rows]
    scales = np.ascontiguousarray(scales[rows], np.float32)
    if format_name in _WIDE_ZERO:
        return Blocks(8, (codes + _WIDE_ZERO[format_name]).astype(np.uint8), scales)
    extra = None if matrix.minima is None else np.ascontiguousarray(matrix.minima[rows] + 8 * scales, np.float32)
    return Blocks(4, _packed(codes.astype(np.uint8)), scales, extra)


def _of_planes(planes: Planes) -> Blocks:
    return Blocks(8, (planes.quants.astype(np.int16) + 128).astype(np.uint8), planes.scales.astype(np.float32))


def _widened(blocks: Blocks) -> Blocks:
    """The same values with codes of 8 bits."""
    if blocks.bits == 8:
        return blocks
    low, high = blocks.codes & 15, blocks.codes >> 4
    codes = np.stack([low, high], axis=-1).reshape(*blocks.codes.shape[:2], BLOCK_COLS)
    return replace(blocks, bits=8, codes=codes + np.uint8(120))


def _packed(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return codes[..., 0::2] | codes[..., 1::2] << np.uint8(4)


def _together(slabs: Iterator[Rows], num_rows: int, by_input: bool) -> Rows:
    """Copied into place one by one: never all of them twice."""
    slab = next(slabs)
    whole = _room_for(slab, num_rows, by_input)
    done = 0
    while True:
        for target, part in zip(_planes(whole), _planes(slab), strict=True):
            target[done : done + len(part)] = part
        done += len(_planes(slab)[0])
        if done == num_rows:
            return whole
        slab = next(slabs)


def _room_for(slab: Rows, num_rows: int, by_input: bool) -> Rows:
    def room(part: NDArray[_Kind]) -> NDArray[_Kind]:
        return np.empty((num_rows, *part.shape[1:]), part.dtype, order="F" if by_input and part.ndim == 2 else "C")

    if not isinstance(slab, Blocks):
        return room(slab)
    extra = None if slab.extra is None else room(slab.extra)
    return Blocks(slab.bits, room(slab.codes), np.empty((num_rows, slab.scales.shape[1]), np.float32), extra)


def _planes(rows: Rows) -> list[NDArray[np.generic]]:
    if not isinstance(rows, Blocks):
        return [rows]
    return [rows.codes, rows.scales] if rows.extra is None else [rows.codes, rows.scales, rows.extra]
