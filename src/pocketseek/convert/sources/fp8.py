"""FP8 weights as DeepSeek-V3 and later publish them: float8 e4m3 with one scale for each square of 128 x 128 weights.

    value = e4m3(byte) * scale[row / 128, column / 128]      scale: the tensor <name>_scale_inv, F32 (or 16 bits)

e4m3: sign, four bits of exponent with bias 7, three of mantissa; no infinities, 0x7F and 0xFF are NaN. The product is
rounded once, to float32, as the published inference code does on its way to bfloat16.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FP8_TYPE = "F8_E4M3"
SCALE_BLOCK = 128
SCALE_SUFFIX = "_scale_inv"
_BIAS, _MANTISSA_BITS = 7, 3


def scale_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Of the scales of a matrix."""
    rows, cols = shape
    return -(-rows // SCALE_BLOCK), -(-cols // SCALE_BLOCK)


def scaled_values(raw: NDArray[np.uint8], scales: NDArray[np.float32], skipped: int) -> NDArray[np.float32]:
    """raw (rows, cols) times its scales. skipped: rows of the first scale's squares that come before raw's first."""
    rows, cols = raw.shape
    of_row = (np.arange(rows) + skipped) // SCALE_BLOCK
    values: NDArray[np.float32] = FP8_VALUES[raw]
    for start in range(0, cols, SCALE_BLOCK):
        values[:, start : start + SCALE_BLOCK] *= scales[of_row, start // SCALE_BLOCK, None]
    return values


def _e4m3_values() -> NDArray[np.float32]:
    """What each of the 256 bytes stands for."""
    byte = np.arange(256)
    exponent, mantissa = byte >> _MANTISSA_BITS & 15, byte & 7
    magnitude = np.where(
        exponent == 0,
        np.ldexp(mantissa.astype(np.float64), 1 - _BIAS - _MANTISSA_BITS),
        np.ldexp(1.0 + mantissa / 8, exponent - _BIAS),
    )
    magnitude[byte & 127 == 127] = np.nan
    return np.where(byte & 128, -magnitude, magnitude).astype(np.float32)


FP8_VALUES = _e4m3_values()
