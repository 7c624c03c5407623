"""The mean of rows that come in pieces."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.errors import ModelOutputError
from pocketseek.runtime.pooling import MeanPool, normed

ROWS = np.random.default_rng(5).standard_normal((40, 7)).astype(np.float32) * np.float32(100)


def pooled(cuts: Sequence[int], again: int = 0) -> tuple[float, ...]:
    """again: how many rows of each piece had come before."""
    pool = MeanPool(len(ROWS))
    for begin, end in zip([0, *cuts], [*cuts, len(ROWS)], strict=True):
        first = max(0, begin - again)
        pool.take(first, ROWS[first:end])
    return pool.mean()


@given(st.lists(st.integers(0, 40)).map(sorted), st.integers(0, 50))
def test_the_mean_is_the_same_bits_however_the_rows_come(cuts: Sequence[int], again: int) -> None:
    assert pooled(cuts, again) == pooled([])


def test_the_mean_is_that_of_all_rows() -> None:
    assert pooled([3, 30]) == tuple(ROWS.mean(axis=0, dtype=np.float64).astype(np.float32).tolist())


def test_rows_behind_the_last_one_wanted_do_not_count() -> None:
    pool = MeanPool(2)
    pool.take(0, ROWS)
    assert pool.is_complete
    assert pool.mean() == tuple(ROWS[:2].mean(axis=0, dtype=np.float64).astype(np.float32).tolist())


def test_there_is_no_mean_before_the_last_row() -> None:
    pool = MeanPool(3)
    pool.take(0, ROWS[:2])
    assert not pool.is_complete
    with pytest.raises(ValueError, match="2 of 3"):
        pool.mean()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_states_that_are_no_numbers_are_reported(bad: float) -> None:
    rows = ROWS.copy()
    rows[3, 2] = bad
    with pytest.raises(ModelOutputError, match="pocketseek verify"):
        MeanPool(len(rows)).take(0, rows)


def test_a_normed_row_has_mean_square_one_and_then_its_weights() -> None:
    weight = np.arange(1, 8, dtype=np.float32)
    rows = normed(ROWS, weight, 1e-6)
    np.testing.assert_allclose(np.square(rows / weight).mean(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(rows[0], ROWS[0] / np.sqrt(np.square(ROWS[0]).mean() + 1e-6) * weight, rtol=1e-5)


def test_a_row_is_normed_by_itself() -> None:
    weight = np.ones(7, np.float32)
    assert normed(ROWS, weight, 1e-6)[5:9].tobytes() == normed(ROWS[5:9], weight, 1e-6).tobytes()
