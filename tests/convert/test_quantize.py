from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pocketseek.convert.quantize import dequantize, quantize
from pocketseek.errors import FormatError

FORMATS = ("q4s", "q4a", "q6s", "q8s")
RANGES = {"q4s": (0, 15), "q4a": (0, 15), "q6s": (0, 63), "q8s": (-127, 127)}


def gaussian(rows: int, cols: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, cols)).astype(np.float32)


def relative_error(format_name: str, values: np.ndarray) -> float:
    error = dequantize(format_name, quantize(format_name, values))[:, : values.shape[1]] - values
    return float(np.sqrt((error**2).sum() / (values**2).sum()))


def ggml_q4_0(values: np.ndarray) -> np.ndarray:
    """ggml's rule: the scale is the value of largest magnitude over -8, without a search."""
    blocks = values.reshape(-1, 32)
    peak = blocks[np.arange(len(blocks)), np.abs(blocks).argmax(1)]
    codes = np.minimum(15, np.floor(blocks / (peak / -8)[:, None] + 8.5))
    return ((codes - 8) * (peak / -8).astype(np.float16).astype(np.float32)[:, None]).reshape(values.shape)


@pytest.mark.parametrize("format_name", FORMATS)
@settings(max_examples=30, deadline=None)
@given(
    values=hnp.arrays(
        np.float32, st.tuples(st.integers(1, 3), st.integers(1, 70)), elements=st.floats(-65504, 65504, width=32)
    )
)
def test_every_value_is_within_one_step_of_its_block(format_name: str, values: np.ndarray) -> None:
    planes = quantize(format_name, values)
    low, high = RANGES[format_name]
    assert planes.quants.min() >= low
    assert planes.quants.max() <= high
    written = dequantize(format_name, planes)[:, : values.shape[1]]
    blocks = planes.scales.shape[1]
    padded = np.pad(np.abs(values), ((0, 0), (0, blocks * 32 - values.shape[1])))
    peaks = np.repeat(padded.reshape(len(values), blocks, 32).max(2), 32, axis=1)[:, : values.shape[1]]
    allowed = {"q4s": 1 / 7, "q4a": 1 / 7, "q6s": 1 / 28, "q8s": 1 / 250}[format_name]
    assert (np.abs(written - values) <= peaks * allowed + 5e-6).all()


@pytest.mark.parametrize("format_name", [*FORMATS, "q4p"])
def test_zeros_stay_zeros(format_name: str) -> None:
    assert not dequantize(format_name, quantize(format_name, np.zeros((3, 64), np.float32))).any()


@pytest.mark.parametrize("format_name", [*FORMATS, "q4p"])
def test_values_too_small_for_a_scale_become_zeros(format_name: str) -> None:
    tiny = np.full((1, 32), 1e-38, np.float32)
    assert not dequantize(format_name, quantize(format_name, tiny)).any()


@pytest.mark.parametrize("format_name", [*FORMATS, "q4p"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_values_that_no_scale_can_carry_are_refused(format_name: str, bad: float) -> None:
    values = gaussian(4, 96)
    values[2, 50] = bad
    with pytest.raises(FormatError, match="not finite or too large"):
        quantize(format_name, values)


@pytest.mark.parametrize("format_name", [*FORMATS, "q4p"])
def test_rows_do_not_influence_each_other(format_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = gaussian(9, 160)
    whole = dequantize(format_name, quantize(format_name, values))
    monkeypatch.setattr("pocketseek.convert.quantize._BLOCKS_AT_ONCE", 24)
    parts = [dequantize(format_name, quantize(format_name, values[row : row + 1])) for row in range(9)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("format_name", ["q4s", "q4p", "q6s", "q8s"])
def test_columns_are_padded_with_zeros(format_name: str) -> None:
    assert not dequantize(format_name, quantize(format_name, gaussian(2, 40)))[:, 40:].any()


def test_q8s_takes_the_peak_over_127_and_rounds_half_to_even() -> None:
    values = np.zeros((1, 32), np.float32)
    values[0, :5] = [127 * 0.25, 0.5 * 0.25, 1.5 * 0.25, -2.5 * 0.25, -127 * 0.25]
    planes = quantize("q8s", values)
    assert planes.scales[0, 0] == 0.25
    assert planes.quants[0, 0, :5].tolist() == [127, 0, 2, -2, -127]


def test_q8s_repeats_what_it_wrote() -> None:
    written = dequantize("q8s", quantize("q8s", gaussian(20, 320)))
    np.testing.assert_array_equal(dequantize("q8s", quantize("q8s", written)), written)


def test_q4s_loses_less_than_ggmls_rule() -> None:
    values = gaussian(64, 1024)
    ggml_error = float(np.sqrt(((ggml_q4_0(values) - values) ** 2).sum() / (values**2).sum()))
    assert relative_error("q4s", values) < 0.96 * ggml_error


def test_q6s_repeats_what_it_wrote() -> None:
    codes = np.random.default_rng(3).integers(-32, 32, (20, 320)).astype(np.float32)
    codes[:, ::32] = -32  # every code is reached from the scale that the largest one gives
    np.testing.assert_array_equal(dequantize("q6s", quantize("q6s", codes * np.float32(0.25))), codes * 0.25)


def test_errors_on_gaussian_weights_are_the_documented_ones() -> None:
    values = gaussian(64, 1024)
    assert relative_error("q4s", values) < 0.082
    assert relative_error("q4a", values) < 0.076
    assert relative_error("q6s", values) < 0.0201
    assert relative_error("q8s", values) < 0.0055
    assert relative_error("q4p", values) < 0.087


@pytest.mark.parametrize("cols", [32, 96, 256, 300, 512])
def test_q4p_keeps_shape_and_range_for_any_number_of_blocks(cols: int) -> None:
    planes = quantize("q4p", gaussian(5, cols))
    blocks = -(-cols // 32)
    assert planes.steps is not None
    assert planes.quants.shape == (5, blocks, 32)
    assert planes.steps.shape == (5, blocks)
    assert planes.scales.shape == (5, -(-blocks // 8))
    assert planes.quants.max() <= 15
    assert planes.steps.max() <= 15
    assert relative_error("q4p", gaussian(5, cols)) < 0.1


def test_q4p_follows_blocks_of_very_different_size() -> None:
    sizes = np.repeat(np.float32([1, 8, 2, 0, 4, 1, 3, 8, 5]), 32)
    values = gaussian(40, len(sizes)) * sizes
    assert relative_error("q4p", values) < 0.1
    assert not dequantize("q4p", quantize("q4p", values))[:, 96:128].any()


def test_q4a_follows_values_that_are_all_positive() -> None:
    values = gaussian(16, 256) * np.float32(0.1) + 5
    assert relative_error("q4a", values) < 0.3 * relative_error("q4s", values)
