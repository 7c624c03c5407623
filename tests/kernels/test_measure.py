"""The limits of this machine: figures that can be limits at all, and requests that cannot be measured."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pocketseek.kernels import _native
from pocketseek.kernels.choose import supported_sets
from pocketseek.kernels.measure import measure_limits

SMALL_BUFFER_BYTES = 4 * 1024 * 1024


@pytest.mark.parametrize("instruction_set", supported_sets())
@pytest.mark.parametrize("num_threads", [1, 3])
def test_every_set_and_thread_count_has_limits(instruction_set: str, num_threads: int) -> None:
    limits = measure_limits(instruction_set, num_threads, buffer_bytes=SMALL_BUFFER_BYTES)
    assert (limits.instruction_set, limits.num_threads) == (instruction_set, num_threads)
    for rate in (
        limits.read_bandwidth_bytes_per_s,
        limits.int8_multiply_adds_per_s,
        limits.f32_multiply_adds_per_s,
    ):
        assert math.isfinite(rate)
        assert rate > 0


def test_a_buffer_may_begin_anywhere() -> None:
    buffer = np.ones(SMALL_BUFFER_BYTES, np.uint8)
    assert all(_native.read_bandwidth(supported_sets()[-1], 1, buffer[start:], 2) > 0 for start in (0, 1, 63))


def test_what_cannot_be_measured_is_refused() -> None:
    best, buffer = supported_sets()[-1], np.ones(SMALL_BUFFER_BYTES, np.uint8)
    with pytest.raises(ValueError, match="too small"):
        _native.read_bandwidth(best, 1, np.ones(1000, np.uint8), 1)
    with pytest.raises(ValueError, match="not available"):
        _native.read_bandwidth("abacus", 1, buffer, 1)
    with pytest.raises(ValueError, match="num_threads"):
        _native.int8_peak(best, 0, 1)
