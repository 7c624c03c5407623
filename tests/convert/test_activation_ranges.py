"""Ranges from a histogram agree with those from the values themselves."""

from __future__ import annotations

import numpy as np
import pytest

from pocketseek.convert.activation_ranges import Histogram, Range
from pocketseek.convert.layer_math import Floats


def seen(*pieces: Floats) -> Histogram:
    histogram = Histogram()
    for piece in pieces:
        histogram.add(piece)
    return histogram


def skewed(rows: int = 40_000, seed: int = 3) -> Floats:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=rows) + rng.exponential(2, size=rows)).astype(np.float32)


def test_minmax_is_exact_whatever_the_pieces() -> None:
    values = skewed()
    together, apart = seen(values), seen(*np.split(values, 8))
    expected = Range(float(values.min()), float(values.max()))
    assert together.range("minmax") == apart.range("minmax") == expected


def test_pieces_of_growing_size_count_as_all_at_once() -> None:
    """Bins are merged when the reach doubles; no value moves into another bin by that."""
    values = np.sort(np.abs(skewed()))[None].T
    apart = seen(*np.split(values, 50))
    together = seen(values)
    assert apart.reach == together.reach
    np.testing.assert_array_equal(apart.counts, together.counts)


@pytest.mark.parametrize("percentile", [99.0, 99.9, 99.99])
def test_percentiles_are_those_of_the_values(percentile: float) -> None:
    values = skewed()
    histogram = seen(values)
    found = histogram.range("percentile", percentile=percentile)
    clipped = (100 - percentile) / 2
    low, high = np.percentile(values, [clipped, 100 - clipped], method="inverted_cdf")
    assert found.low == pytest.approx(low, abs=2 * histogram.bin_width)
    assert found.high == pytest.approx(high, abs=2 * histogram.bin_width)


def test_a_large_piece_is_sampled_evenly_and_its_ends_are_exact() -> None:
    values = skewed(2_500_000)
    values[1_234_567] = 300
    histogram = seen(values)
    assert histogram.high == 300
    high = histogram.range("percentile", percentile=99).high
    assert high == pytest.approx(np.percentile(values, 99.5), rel=0.02)


def test_entropy_clips_a_lone_value_far_out_and_nothing_of_an_even_distribution() -> None:
    rng = np.random.default_rng(1)
    even = rng.uniform(-1, 1, 200_000).astype(np.float32)
    assert seen(even).range("entropy").high == pytest.approx(1, abs=0.03)
    normal = rng.normal(size=200_000).astype(np.float32)
    normal[0] = 40
    assert 3 < seen(normal).range("entropy").high < 10


def test_of_16_bits_no_method_clips() -> None:
    values = skewed()
    ranges = {seen(values).range(method, bits=16) for method in ("minmax", "percentile", "entropy")}
    assert len(ranges) == 1


def test_zero_is_in_every_range() -> None:
    positive = seen(np.linspace(3, 4, 1000, dtype=np.float32))
    assert {positive.range(method).low for method in ("minmax", "percentile", "entropy")} == {0.0}
    assert seen(np.zeros(5, np.float32)).range("percentile") == Range(0, 0)


def test_rounding_noise_is_that_of_rounding() -> None:
    rng = np.random.default_rng(7)
    values = rng.normal(size=100_000).astype(np.float32)
    values[:10] = 60
    histogram = seen(values)
    step = (histogram.high - histogram.low) / 255
    bulk = values[np.abs(values) <= np.quantile(np.abs(values), 0.99)]
    error = np.rint(bulk / step) * step - bulk
    expected = float(np.mean(error**2) / np.mean(bulk**2))
    assert histogram.rounding_noise(8) == pytest.approx(expected, rel=0.05)
    assert histogram.rounding_noise(16) < expected / 50_000


def test_what_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        seen(np.array([1, np.inf], np.float32))


def test_a_range_without_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="not between"):
        Range(1.0, 2.0)
