"""Numbers from 0 on come back as they were, in about as many bits as their spread asks for."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pocketseek.errors import FormatError
from pocketseek.package.delta.byte_parts import ByteReader, ByteWriter
from pocketseek.package.delta.naturals import read_naturals, write_naturals


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


@given(st.integers(0, 2**32), st.sampled_from((2**33, 2**39)), st.integers(1, 40))
@settings(deadline=None)
def test_what_is_written_has_no_more_unary_bits_than_are_read(seed: int, largest: int, count: int) -> None:
    """Most small and some as large as they can be: the longest unary runs that the writer may choose."""
    source = np.random.default_rng(seed)
    numbers = np.where(source.random(count) < 0.9, source.integers(0, 3, count), source.integers(0, largest, count))
    assert np.array_equal(read(written(numbers), count), numbers)


@pytest.mark.parametrize("low_bits", [0, 3, 32])
def test_many_numbers_come_back_from_slabs(low_bits: int) -> None:
    count = 3 * 2**16 + 5
    numbers = np.random.default_rng(low_bits).integers(0, 1 << low_bits, count)
    assert np.array_equal(read(written(numbers), count), numbers)


@pytest.mark.parametrize("is_ones", [True, False])
def test_bits_beyond_their_count_take_no_memory(is_ones: bool) -> None:
    """100 kB of unary bits for three numbers: unpacked they would take 8 times as much, and 64 times as places."""
    out = ByteWriter()
    out.number(1)
    out.number(800_000)
    out.data += (b"\xff" if is_ones else b"\x00") * 100_000
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            read(bytes(out.data), 3)
        assert tracemalloc.get_traced_memory()[1] < 300_000
    finally:
        tracemalloc.stop()


def test_low_bits_take_memory_for_a_slab_at_a_time() -> None:
    count = 2**19
    numbers = np.random.default_rng(7).integers(0, 2**32, count)
    out = ByteWriter()
    out.number(33)
    out.number(count)
    out.data += b"\xff" * (count // 8) + numbers.astype("<u4").tobytes()
    data = bytes(out.data)
    tracemalloc.start()
    try:
        assert np.array_equal(read(data, count), numbers)
        assert tracemalloc.get_traced_memory()[1] < 64 * count
    finally:
        tracemalloc.stop()
