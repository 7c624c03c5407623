"""A matrix read out of packed tile rows one value at a time: slow, and written from the text of formats.py only."""

from __future__ import annotations

import numpy as np


def slow_values(format_name: str, packed: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """The float32 values at (row, col), padding included if rows and cols say so. packed: (tile rows, bytes)."""
    values = np.empty((rows, cols), np.float32)
    for row in range(rows):
        for col in range(cols):
            values[row, col] = _value(format_name, packed[row // 16], row % 16, col)
    return values


def _value(format_name: str, tile_row: np.ndarray, lane: int, col: int) -> np.float32:
    if format_name in ("f16", "f32"):
        kind = np.dtype("<f2" if format_name == "f16" else "<f4")
        at = (col * 16 + lane) * kind.itemsize
        return np.float32(tile_row[at : at + kind.itemsize].view(kind)[0])
    block, inner = divmod(col, 32)
    code = _code(format_name, tile_row, lane, block, inner)
    quant_bytes = {"q6s": 384, "q8s": 512}.get(format_name, 256)
    blocks = _num_blocks(format_name, len(tile_row))
    if format_name == "q4p":
        packed = int(tile_row[blocks * 256 + block * 8 + lane % 8])
        step = packed >> 4 if lane >= 8 else packed & 15
        return _half(tile_row, blocks * 264 + (block // 8 * 16 + lane) * 2) * np.float32(step) * np.float32(code - 8)
    scale = _half(tile_row, blocks * quant_bytes + (block * 16 + lane) * 2)
    if format_name == "q4s":
        return scale * np.float32(code - 8)
    if format_name == "q6s":
        return scale * np.float32(code - 32)
    if format_name == "q4a":
        minimum = _half(tile_row, blocks * quant_bytes + blocks * 32 + (block * 16 + lane) * 2)
        return scale * np.float32(code) + minimum
    return scale * np.float32(code)


def _code(format_name: str, tile_row: np.ndarray, lane: int, block: int, inner: int) -> int:
    if format_name == "q8s":
        group, c = divmod(inner, 4)
        return int(tile_row[block * 512 + group * 64 + lane * 4 + c].view(np.int8))
    i, rest = divmod(inner, 8)
    is_high, c = divmod(rest, 4)
    start = block * (384 if format_name == "q6s" else 256)
    byte = int(tile_row[start + i * 64 + lane * 4 + c])
    low = byte >> 4 if is_high else byte & 15
    if format_name != "q6s":
        return low
    h, rest = divmod(inner, 16)
    return low + 16 * (int(tile_row[start + 256 + h * 64 + lane * 4 + c]) >> rest // 4 * 2 & 3)


def _half(tile_row: np.ndarray, at: int) -> np.float32:
    return np.float32(tile_row[at : at + 2].view("<f2")[0])


def _num_blocks(format_name: str, num_bytes: int) -> int:
    if format_name == "q4p":  # the largest number that fits
        return max(n for n in range(1, num_bytes // 264 + 1) if n * 264 + -(-n // 8) * 32 <= num_bytes)
    return (
        num_bytes // {"q4s": 288, "q4a": 320, "q6s": 416, "q8s": 544}[format_name]
    )  # the padding to 64 is less than a block
