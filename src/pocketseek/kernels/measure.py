"""How fast this machine can read memory and multiply at all: the limits that the kernels are compared with.

Each figure is taken from many runs of 2 to 5 ms with all threads at once: the best of 0.1 s in all for each of the two
rates of arithmetic (operands in registers), since other work can only lower a run; the upper quartile of 5 GB in all
for reading, since a large last-level cache can also raise one. They are the figures of
a warm processor, before heat slows it down. Nothing is kept: the caller passes the figures on.

The buffer is anonymous memory in huge pages where the system grants them; a mapped package lies in small pages and may
stay a few percent below.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pocketseek.errors import MemoryLimitError
from pocketseek.kernels import _native

DEFAULT_BUFFER_BYTES = 256 * 1024 * 1024  # several times the last-level cache of a phone or PC; servers need more
READ_REPEATS = 100  # of 50 MB
ARITHMETIC_REPEATS = 60  # of 2 ms


@dataclass(frozen=True)
class MachineLimits:
    """What `num_threads` threads reach together with one instruction set.

    int8: products of bytes added up in 32 bits (in 16 bits with plain AVX2), by the instruction that the kernels use.
    """

    instruction_set: str
    num_threads: int
    read_bandwidth_bytes_per_s: float
    int8_multiply_adds_per_s: float
    f32_multiply_adds_per_s: float


def measure_limits(
    instruction_set: str, num_threads: int, *, buffer_bytes: int = DEFAULT_BUFFER_BYTES
) -> MachineLimits:
    """Takes about a second and `buffer_bytes` of memory, which should exceed the last-level cache several times.

    instruction_set: one of `supported_sets()`. Raises MemoryLimitError if the buffer is refused.
    """
    return MachineLimits(
        instruction_set,
        num_threads,
        measure_read_bandwidth(instruction_set, num_threads, buffer_bytes=buffer_bytes),
        _native.int8_peak(instruction_set, num_threads, ARITHMETIC_REPEATS),
        _native.f32_peak(instruction_set, num_threads, ARITHMETIC_REPEATS),
    )


def measure_read_bandwidth(
    instruction_set: str, num_threads: int, *, buffer_bytes: int = DEFAULT_BUFFER_BYTES
) -> float:
    """Bytes per second. Memory and errors as in `measure_limits`."""
    try:
        buffer = np.ones(buffer_bytes, np.uint8)  # written, or every page would be the one page of zeros
    except MemoryError as error:
        raise MemoryLimitError(
            f"{buffer_bytes} bytes to read are refused by the system; measure with a smaller buffer"
        ) from error
    return _native.read_bandwidth(instruction_set, num_threads, buffer, READ_REPEATS)
