"""The scales that are found hold the weights that matter better than those of a search that does not know them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.convert.quantize import dequantize, quantize
from pocketseek.convert.scale_search import GROUP_COLS, search_grid
from pocketseek.errors import FormatError
from pocketseek.formats import BLOCK_COLS


def read_by(format_name: str, values: np.ndarray, importance: np.ndarray) -> np.ndarray:
    """Each column at its nearest code of the grid that is found."""
    grid = search_grid(format_name, values, importance)
    columns = [grid.values(grid.codes(values[:, i], i // BLOCK_COLS), i // BLOCK_COLS) for i in range(values.shape[1])]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("format_name", ["q4p", "q4s", "q4a", "q6s"])
def test_the_weighted_error_is_not_above_that_of_the_plain_search(format_name: str) -> None:
    rng = np.random.default_rng(7)
    cols = GROUP_COLS[format_name]
    values = rng.standard_t(4, size=(400, cols)).astype(np.float32)
    importance = np.exp(2 * rng.normal(size=cols)).astype(np.float32)
    plain = dequantize(format_name, quantize(format_name, values))
    found = read_by(format_name, values, importance)
    plain_error = (np.square(plain - values) * importance).sum()
    assert (np.square(found - values) * importance).sum() < 0.95 * plain_error


@given(st.sampled_from(sorted(GROUP_COLS)), st.integers(0, 2**32 - 1), st.floats(-30, 4))
def test_any_finite_weights_have_a_grid_within_a_step_of_them(format_name: str, seed: int, magnitude: float) -> None:
    rng = np.random.default_rng(seed)
    values = (rng.normal(size=(8, GROUP_COLS[format_name])) * 10.0**magnitude).astype(np.float32)
    values[0] = 0
    found = read_by(format_name, values, np.ones(values.shape[1], np.float32))
    assert np.isfinite(found).all()
    assert (found[0] == 0).all()
    assert np.abs(found - values).max() <= np.abs(values).max()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e6])
@pytest.mark.parametrize("format_name", sorted(GROUP_COLS))
def test_values_that_no_scale_can_hold_are_refused(format_name: str, bad: float) -> None:
    values = np.ones((2, GROUP_COLS[format_name]), np.float32)
    values[1, 3] = bad
    with pytest.raises(FormatError, match="not finite or too large"):
        search_grid(format_name, values, np.ones(values.shape[1], np.float32))
