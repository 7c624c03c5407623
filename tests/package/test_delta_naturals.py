"""Numbers from 0 on come back as they were, in about as many bits as their spread asks for."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pocketseek.errors import FormatError
from pocketseek.package.delta_bytes import ByteReader, ByteWriter
from pocketseek.package.delta_naturals import read_naturals, write_naturals


def written(numbers: np.ndarray) -> bytes:
    out = ByteWriter()
    write_naturals(out, numbers)
    return bytes(out.data)


def read(data: bytes, count: int) -> np.ndarray:
    source = ByteReader(data)
    numbers = read_naturals(source, count)
    source.end()
    return numbers


@given(st.integers(0, 2**32), st.sampled_from((0, 1, 7, 100, 5000, 2**20, 2**39)), st.integers(1, 500))
@settings(deadline=None)
def test_numbers_come_back(seed: int, largest: int, count: int) -> None:
    numbers = np.random.default_rng(seed).integers(0, largest + 1, count)
    assert np.array_equal(read(written(numbers), count), numbers)


@given(hnp.arrays(np.int64, st.integers(1, 20), elements=st.integers(0, 2**40 - 1)))
@settings(deadline=None)
def test_any_numbers_come_back(numbers: np.ndarray) -> None:
    assert np.array_equal(read(written(numbers), len(numbers)), numbers)


@pytest.mark.parametrize("count", [30, 3000])
@pytest.mark.parametrize("mean", [2, 40, 3000])
def test_gaps_at_random_take_about_what_they_tell(count: int, mean: int) -> None:
    gaps = np.random.default_rng(1).geometric(1 / mean, count) - 1
    entropy_bits = np.log2(mean) + 1.443
    assert len(written(gaps)) < count * entropy_bits / 8 * 1.12 + 6


@given(st.binary(max_size=60), st.integers(1, 300))
def test_any_bytes_give_numbers_or_an_error(data: bytes, count: int) -> None:
    with suppress(FormatError):
        assert len(read(data, count)) == count
