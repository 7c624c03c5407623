"""From one sample rate to another, exactly, in pieces of any length.

A windowed sinc (Kaiser) in polyphase form: for the ratio of the two rates in lowest terms every output sample has one
of `up` filters. The passband reaches 0.9 of the lower Nyquist frequency; what would fold back is 80 dB down. Pieces
give the same samples, to the bit, as the whole at once: each output is one sum in one order.
"""

from __future__ import annotations

from math import ceil, gcd

import numpy as np

from pocketseek.apps.voice.contract import SAMPLE_RATE, Samples
from pocketseek.errors import UsageError

_ZERO_CROSSINGS = 24
_KAISER_BETA = 8.0
_PASSBAND = 0.94
_MOST_AT_ONCE = 4096
_MOST_WEIGHTS = 1_000_000  # of all filters together; an odd rate has thousands of them: 11,127 Hz needs 832,000
RATES = range(4_000, 400_001)
"""Those that sound devices and files have, Hz."""


def is_convertible(from_rate: int, to_rate: int = SAMPLE_RATE) -> bool:
    """Whether both are rates of sound, and their ratio is one whose filters fit in a few megabytes: a file may name
    any number as its rate."""
    if from_rate not in RATES or to_rate not in RATES:
        return False
    up, _, _, half = _shape(from_rate, to_rate)
    return from_rate == to_rate or 2 * half * up <= _MOST_WEIGHTS


class Resampler:
    """One stream. Raises UsageError for a rate that no device has."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        for rate in (from_rate, to_rate):
            if rate not in RATES:
                raise UsageError(f"a sample rate of {rate} Hz is not possible; use one from 4000 to 400000 Hz")
        if not is_convertible(from_rate, to_rate):
            raise UsageError(f"{from_rate} Hz is not converted to {to_rate} Hz; use a usual rate, such as 48000 Hz")
        self._up, self._down, cutoff, self._half = _shape(from_rate, to_rate)
        self._filters = _filters(self._up, self._half, cutoff)
        self._buffer = np.zeros(self._half - 1, np.float32)
        self._start = 1 - self._half  # input position of the buffer's first sample
        self._num_in = self._num_out = 0

    def feed(self, samples: Samples) -> Samples:
        """What can be said of the output so far."""
        if self._up == self._down:
            return samples
        self._num_in += len(samples)
        return self._push(samples, None)

    def flush(self) -> Samples:
        """The rest; the stream is over. In all there are ceil(inputs * to_rate / from_rate) samples."""
        if self._up == self._down:
            return np.zeros(0, np.float32)
        total = -(-self._num_in * self._up // self._down)
        return self._push(np.zeros(self._half + self._down, np.float32), total)

    def _push(self, samples: Samples, total: int | None) -> Samples:
        self._buffer = np.concatenate([self._buffer, samples.astype(np.float32, copy=False)])
        end = self._start + len(self._buffer) - self._half  # the last input that all later ones are known of
        ready = max(self._num_out, -(-end * self._up // self._down)) if end > 0 else self._num_out
        if total is not None:
            ready = max(self._num_out, total)
        pieces = [
            self._outputs(first, min(first + _MOST_AT_ONCE, ready))
            for first in range(self._num_out, ready, _MOST_AT_ONCE)
        ]
        self._num_out = ready
        self._forget()
        return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)

    def _outputs(self, first: int, end: int) -> Samples:
        steps = np.arange(first, end, dtype=np.int64) * self._down
        bases = steps // self._up - self._half + 1 - self._start
        windows = self._buffer[bases[:, None] + np.arange(2 * self._half)]
        sums: Samples = np.einsum("ij,ij->i", windows, self._filters[steps % self._up])
        return sums

    def _forget(self) -> None:
        keep_from = self._num_out * self._down // self._up - self._half + 1
        drop = max(0, min(keep_from - self._start, len(self._buffer)))
        self._buffer = self._buffer[drop:]
        self._start += drop


def resample(samples: Samples, from_rate: int, to_rate: int) -> Samples:
    """All at once."""
    stream = Resampler(from_rate, to_rate)
    return np.concatenate([stream.feed(samples), stream.flush()])


def _shape(from_rate: int, to_rate: int) -> tuple[int, int, float, int]:
    """The ratio in lowest terms, the cutoff (of the Nyquist frequency of the input), half the length of a filter."""
    divisor = gcd(from_rate, to_rate)
    up, down = to_rate // divisor, from_rate // divisor
    cutoff = min(1.0, up / down) * _PASSBAND
    return up, down, cutoff, ceil(_ZERO_CROSSINGS / cutoff)


def _filters(up: int, half: int, cutoff: float) -> Samples:
    """(up, 2 half): row p weighs inputs -half+1 .. half around an output that lies p/up after input 0."""
    offsets = np.arange(-half + 1, half + 1)[None] - (np.arange(up) / up)[:, None]
    window = np.i0(_KAISER_BETA * np.sqrt(np.clip(1 - (offsets / half) ** 2, 0, 1))) / np.i0(_KAISER_BETA)
    rows = cutoff * np.sinc(cutoff * offsets) * window
    return np.ascontiguousarray(rows / rows.sum(axis=1, keepdims=True), np.float32)
