from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tile_rows import slow_values

from pocketseek.convert.pack import Planes, pack_planes, pack_values
from pocketseek.convert.quantize import dequantize
from pocketseek.formats import num_blocks, num_tile_rows, tile_row_bytes

QUANTISED = ("q4s", "q4a", "q4p", "q6s", "q8s")
small_shapes = st.tuples(st.integers(1, 40), st.integers(1, 100))


def random_planes(format_name: str, rows: int, blocks: int, seed: int) -> Planes:
    rng = np.random.default_rng(seed)
    shape = (rows, blocks, 32)
    levels = 64 if format_name == "q6s" else 16
    quants = (
        rng.integers(-128, 128, shape, np.int8) if format_name == "q8s" else rng.integers(0, levels, shape, np.uint8)
    )
    num_scales = -(-blocks // 8) if format_name == "q4p" else blocks
    scales = rng.standard_normal((rows, num_scales)).astype(np.float16)
    steps = rng.integers(0, 16, (rows, blocks), np.uint8) if format_name == "q4p" else None
    minima = rng.standard_normal((rows, blocks)).astype(np.float16) if format_name == "q4a" else None
    return Planes(quants, scales, minima, steps)


@pytest.mark.parametrize("format_name", QUANTISED)
@settings(max_examples=15, deadline=None)
@given(rows=st.integers(1, 40), blocks=st.integers(1, 10), seed=st.integers(0, 2**32 - 1))
def test_planes_are_found_where_the_format_says(format_name: str, rows: int, blocks: int, seed: int) -> None:
    planes = random_planes(format_name, rows, blocks, seed)
    packed = pack_planes(format_name, planes)
    expected = dequantize(format_name, planes)
    np.testing.assert_array_equal(slow_values(format_name, packed, rows, blocks * 32), expected)


@pytest.mark.parametrize("format_name", ["f16", "f32"])
@settings(max_examples=15, deadline=None)
@given(shape=small_shapes, seed=st.integers(0, 2**32 - 1))
def test_values_are_found_where_the_format_says(format_name: str, shape: tuple[int, int], seed: int) -> None:
    kind = np.float16 if format_name == "f16" else np.float32
    values = np.random.default_rng(seed).standard_normal(shape).astype(kind)
    packed = pack_values(format_name, values)
    np.testing.assert_array_equal(slow_values(format_name, packed, *shape), values.astype(np.float32))


@pytest.mark.parametrize("format_name", QUANTISED)
def test_rows_beyond_the_last_read_as_zero(format_name: str) -> None:
    packed = pack_planes(format_name, random_planes(format_name, 17, 3, seed=1))
    assert not slow_values(format_name, packed, 32, 96)[17:].any()


def test_padding_codes_of_q4s_are_eight_and_scales_zero() -> None:
    packed = pack_planes("q4s", random_planes("q4s", 1, 1, seed=1))
    padding_codes = packed[0, :256].reshape(4, 16, 4)[:, 1:]
    assert (padding_codes == 0x88).all()
    assert not packed[0, 258:].any()


@pytest.mark.parametrize("format_name", ["f16", "f32"])
def test_padding_of_plain_values_is_zero(format_name: str) -> None:
    packed = pack_values(format_name, np.ones((5, 33), np.float32))
    values = slow_values(format_name, packed, 16, 64)
    assert not values[5:].any()
    assert not values[:, 33:].any()


@pytest.mark.parametrize("format_name", [*QUANTISED, "f16", "f32"])
@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (16, 32), (17, 33), (31, 2080)])
def test_tile_rows_have_the_size_that_formats_states(format_name: str, rows: int, cols: int) -> None:
    if format_name in QUANTISED:
        packed = pack_planes(format_name, random_planes(format_name, rows, num_blocks(cols), seed=2))
    else:
        packed = pack_values(format_name, np.ones((rows, cols), np.float32))
    assert packed.shape == (num_tile_rows(rows), tile_row_bytes(format_name, cols))
    assert packed.dtype == np.uint8


@pytest.mark.parametrize("format_name", QUANTISED)
def test_packing_in_slabs_gives_the_same_bytes(format_name: str) -> None:
    planes = random_planes(format_name, 50, 2, seed=3)
    minima, steps = planes.minima, planes.steps
    slabs = [
        pack_planes(
            format_name,
            Planes(
                planes.quants[at],
                planes.scales[at],
                None if minima is None else minima[at],
                None if steps is None else steps[at],
            ),
        )
        for at in (slice(0, 16), slice(16, 48), slice(48, 50))
    ]
    np.testing.assert_array_equal(np.concatenate(slabs), pack_planes(format_name, planes))
