"""Matrices and row functions of the reference kernels: unpacking, products, norms, rotation. Pure numpy.

What a row comes to does not depend on the other rows, to the bit: whole numbers are exact in any order, and what is not
is summed up a row at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketseek.formats import (
    BLOCK_COLS,
    SUPERBLOCK_BLOCKS,
    TILE_ROWS,
    num_blocks,
    num_superblocks,
    num_tile_rows,
    tile_row_bytes,
)
from pocketseek.kernels.contract import Floats, TensorData

_QUANT_BYTES = {"q6s": 384, "q8s": 512}  # of a block; of the others 256
_ZERO_POINT = {"q4s": 8, "q6s": 32}


@dataclass(frozen=True)
class UnpackedMatrix:
    """quants (padded rows, blocks, 32) as integers, or the values themselves with scales None.

    A value is scale * (quant - zero_point) + minimum, with scales and minima (padded rows, blocks). With steps (padded
    rows, blocks; q4p) it is scale * step * (quant - zero_point), and scales are (padded rows, superblocks).
    """

    rows: int
    quants: NDArray[np.float32]
    zero_point: int = 0
    scales: Floats | None = None
    minima: Floats | None = None
    steps: Floats | None = None


def unpack_matrix(tensor: TensorData) -> UnpackedMatrix:
    """Undo the tiling of formats.py. tensor: a matrix (outputs, inputs)."""
    rows, cols = tensor.shape
    tiles, blocks = num_tile_rows(rows), num_blocks(cols)
    raw = np.concatenate([part for _, part in tensor.parts]).reshape(tiles, tile_row_bytes(tensor.format, cols))
    if tensor.format in ("f16", "f32"):
        kind = np.dtype(np.float16 if tensor.format == "f16" else np.float32)
        used = raw[:, : blocks * BLOCK_COLS * TILE_ROWS * kind.itemsize]
        values = used.view(kind).reshape(tiles, blocks, BLOCK_COLS, TILE_ROWS).transpose(0, 3, 1, 2)
        return UnpackedMatrix(rows, values.reshape(tiles * TILE_ROWS, blocks, BLOCK_COLS).astype(np.float32))
    quant_bytes = blocks * _QUANT_BYTES.get(tensor.format, 256)
    packed = raw[:, :quant_bytes].reshape(tiles, blocks, -1, TILE_ROWS, 4)  # (tile, block, line, row, input)
    quants = packed.view(np.int8) if tensor.format == "q8s" else _unpacked_bits(packed)
    by_row = quants.transpose(0, 3, 1, 2, 4).reshape(tiles * TILE_ROWS, blocks, BLOCK_COLS)
    planes = raw[:, quant_bytes:].reshape(tiles, -1)
    if tensor.format == "q4p":
        packed_steps = planes[:, : blocks * 8].reshape(tiles, blocks, 8)
        steps = np.concatenate([packed_steps & 15, packed_steps >> 4], axis=2)
        scale_bytes = num_superblocks(cols) * 32
        scales = np.ascontiguousarray(planes[:, blocks * 8 : blocks * 8 + scale_bytes]).view(np.float16)
        return UnpackedMatrix(
            rows,
            by_row.astype(np.float32),
            zero_point=8,
            scales=_by_row(scales.reshape(tiles, -1, TILE_ROWS)),
            steps=_by_row(steps),
        )

    def plane(index: int) -> Floats:
        used = np.ascontiguousarray(planes[:, index * blocks * 32 : (index + 1) * blocks * 32])
        return _by_row(used.view(np.float16).reshape(tiles, blocks, TILE_ROWS))

    return UnpackedMatrix(
        rows,
        by_row.astype(np.float32),
        zero_point=_ZERO_POINT.get(tensor.format, 0),
        scales=plane(0),
        minima=plane(1) if tensor.format == "q4a" else None,
    )


class UnpackedMatrices(Mapping[str, UnpackedMatrix]):
    """Matrices by name. Those that are kept were unpacked at once, the others are unpacked anew at every use."""

    def __init__(self, tensors: Mapping[str, TensorData], kept: Callable[[str], bool]) -> None:
        self._tensors = tensors
        self._kept = {name: unpack_matrix(tensor) for name, tensor in tensors.items() if kept(name)}

    def __getitem__(self, name: str) -> UnpackedMatrix:
        matrix = self._kept.get(name)
        return unpack_matrix(self._tensors[name]) if matrix is None else matrix

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _unpacked_bits(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(tile, block, lines, row, input) -> codes (tile, block, 8 groups of inputs, row, input).

    Four lines of 4-bit halves, two groups each; in q6s two more with the two bits above them, four groups each.
    """
    low, high = packed[:, :, :4], packed[:, :, 4:]
    shape = (*packed.shape[:2], 8, *packed.shape[3:])
    codes = np.stack([low & 15, low >> 4], axis=3).reshape(shape)
    if high.shape[2]:
        codes |= np.stack([(high >> shift & 3) << 4 for shift in (0, 2, 4, 6)], axis=3).reshape(shape)
    return codes


def _by_row(plane: NDArray[np.float16] | NDArray[np.uint8]) -> Floats:
    tiles, blocks, _ = plane.shape
    return plane.transpose(0, 2, 1).reshape(tiles * TILE_ROWS, blocks).astype(np.float32)


def dequantise(matrix: UnpackedMatrix, cols: int) -> Floats:
    """The matrix's values, (rows, cols) f32."""
    values = matrix.quants
    if matrix.scales is not None:
        values = _block_scales(matrix)[..., None] * (values - matrix.zero_point)
        if matrix.minima is not None:
            values = values + matrix.minima[..., None]
    return values.reshape(values.shape[0], -1)[: matrix.rows, :cols].astype(np.float32)


