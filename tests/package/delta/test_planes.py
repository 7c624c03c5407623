"""Tile rows taken apart and put together again are the same bytes, and mean what formats.py says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from package.test_format_page import random_tile_row
from tile_rows import slow_values

from pocketseek.formats import FORMATS, num_blocks, tile_row_bytes
from pocketseek.package.delta.planes import from_ordered, join_rows, ordered_bits, split_rows, values_of


def rows_of(format_name: str, cols: int, num_rows: int, seed: int) -> np.ndarray:
    """Sound tile rows: padding is zero."""
    rng = np.random.default_rng(seed)
    rows = [random_tile_row(format_name, num_blocks(cols), rng)[0] for _ in range(num_rows)]
    return np.frombuffer(b"".join(rows), np.uint8)


@given(st.sampled_from(sorted(FORMATS)), st.integers(1, 400), st.integers(1, 3), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_the_same_bytes_come_back(format_name: str, cols: int, num_rows: int, seed: int) -> None:
    data = rows_of(format_name, cols, num_rows, seed)
    assert np.array_equal(join_rows(format_name, cols, split_rows(format_name, cols, data)), data)


@pytest.mark.parametrize("format_name", sorted(FORMATS))
def test_values_are_those_of_the_format(format_name: str) -> None:
    cols = 300
    data = rows_of(format_name, cols, 2, 3)
    values = values_of(format_name, split_rows(format_name, cols, data))  # (rows, blocks, groups, outputs, inputs)
    expected = slow_values(format_name, data.reshape(2, -1), 32, num_blocks(cols) * 32)
    assert np.array_equal(values.transpose(0, 3, 1, 2, 4).reshape(32, -1), expected)


@pytest.mark.parametrize("dtype", ["<f2", "<f4"])
def test_ordered_bits_have_the_order_of_values_and_come_back(dtype: str) -> None:
    values = np.array([-np.inf, -3.0, -1e-7, -0.0, 0.0, 1e-7, 0.5, 1.0, 60000.0, np.inf], dtype)
    ordered = ordered_bits(values)
    assert np.all(np.diff(ordered) > 0)
    assert from_ordered(ordered, np.dtype(dtype)).tobytes() == values.tobytes()


def test_padding_to_64_bytes_is_not_kept() -> None:
    cols = 33 * 32
    data = rows_of("q4p", cols, 1, 1).copy()
    assert tile_row_bytes("q4p", cols) > 33 * 264 + 5 * 32
    data[-1] = 1
    assert not np.array_equal(join_rows("q4p", cols, split_rows("q4p", cols, data)), data)
