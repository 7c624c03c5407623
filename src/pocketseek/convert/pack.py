"""Tile rows as `pocketseek.formats` lays them out, from planes of quants and scales or from plain values. Pure numpy.

Values come in row order (rows, columns); what comes out is uint8 (tile rows, tile_row_bytes), ready to be written.
Rows are padded to 16 and columns to 32: scales, minima and plain values with 0, quants with the code of 0 (8 in
q4s and q4p, 32 in q6s). In q4a a padding column inside a block that holds real ones cannot be 0 (its value is near the
minimum); kernels multiply it by a zero activation, as everywhere.

Four values or codes that lie side by side are moved as one 32-bit word, so packing is one transposition of words and
runs at memory speed (several GB/s). Not covered: making codes from values (`quantize`) or from GGUF blocks
(`ggml_import`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pocketseek.formats import BLOCK_COLS, FORMATS, TILE_ROWS, num_blocks, num_tile_rows, tile_row_bytes

_Scalar = TypeVar("_Scalar", bound=np.generic)

ZERO_CODE = {"q4s": 8, "q4a": 0, "q4p": 8, "q6s": 32, "q8s": 0}
_FLOAT_DTYPES = {"f16": "<f2", "f32": "<f4"}


@dataclass(frozen=True)
class Planes:
    """Rows in quantised form: quants uint8 (q4*: 0..15, q6s: 0..63) or int8 (q8s), shape (rows, blocks, 32).

    scales and minima are float16 (rows, blocks); minima only for q4a. q4p: scales (rows, superblocks) and steps uint8
    (rows, blocks), 0..15.
    """

    quants: NDArray[np.uint8] | NDArray[np.int8]
    scales: NDArray[np.float16]
    minima: NDArray[np.float16] | None = None
    steps: NDArray[np.uint8] | None = None


def pack_planes(format_name: str, planes: Planes) -> NDArray[np.uint8]:
    """Pack q4s, q4a, q4p, q6s or q8s. Returns uint8 (tile rows, tile_row_bytes)."""
    rows, blocks, _ = planes.quants.shape
    tiles = num_tile_rows(rows)
    quants = _pad_rows(planes.quants.view(np.uint8), ZERO_CODE[format_name])
    packed = np.zeros((tiles, tile_row_bytes(format_name, blocks * BLOCK_COLS)), np.uint8)
    words = _WORDS[format_name](quants)
    words_per_block = words.shape[-1]
    end = blocks * words_per_block * TILE_ROWS * 4
    plane = packed[:, :end].view("<u4").reshape(tiles, blocks, words_per_block, TILE_ROWS)
    plane[...] = words.reshape(tiles, TILE_ROWS, blocks, words_per_block).transpose(0, 2, 3, 1)
    if planes.steps is not None:
        start, end = end, end + blocks * TILE_ROWS // 2
        tiled_steps = _pad_rows(planes.steps, 0).reshape(tiles, TILE_ROWS, blocks).transpose(0, 2, 1)
        nibbles = tiled_steps[..., :8] | tiled_steps[..., 8:] << np.uint8(4)
        packed[:, start:end].reshape(tiles, blocks, 8)[...] = nibbles
    for halves in (planes.scales, planes.minima):
        if halves is not None:
            per_row = halves.shape[1]
            start, end = end, end + per_row * TILE_ROWS * 2
            tiled = _pad_rows(halves, 0).reshape(tiles, TILE_ROWS, per_row)
            packed[:, start:end].view("<f2").reshape(tiles, per_row, TILE_ROWS)[...] = tiled.transpose(0, 2, 1)
    return packed


def pack_values(format_name: str, values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Pack f16 or f32: one input's 16 outputs side by side. Returns uint8 (tile rows, tile_row_bytes)."""
    rows, cols = values.shape
    tiles, padded_cols = num_tile_rows(rows), num_blocks(cols) * BLOCK_COLS
    packed = np.zeros((tiles, tile_row_bytes(format_name, cols)), np.uint8)
    used = padded_cols * FORMATS[format_name].block_bytes // BLOCK_COLS
    plane = packed[:, :used].view(_FLOAT_DTYPES[format_name]).reshape(tiles, padded_cols, TILE_ROWS)
    tiled = _pad_rows(values, 0).reshape(tiles, TILE_ROWS, cols)
    plane[:, :cols, :] = tiled.transpose(0, 2, 1)
    return packed


def _nibble_words(quants: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Codes (rows, blocks, 32) -> words (rows, blocks, 4): word i holds inputs 8i..8i+3 low and 8i+4..8i+7 high."""
    groups = np.ascontiguousarray(quants).view("<u4")
    words: NDArray[np.uint32] = groups[..., 0::2] | groups[..., 1::2] << np.uint32(4)
    return words


def _six_bit_words(quants: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Codes (rows, blocks, 32) -> words (rows, blocks, 6): four of the low four bits, then two of the high two.

    Word 4 + h holds inputs 16h..16h+3 in the lowest two bits of each byte, 16h+12..16h+15 in the highest.
    """
    groups = (np.ascontiguousarray(quants) >> np.uint8(4)).view("<u4")
    high = groups[..., 0::4].copy()
    for place in (1, 2, 3):
        high |= groups[..., place::4] << np.uint32(2 * place)
    return np.concatenate([_nibble_words(quants & np.uint8(15)), high], axis=-1)


def _byte_words(quants: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Codes (rows, blocks, 32) -> words (rows, blocks, 8): word j holds inputs 4j..4j+3."""
    words: NDArray[np.uint32] = np.ascontiguousarray(quants).view("<u4")
    return words


_WORDS: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.uint32]]] = {
    "q4s": _nibble_words,
    "q4a": _nibble_words,
    "q4p": _nibble_words,
    "q6s": _six_bit_words,
    "q8s": _byte_words,
}


def _pad_rows(values: NDArray[_Scalar], fill: int) -> NDArray[_Scalar]:
    missing = -len(values) % TILE_ROWS
    if missing == 0:
        return values
    padding = np.full((missing, *values.shape[1:]), fill, values.dtype)
    return np.concatenate([values, padding])
