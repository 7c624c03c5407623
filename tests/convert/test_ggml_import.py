from __future__ import annotations

import numpy as np
import pytest
from checkpoints import random_blocks
from tile_rows import slow_values

from pocketseek.convert.ggml_import import EXACT_IMPORTS, import_planes
from pocketseek.convert.pack import pack_planes
from pocketseek.convert.quantize import dequantize
from pocketseek.convert.sources.ggml_types import dequantise
from pocketseek.errors import FormatError


def blocks_of(type_name: str, rows: int = 19, cols: int = 512, seed: int = 0) -> np.ndarray:
    return random_blocks(type_name, rows, cols, np.random.default_rng(seed))


@pytest.mark.parametrize(("type_name", "format_name"), sorted(EXACT_IMPORTS))
def test_packed_blocks_read_as_exactly_the_values_they_had(type_name: str, format_name: str) -> None:
    raw = blocks_of(type_name)
    packed = pack_planes(format_name, import_planes(type_name, format_name, raw))
    values = slow_values(format_name, packed, 19, 512)
    assert values.tobytes() == dequantise(type_name, raw).tobytes()


@pytest.mark.parametrize("code", range(16))
def test_first_nibble_is_value_0_and_its_high_half_value_16(code: int) -> None:
    raw = np.zeros((1, 18), np.uint8)
    raw[0, :2] = np.array([1.0], "<f2").view(np.uint8)
    raw[0, 2] = code | 0x90
    planes = import_planes("Q4_0", "q4s", raw)
    assert planes.quants[0, 0, 0] == code
    assert planes.quants[0, 0, 16] == 9


def test_q4_k_keeps_its_codes_and_rounds_only_scales_and_minima() -> None:
    raw = blocks_of("Q4_K")
    planes = import_planes("Q4_K", "q4a", raw)
    values = dequantise("Q4_K", raw)
    written = dequantize("q4a", planes)
    half_ulp = 2.0**-11
    largest = 15 * np.abs(planes.scales.astype(np.float32)) + np.abs(planes.minima.astype(np.float32))
    bound = np.repeat(largest, 32, axis=1) * half_ulp * 1.01 + 1e-7
    assert (np.abs(written - values) <= bound).all()


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize(("type_name", "format_name"), sorted(EXACT_IMPORTS))
def test_scales_that_are_not_finite_are_refused(type_name: str, format_name: str, bad: float) -> None:
    raw = blocks_of(type_name)
    raw[3, :2] = np.array([bad], "<f2").view(np.uint8)
    with pytest.raises(FormatError, match="not finite"):
        import_planes(type_name, format_name, raw)


def test_a_q4_k_scale_beyond_float16_is_refused() -> None:
    raw = blocks_of("Q4_K", rows=1, cols=256)
    raw[0, :2] = np.array([60000.0], "<f2").view(np.uint8)
    raw[0, 4:8] = 63
    with pytest.raises(FormatError, match="not finite"):
        import_planes("Q4_K", "q4a", raw)
