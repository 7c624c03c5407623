"""Noise that the detector takes for speech: after some of it in which nobody said a word, what is no louder counts as
silence, until it is quiet again.

A fan, a tram or a crowd would else begin one turn after the other, each with the recogniser at work and nobody heard.
Who speaks is closer to the microphone than the noise, and so is still heard. Pure decisions over frames.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from pocketseek.apps.voice.contract import Samples

ENOUGH_S = 8.0
"""Of speech without a word, in turns that follow each other: coughs and clicks are not that long."""
MOST_WORDLESS_S = 12.0
"""Of one turn, after which it is given up if the recogniser, which tells texts so far, has none."""
_MARGIN_DB = 6.0  # above the noise that a voice has to be
_STILL_DB = 3.0  # while somebody speaks: less, or quiet syllables would end it
_OVER_DB = 10.0  # below the gate, all of the time: the noise is gone
_OVER_S = 5.0
_LOUDEST_GATE_DB = -12.0  # of full scale; who speaks into the microphone gets above it
_KEPT_FRAMES = 400  # of an utterance, to know its level by
_SILENT_DB = -120.0


@dataclass(frozen=True)
class SpeechLevel:
    """Of an utterance. level_db: that nine of ten of its frames stay below."""

    seconds: float
    level_db: float


class NoiseGate:
    """For one thread. frame_s: seconds in a frame."""

    def __init__(self, frame_s: float) -> None:
        self._frame_s = frame_s
        self._levels: deque[float] = deque(maxlen=_KEPT_FRAMES)
        self._num_frames = 0
        self._wordless: list[SpeechLevel] = []
        self._quiet_s = 0.0
        self.gate_db: float | None = None
        """None: everything counts."""

    @property
    def is_noisy(self) -> bool:
        return self.gate_db is not None

    def passed(self, frame: Samples, probability: float, *, is_speaking: bool) -> float:
        """The probability of speech; 0 of what is not louder than the noise."""
        level_db = level_of(frame)
        if is_speaking:
            self._levels.append(level_db)
            self._num_frames += 1
        if self.gate_db is None:
            return probability
        self._quiet_s = self._quiet_s + self._frame_s if level_db < self.gate_db - _OVER_DB else 0.0
        if self._quiet_s >= _OVER_S:
            self.gate_db, self._wordless = None, []
            return probability
        return probability if level_db >= self.gate_db - (_STILL_DB if is_speaking else 0.0) else 0.0

    def began(self) -> None:
        self._levels.clear()
        self._num_frames = 0

    def ended(self) -> SpeechLevel:
        """Of the utterance that ends here."""
        level_db = float(np.percentile(list(self._levels), 90)) if self._levels else _SILENT_DB
        return SpeechLevel(self._num_frames * self._frame_s, level_db)

    def judge(self, level: SpeechLevel, *, has_words: bool) -> None:
        """What the recogniser made of an utterance."""
        if has_words:
            self._wordless = []
            return
        self._wordless.append(level)
        if sum(one.seconds for one in self._wordless) >= ENOUGH_S:
            noise_db = max(one.level_db for one in self._wordless)
            self.gate_db = min(_LOUDEST_GATE_DB, noise_db + _MARGIN_DB)
            self._wordless, self._quiet_s = [], 0.0


def level_of(frame: Samples) -> float:
    """dB of full scale."""
    power = float(np.mean(frame.astype(np.float64) ** 2)) if len(frame) else 0.0
    return max(_SILENT_DB, 10 * float(np.log10(power))) if power > 0 else _SILENT_DB
