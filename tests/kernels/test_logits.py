"""The row functions of sampling: the bits of the scalar twin everywhere, and numpy's values within rounding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pocketseek.kernels import _native
from pocketseek.kernels.choose import supported_sets
from pocketseek.kernels.contract import LogitsMath
from pocketseek.kernels.logits import NumpyLogits
from pocketseek.kernels.native import NativeLogits

CORE = NativeLogits(supported_sets()[-1])
every_math = pytest.mark.parametrize("logits", [CORE, NumpyLogits()], ids=["core", "numpy"])
LENGTHS = (1, 15, 16, 17, 64, 127, 128, 129, 5000)


def random_row(length: int, scale: float = 3.0) -> NDArray[np.float32]:
    return (np.random.default_rng(length).standard_normal(length) * scale).astype(np.float32)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("divisor", [0.1, 1.0, 1.7])
def test_every_instruction_set_gives_the_bits_of_the_scalar_twin(length: int, divisor: float) -> None:
    row = random_row(length, 20.0)
    best = float(row.max())

    def outcome(name: str) -> tuple[bytes, float, list[int]]:
        weights, found = np.empty_like(row), np.empty(length, np.int32)
        _native.exp_weights(name, row, best, divisor, weights)
        count = _native.at_least(name, row, best - 10, found)
        return weights.tobytes(), _native.exp_mass(name, row, best, divisor), found[:count].tolist()

    expected = outcome("scalar")
    for name in supported_sets()[1:]:
        assert outcome(name) == expected, name


@every_math
@pytest.mark.parametrize("length", LENGTHS)
def test_weights_and_their_sum_are_right_within_rounding(logits: LogitsMath, length: int) -> None:
    row = random_row(length)
    exact = np.exp((row.astype(np.float64) - row.max()) / np.float64(np.float32(0.7)))
    np.testing.assert_allclose(logits.exp_weights(row, row.max(), np.float32(0.7)), exact, rtol=3e-6)
    assert logits.exp_mass(row, row.max(), np.float32(0.7)) == pytest.approx(exact.sum(), rel=1e-6)


def test_what_is_far_off_or_masked_weighs_nothing() -> None:
    row = np.array([0.0, -88.0, -np.inf, -1e30], np.float32)
    assert CORE.exp_weights(row, np.float32(0.0), np.float32(1.0)).tolist() == [1.0, 0.0, 0.0, 0.0]
    weights = NumpyLogits().exp_weights(row, np.float32(0.0), np.float32(1.0))
    assert weights[0] == 1
    assert weights[1:].max() < 1e-38


@settings(max_examples=50, deadline=None)
@given(length=st.integers(1, 300), share=st.floats(0, 1), most=st.integers(0, 300))
def test_at_least_finds_what_reaches_the_threshold_or_says_that_it_is_too_much(
    length: int, share: float, most: int
) -> None:
    row = random_row(length)
    threshold = np.quantile(row, share).astype(np.float32)
    expected = (row >= threshold).nonzero()[0]
    for logits in (CORE, NumpyLogits()):
        found = logits.at_least(row, float(threshold), most)
        assert found is None if len(expected) > most else found is not None and found.tolist() == expected.tolist()
