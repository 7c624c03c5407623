"""What the numbers of a delta come back as, and what no reader of them lets through."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pocketseek.errors import FormatError
from pocketseek.package.delta.byte_parts import ByteReader, ByteWriter
from pocketseek.package.delta.residuals import read_numbers, write_numbers

SPANS = ((0, 0), (0, 1), (-1, 0), (-1, 1), (-3, 3), (-20, 20), (-300, 300), (-70000, 70000), (-(2**31), 2**31 - 1))


def written(numbers: np.ndarray) -> bytes:
    out = ByteWriter()
    write_numbers(out, numbers)
    return bytes(out.data)


def read(data: bytes, count: int) -> np.ndarray:
    source = ByteReader(data)
    numbers = read_numbers(source, count)
    source.end()
    return numbers


@st.composite
def runs(draw: st.DrawFn) -> np.ndarray:
    """Mostly zero, within a span, with some far outside of it."""
    low, high = draw(st.sampled_from(SPANS))
    count = draw(st.integers(0, 3000))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    share = draw(st.sampled_from((0.0, 0.001, 0.02, 0.3, 1.0)))
    numbers = np.where(rng.random(count) < share, rng.integers(low, high + 1, count), 0).astype(np.int32)
    far = draw(st.integers(0, min(3, count)))
    numbers[rng.integers(0, count, far)] = rng.integers(-(2**31), 2**31, far)
    return numbers


@given(runs())
@settings(max_examples=150, deadline=None)
def test_numbers_come_back_as_they_were(numbers: np.ndarray) -> None:
    assert np.array_equal(read(written(numbers), len(numbers)), numbers)


@given(hnp.arrays(np.int32, st.integers(0, 40)))
@settings(deadline=None)
def test_any_numbers_come_back_as_they_were(numbers: np.ndarray) -> None:
    assert np.array_equal(read(written(numbers), len(numbers)), numbers)


def test_a_few_changes_among_many_take_about_what_their_places_tell() -> None:
    rng = np.random.default_rng(1)
    numbers = np.where(rng.random(100_000) < 0.01, rng.choice([-1, 1], 100_000), 0).astype(np.int32)
    entropy_bytes = 100_000 * 0.0908 / 8  # of one in a hundred, and its sign
    assert len(written(numbers)) < 1.1 * entropy_bytes


def test_numbers_that_are_all_the_same_take_next_to_nothing() -> None:
    assert len(written(np.full(100_000, -7, np.int32))) < 8


@given(runs(), st.data())
@settings(max_examples=60, deadline=None)
def test_damaged_bytes_give_numbers_or_an_error_and_nothing_else(numbers: np.ndarray, data: st.DataObject) -> None:
    damaged = bytearray(written(numbers))
    at = data.draw(st.integers(0, len(damaged) - 1))
    damaged[at] = data.draw(st.integers(0, 255))
    with suppress(FormatError):
        assert len(read(bytes(damaged), len(numbers))) == len(numbers)


@given(st.binary(max_size=60), st.integers(0, 2000))
def test_any_bytes_give_numbers_or_an_error(data: bytes, count: int) -> None:
    with suppress(FormatError):
        assert len(read(data, count)) == count


@pytest.mark.parametrize("cut", [1, 2, 10])
def test_cut_bytes_are_refused(cut: int) -> None:
    numbers = np.arange(-50, 50, dtype=np.int32)
    with pytest.raises(FormatError, match="delta"):
        read(written(numbers)[:-cut], len(numbers))
