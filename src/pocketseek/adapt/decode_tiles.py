"""Stored tile rows as float32 rows, a cacheful at a time: the values of kernels/reference.py to the bit, some ten times
as fast as its way, which goes through the whole matrix in every step. Pure numpy.

Codes are moved as 32-bit words of four inputs each, as `convert/pack.py` packs them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pocketseek.formats import (
    BLOCK_COLS,
    SUPERBLOCK_BLOCKS,
    TILE_ROWS,
    num_blocks,
    num_superblocks,
    tile_row_bytes,
)
from pocketseek.package.reader import StoredTensor

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_FLOATS = {"f16": np.float16, "f32": np.float32}
_ZERO_POINTS = {"q4s": 8, "q4p": 8, "q6s": 32}
_LOW_FOUR, _LOW_TWO = np.uint32(0x0F0F0F0F), np.uint32(0x03030303)
_SLAB_VALUES = 1 << 16


def decode_rows(tensor: StoredTensor, first: int, end: int) -> Floats:
    """The rows first..end-1 of a stored matrix; first is a multiple of 16."""
    raw = _tile_rows(tensor, first // TILE_ROWS, -(-end // TILE_ROWS))
    return decode_tiles(tensor.format, raw, tensor.shape[1])[: end - first]


def decode_tiles(format_name: str, raw: Bytes, cols: int) -> Floats:
    """Tile rows (tiles, bytes) as formats.py lays them out -> (tiles * 16, cols)."""
    width = num_blocks(cols) * BLOCK_COLS
    values = np.empty((len(raw), TILE_ROWS, width), np.float32)
    step = max(1, _SLAB_VALUES // (TILE_ROWS * width))
    for first in range(0, len(raw), step):
        _decode_slab(format_name, raw[first : first + step], values[first : first + step], cols)
    return np.ascontiguousarray(values.reshape(-1, width)[:, :cols])


def _tile_rows(tensor: StoredTensor, first_tile: int, end_tile: int) -> Bytes:
    """(tiles, bytes of one)."""
    width = tile_row_bytes(tensor.format, tensor.shape[1])
    runs = []
    for part in tensor.parts:
        stored = part.data.reshape(-1, width)
        start, stop = max(first_tile - part.first_tile, 0), min(end_tile - part.first_tile, len(stored))
        if start < stop:
            runs.append(stored[start:stop])
    return runs[0] if len(runs) == 1 else np.concatenate(runs)


def _decode_slab(format_name: str, raw: Bytes, values: Floats, cols: int) -> None:
    """values: (tiles, 16, padded columns), written in place."""
    tiles, blocks = len(raw), num_blocks(cols)
    if format_name in _FLOATS:
        kind = np.dtype(_FLOATS[format_name])
        stored = raw[:, : blocks * BLOCK_COLS * TILE_ROWS * kind.itemsize].view(kind)
        values[:] = stored.reshape(tiles, blocks * BLOCK_COLS, TILE_ROWS).transpose(0, 2, 1)
        return
    quants, planes = _quants(format_name, raw, blocks)
    by_block = values.reshape(tiles, TILE_ROWS, blocks, BLOCK_COLS)
    by_block[:] = quants
    if zero_point := _ZERO_POINTS.get(format_name, 0):
        by_block -= np.float32(zero_point)
    by_block *= _scales(format_name, planes, blocks, cols)[..., None]
    if format_name == "q4a":
        by_block += _halves(planes, blocks * 32, blocks)[..., None]


def _quants(format_name: str, raw: Bytes, blocks: int) -> tuple[NDArray[np.uint8] | NDArray[np.int8], Bytes]:
    """Codes (tiles, 16, blocks, 32), and the bytes of the other planes."""
    shape = (len(raw), TILE_ROWS, blocks, BLOCK_COLS)
    words_per_block = {"q8s": 8, "q6s": 6}.get(format_name, 4)
    end = blocks * words_per_block * TILE_ROWS * 4
    stored = raw[:, :end].view(np.uint32).reshape(len(raw), blocks, words_per_block, TILE_ROWS)
    words = np.ascontiguousarray(stored.transpose(0, 3, 1, 2))
    if format_name == "q8s":
        return words.view(np.int8).reshape(shape), raw[:, end:]
    codes = np.empty((*words.shape[:3], 8), np.uint32)
    low = words[..., :4]
    np.bitwise_and(low, _LOW_FOUR, out=codes[..., 0::2])
    np.bitwise_and(low >> np.uint32(4), _LOW_FOUR, out=codes[..., 1::2])
    if format_name == "q6s":
        for piece in range(4):
            codes[..., piece::4] |= (words[..., 4:] >> np.uint32(2 * piece) & _LOW_TWO) << np.uint32(4)
    return codes.view(np.uint8).reshape(shape), raw[:, end:]


def _scales(format_name: str, planes: Bytes, blocks: int, cols: int) -> Floats:
    """What multiplies a code: (tiles, 16, blocks)."""
    if format_name != "q4p":
        return _halves(planes, 0, blocks)
    packed = planes[:, : blocks * 8].reshape(len(planes), blocks, 8)
    steps = np.concatenate([packed & 15, packed >> 4], axis=2).transpose(0, 2, 1).astype(np.float32)
    large = _halves(planes, blocks * 8, num_superblocks(cols))
    return np.asarray(np.repeat(large, SUPERBLOCK_BLOCKS, axis=2)[..., :blocks] * steps, np.float32)


def _halves(planes: Bytes, start: int, per_row: int) -> Floats:
    """A plane of float16, 16 outputs side by side: (tiles, 16, per_row)."""
    plane = np.ascontiguousarray(planes[:, start : start + per_row * TILE_ROWS * 2]).view(np.float16)
    return plane.reshape(len(planes), per_row, TILE_ROWS).transpose(0, 2, 1).astype(np.float32)