def _block_scales(matrix: UnpackedMatrix) -> Floats:
    """(padded rows, blocks): what multiplies a quant."""
    if matrix.scales is None or matrix.steps is None:
        return matrix.scales if matrix.scales is not None else np.ones(matrix.quants.shape[:2], np.float32)
    return np.repeat(matrix.scales, SUPERBLOCK_BLOCKS, axis=1)[:, : matrix.steps.shape[1]] * matrix.steps


def quantise_rows(x: Floats, block_cols: int = BLOCK_COLS) -> tuple[NDArray[np.float32], Floats]:
    """(rows, n) -> int8 values as floats (rows, blocks, block_cols) and scales (rows, blocks): scale = max|x| / 127."""
    rows, n = x.shape
    padded = np.zeros((rows, -(-n // block_cols) * block_cols), np.float32)
    padded[:, :n] = x
    blocks = padded.reshape(rows, padded.shape[1] // block_cols, block_cols)
    top = np.abs(blocks).max(axis=2)
    finite = np.isfinite(top)  # where it is not, the scale is NaN and so are the products
    blocks = np.where(finite[..., None], blocks, np.float32(0))
    live = finite & (top >= np.float32(1e-30))
    inverse = np.where(live, np.float32(127) / np.where(live, top, np.float32(1)), np.float32(0))
    scales = np.where(live, top / np.float32(127), np.where(finite, np.float32(0), np.float32(np.nan)))
    return np.rint(blocks * inverse[..., None]).astype(np.float32), scales.astype(np.float32)


def multiply(matrix: UnpackedMatrix, x: Floats) -> Floats:
    """x (rows, inputs) times the matrix transposed: (rows, outputs)."""
    if matrix.scales is None:
        return _multiply_floats(matrix.quants.reshape(len(matrix.quants), -1)[: matrix.rows, : x.shape[1]], x)
    if matrix.steps is not None:
        return _multiply_two_levels(matrix, matrix.scales, matrix.steps, x)
    quants, scales = quantise_rows(x)
    total: NDArray[np.float64] = np.zeros((len(x), len(matrix.quants)), np.float64)
    for block in range(quants.shape[1]):  # integers below 2^24: the products are exact in f32
        products = quants[:, block] @ (matrix.quants[:, block] - matrix.zero_point).T
        factor = scales[:, block, None] * matrix.scales[None, :, block]
        total = (products.astype(np.float64) * factor + total).astype(np.float32).astype(np.float64)
        if matrix.minima is not None:
            sums = scales[:, block] * quants[:, block].sum(axis=1, dtype=np.float32)
            added = matrix.minima[None, :, block].astype(np.float64) * sums[:, None] + total
            total = added.astype(np.float32).astype(np.float64)
    return total[:, : matrix.rows].astype(np.float32)


def _multiply_floats(weights: Floats, x: Floats) -> Floats:
    """A row at a time: the library sums up in an order that depends on the number of rows."""
    wide, result = weights.astype(np.float64), np.empty((len(x), len(weights)), np.float32)
    for row, values in enumerate(x.astype(np.float64)):
        result[row] = wide @ values
    return result


def _multiply_two_levels(matrix: UnpackedMatrix, weight_scales: Floats, steps: Floats, x: Floats) -> Floats:
    """q4p: one scale of the activations for 256 inputs; whole numbers up to the end of a superblock."""
    quants, scales = quantise_rows(x, SUPERBLOCK_BLOCKS * BLOCK_COLS)
    quants = quants.reshape(len(x), -1, BLOCK_COLS)
    total: NDArray[np.float64] = np.zeros((len(x), len(matrix.quants)), np.float64)
    num_blocks_here = matrix.quants.shape[1]
    for superblock in range(weight_scales.shape[1]):
        whole: NDArray[np.float64] = np.zeros_like(total)
        first = superblock * SUPERBLOCK_BLOCKS
        for block in range(first, min(first + SUPERBLOCK_BLOCKS, num_blocks_here)):
            products = quants[:, block] @ (matrix.quants[:, block] - matrix.zero_point).T
            whole += products * steps[None, :, block]
        factor = scales[:, superblock, None] * weight_scales[None, :, superblock]
        total = (whole * factor + total).astype(np.float32).astype(np.float64)
    return total[:, : matrix.rows].astype(np.float32)


def rms_norm(x: Floats, weight: Floats, eps: float) -> Floats:
    """x / sqrt(mean(x^2) + eps) * weight along the last axis."""
    mean = np.mean(x.astype(np.float64) ** 2, axis=-1, keepdims=True)
    result: Floats = (x * (1 / np.sqrt(mean + eps)).astype(np.float32) * weight).astype(np.float32)
    return result


def silu(x: Floats) -> Floats:
    result: Floats = x / (1 + np.exp(-np.clip(x, -87.3, 88)))
    return result


def rotate(x: Floats, cosine: Floats, sine: Floats) -> Floats:
    """Rotate-half rope: x (rows, heads, head_dim); cosine and sine (rows, head_dim / 2)."""
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    c, s = cosine[:, None], sine[:, None]
    return np.concatenate([a * c - b * s, b * c + a * s], axis=-1)


def choose_rows(matrix: UnpackedMatrix, rows: NDArray[np.int32] | slice) -> UnpackedMatrix:
    """A matrix of these rows; of a slice, a view."""
    pick = [None if plane is None else plane[rows] for plane in (matrix.scales, matrix.minima, matrix.steps)]
    quants = matrix.quants[rows]
    return UnpackedMatrix(len(quants), quants, matrix.zero_point, *pick)
