"""Speech said faster or slower at the same pitch, for engines that know one speed.

WSOLA (Verhelst and Roelands, 1993): windows of the input are laid over each other at the distance that the wanted
speed asks for, each shifted by a few milliseconds to where it best continues the one before. Works on a stream, with a
window of delay; a speed of 1 changes nothing.
"""

from __future__ import annotations

import numpy as np

from pocketseek.apps.voice.contract import Samples

_WINDOW_S = 0.03
_SEARCH_S = 0.008  # either way: half a period of the deepest voice


class Tempo:
    """speed: 2.0 takes half the time."""

    def __init__(self, speed: float, sample_rate: int) -> None:
        self._speed = speed
        self._hop = max(1, int(sample_rate * _WINDOW_S / 2))
        self._search = max(1, int(sample_rate * _SEARCH_S))
        self._window = np.hanning(2 * self._hop + 1)[:-1].astype(np.float32)  # two halves add up to 1
        self._input = np.zeros(self._search, np.float32)
        self._start = -self._search  # position of the first sample of _input
        self._num_windows = 0
        self._num_in = 0
        self._natural = np.zeros(self._hop, np.float32)
        self._tail = np.zeros(self._hop, np.float32)

    def feed(self, samples: Samples) -> Samples:
        if self._speed == 1.0:
            return samples
        self._num_in += len(samples)
        self._input = np.concatenate([self._input, samples.astype(np.float32, copy=False)])
        return self._windows(self._start + len(self._input))

    def flush(self) -> Samples:
        """The rest; the speech is over."""
        if self._speed == 1.0:
            return np.zeros(0, np.float32)
        missing = round(self._num_in / self._speed) - self._num_windows * self._hop
        num_padded = int((missing + 4 * self._hop) * self._speed) + 4 * self._hop + 2 * self._search
        self._input = np.concatenate([self._input, np.zeros(max(0, num_padded), np.float32)])
        return self._windows(self._start + len(self._input))[: max(0, missing)]

    def _windows(self, end: int) -> Samples:
        """All that are complete before input position `end`."""
        pieces = []
        while self._nominal + 3 * self._hop + self._search <= end:
            pieces.append(self._next())
        return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)

    @property
    def _nominal(self) -> int:
        return round(self._num_windows * self._hop * self._speed)

    def _next(self) -> Samples:
        at = self._best(self._nominal)
        window = self._at(at, 2 * self._hop) * self._window
        out = self._tail + window[: self._hop] if self._num_windows else self._at(at, self._hop)
        self._tail = window[self._hop :]
        self._natural = self._at(at + self._hop, self._hop)
        self._num_windows += 1
        keep_from = min(self._nominal, at + self._hop) - self._search
        drop = max(0, keep_from - self._start)
        self._input, self._start = self._input[drop:], self._start + drop
        return out

    def _best(self, nominal: int) -> int:
        """Where the input goes on most like the window before would have."""
        if not self._num_windows:
            return nominal
        region = self._at(nominal - self._search, self._hop + 2 * self._search)
        likeness = np.correlate(region, self._natural, "valid")
        power = np.convolve(region * region, np.ones(self._hop, np.float32), "valid")
        return nominal - self._search + int(np.argmax(likeness / np.sqrt(power + 1e-6)))

    def _at(self, position: int, length: int) -> Samples:
        first = position - self._start
        return self._input[first : first + length]
