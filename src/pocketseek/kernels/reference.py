"""The arithmetic of a pass in plain numpy: slow, obvious, and the text to read first.

It does what the compiled core does: int8 activations for quantised matrices, exact integer sums per block of 32, blocks
added in ascending order; f32 for f16 and f32 matrices; K and V rounded to f16 or int8. It does not promise the same
bits: numpy has no fused multiply-add and its own exp. `tests/kernels/test_native.py` states how close the two are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import UsageError
from pocketseek.formats import (
    BLOCK_COLS,
    SUPERBLOCK_BLOCKS,
    TILE_ROWS,
    num_blocks,
    num_superblocks,
    num_tile_rows,
    tile_row_bytes,
)
from pocketseek.kernels.contract import LAYER_MATRICES, Floats, LayerPart, RowSpan, TensorData
from pocketseek.kernels.kv_memory import PAGE_TOKENS, KvMemory
from pocketseek.kernels.logits import NumpyLogits
from pocketseek.types import ModelConfig

_QUANT_BYTES = {"q6s": 384, "q8s": 512}  # of a block; of the others 256
_ZERO_POINT = {"q4s": 8, "q6s": 32}

_Kind = TypeVar("_Kind")


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
        weights = matrix.quants.reshape(matrix.quants.shape[0], -1)[: matrix.rows, : x.shape[1]]
        return (x.astype(np.float64) @ weights.astype(np.float64).T).astype(np.float32)
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


@dataclass(frozen=True)
class _Rows:
    spans: Sequence[RowSpan]
    cosine: Floats
    sine: Floats
    memory: KvMemory


@dataclass(frozen=True)
class _Layer:
    matrices: Mapping[str, UnpackedMatrix]
    vectors: Mapping[str, Floats]


class ReferenceKernels:
    """The contract in numpy. Unpacked matrices take four bytes a weight: for small models and tests."""

    name = "reference"
    logits_math = NumpyLogits()
    can_stream = False

    def __init__(self, config: ModelConfig) -> None:
        self._config = config

    def set_num_threads(self, num_threads: int) -> None:
        """numpy decides for itself."""

    def set_cores(self, cores: tuple[int, ...]) -> None:
        """Nor about cores is numpy asked."""

    def load_matrix(self, tensor: TensorData) -> object:
        return unpack_matrix(tensor)

    def load_layer(self, tensors: Mapping[str, TensorData]) -> object:
        matrices = {name: unpack_matrix(tensors[name]) for name in LAYER_MATRICES}
        vectors = {name: tensor.vector() for name, tensor in tensors.items() if name not in LAYER_MATRICES}
        return _Layer(matrices, vectors)

    def begin(self, spans: Sequence[RowSpan], inv_freq: Floats, memory: KvMemory) -> object:
        ranges = [np.arange(span.first_position, span.first_position + span.num_rows) for span in spans]
        angles = np.concatenate(ranges).astype(np.float32)[:, None] * inv_freq[None, :]
        factor = np.float32(self._config.rope_scaling.attention_factor)
        return _Rows(spans, np.cos(angles) * factor, np.sin(angles) * factor, memory)

    def embed(self, table: object, token_ids: NDArray[np.int32], hidden: Floats) -> None:
        matrix = _expect(table, UnpackedMatrix)
        hidden[:] = dequantise(_choose_rows(matrix, token_ids), self._config.hidden_size)

    def layers(self, weights: Sequence[object], first: int, rows: object, hidden: Floats) -> None:
        for index, layer in enumerate(weights, first):
            self._layer(_expect(layer, _Layer), index, _expect(rows, _Rows), hidden)

    def _layer(self, layer: _Layer, index: int, batch: _Rows, hidden: Floats) -> None:
        eps = self._config.rms_norm_eps
        x = rms_norm(hidden, layer.vectors["attn_norm"], eps)
        mixed = self._attention(layer, index, batch, x)
        hidden += multiply(layer.matrices["o"], mixed)
        x = rms_norm(hidden, layer.vectors["mlp_norm"], eps)
        gated = silu(multiply(layer.matrices["gate"], x)) * multiply(layer.matrices["up"], x)
        hidden += multiply(layer.matrices["down"], gated)

    def head(self, norm: Floats, table: object, hidden: Floats, chosen: NDArray[np.int32], logits: Floats) -> None:
        x = rms_norm(hidden[chosen], norm, self._config.rms_norm_eps)
        logits[:] = multiply(_expect(table, UnpackedMatrix), x)

    def layer_part(self, layer: object, index: int, part: LayerPart, rows: object, hidden: Floats) -> None:
        raise _no_parts()

    def head_part(
        self,
        norm: Floats,
        table: object,
        hidden: Floats,
        chosen: NDArray[np.int32],
        logits: Floats,
        first_tile: int,
        num_tiles: int,
    ) -> None:
        raise _no_parts()

    def _attention(self, layer: _Layer, index: int, batch: _Rows, x: Floats) -> Floats:
        c = self._config
        heads = {}
        for name, count in (("q", c.num_heads), ("k", c.num_kv_heads), ("v", c.num_kv_heads)):
            y = multiply(layer.matrices[name], x) + layer.vectors.get(f"{name}_bias", np.float32(0))
            y = y.reshape(len(x), count, c.head_dim)
            if f"{name}_norm" in layer.vectors:
                y = rms_norm(y, layer.vectors[f"{name}_norm"], c.rms_norm_eps)
            heads[name] = rotate(y, batch.cosine, batch.sine) if name != "v" else y
        mixed = np.empty((len(x), c.num_heads, c.head_dim), np.float32)
        first = 0
        for span in batch.spans:
            pages = [batch.memory.layer_of_page(page_id, index) for page_id in span.pages]
            for row in range(span.num_rows):
                page, slot = divmod(span.first_position + row, PAGE_TOKENS)
                write_kv(pages[page], slot, heads["k"][first + row], heads["v"][first + row])
            keys, values = read_kv(pages, c.head_dim, span.first_position + span.num_rows)
            for row in range(first, first + span.num_rows):
                length = span.first_position + row - first + 1
                mixed[row] = self._attend(heads["q"][row], keys, values, length)
            first += span.num_rows
        return mixed.reshape(len(x), -1)

    def _attend(self, q: Floats, keys: NDArray[np.float64], values: NDArray[np.float64], length: int) -> Floats:
        """q (heads, head_dim) over positions 0 .. length-1: softmax(q k / sqrt(head_dim)) v."""
        c = self._config
        grouped = q.reshape(c.num_kv_heads, c.queries_per_kv_head, c.head_dim).astype(np.float64)
        scores = grouped @ keys[:, :, :length] / np.sqrt(c.head_dim)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        out = (weights / weights.sum(axis=-1, keepdims=True)) @ values[:, :length]
        result: Floats = out.reshape(c.num_heads, c.head_dim).astype(np.float32)
        return result


def write_kv(heads: NDArray[np.void], slot: int, k: Floats, v: Floats) -> None:
    """One token into one layer of a page. heads: records of kv_memory.head_dtype; k, v: (kv heads, head_dim)."""
    head_dim = k.shape[1]
    names = heads.dtype.names or ()
    if "key_scale" in names:
        (k, key_scales), (v, value_scales) = (quantise_rows(x, head_dim) for x in (k, v))
        k, v = k[:, 0], v[:, 0]
        heads["key_scale"][:, slot], heads["value_scale"][:, slot] = key_scales[:, 0], value_scales[:, 0]
    heads["key"][:, :, slot] = k
    heads["value"][:, slot, :head_dim] = v


def read_kv(
    pages: Sequence[NDArray[np.void]], head_dim: int, length: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Keys (kv heads, head_dim, length) and values (kv heads, length, head_dim) of positions 0 .. length-1.

    Cut before widening: beyond the length lies anything, and arm64 warns of a signalling NaN in it.
    """
    keys, values = [], []
    for index, heads in enumerate(pages[: -(-length // PAGE_TOKENS)]):
        n = min(PAGE_TOKENS, length - index * PAGE_TOKENS)
        key, value = heads["key"][..., :n].astype(np.float64), heads["value"][:, :n, :head_dim].astype(np.float64)
        if "key_scale" in (heads.dtype.names or ()):
            key = key * heads["key_scale"][:, None, :n]
            value = value * heads["value_scale"][:, :n, None]
        keys.append(key)
        values.append(value)
    return np.concatenate(keys, axis=2), np.concatenate(values, axis=1)


def _choose_rows(matrix: UnpackedMatrix, rows: NDArray[np.int32]) -> UnpackedMatrix:
    pick = [None if plane is None else plane[rows] for plane in (matrix.scales, matrix.minima, matrix.steps)]
    return UnpackedMatrix(len(rows), matrix.quants[rows], matrix.zero_point, *pick)


def _no_parts() -> UsageError:
    return UsageError("the reference kernels compute whole layers only; choose compiled ones with POCKETSEEK_KERNELS")


def _expect(value: object, kind: type[_Kind]) -> _Kind:
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__} from these kernels, got {type(value).__name__}")
    return value
