from __future__ import annotations

import numpy as np

from pocketseek.convert.sources.fp8 import FP8_VALUES, scale_shape, scaled_values


def slow_value(byte: int) -> float:
    """OCP 8-bit floating point, E4M3."""
    sign = -1.0 if byte & 0x80 else 1.0
    exponent, mantissa = byte >> 3 & 15, byte & 7
    if exponent == 15 and mantissa == 7:
        return float("nan")
    return sign * (mantissa / 8 * 2.0**-6 if exponent == 0 else (1 + mantissa / 8) * 2.0 ** (exponent - 7))


def test_all_bytes_stand_for_what_the_format_says() -> None:
    np.testing.assert_array_equal(FP8_VALUES, [slow_value(byte) for byte in range(256)])
    assert np.nanmax(FP8_VALUES) == 448
    assert FP8_VALUES[1] == 2.0**-9
    assert np.signbit(FP8_VALUES[0x80])


def test_every_square_of_128_has_its_scale() -> None:
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 126, (300, 200), np.uint8)
    scales = rng.uniform(0.5, 2, scale_shape(raw.shape)).astype(np.float32)
    assert scales.shape == (3, 2)
    expected = np.array([[FP8_VALUES[raw[r, c]] * scales[r // 128, c // 128] for c in range(200)] for r in range(300)])
    np.testing.assert_array_equal(scaled_values(raw, scales, 0), expected)
    np.testing.assert_array_equal(scaled_values(raw[130:270], scales[1:], 2), expected[130:270])
