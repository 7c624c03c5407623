"""Where in a recording somebody speaks: what a recogniser is given of it, with times.

Silence is left out, since recognisers that get it make up words. Neighbours are brought together up to `most_s`,
because text gets better with context, and never across a pause of `apart_s`. Speech that goes on for longer is cut
where it is least like speech.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pocketseek.apps.voice.contract import SAMPLE_RATE, Samples, SpeechDetector
from pocketseek.apps.voice.endpoint import Endpointer, EndpointSettings

WHISPER_S = 28.0
"""What Whisper takes at once is 30 s."""
_MARGIN_S = 0.2
_DIP = 2  # frames on either side of one, where speech is cut
_PAUSES = EndpointSettings(
    least_hangover_s=0.3, usual_hangover_s=0.3, most_hangover_s=0.3, settle_s=10.0, longest_s=math.inf
)


@dataclass(frozen=True)
class Stretch:
    """Seconds of the recording."""

    start_s: float
    end_s: float

    def of(self, samples: Samples) -> Samples:
        return samples[int(self.start_s * SAMPLE_RATE) : int(self.end_s * SAMPLE_RATE)]


def stretches(
    samples: Samples, detector: SpeechDetector, *, most_s: float = WHISPER_S, apart_s: float = 2.0
) -> Iterator[Stretch]:
    """In order, without overlap, each of at most most_s."""
    end_s = len(samples) / SAMPLE_RATE
    longest_s = most_s - 2 * _MARGIN_S
    waiting: Stretch | None = None
    free_s = 0.0  # before here everything belongs to a stretch already
    for one in _spoken(samples, detector, longest_s):
        if waiting is not None and one.start_s - waiting.end_s < apart_s and one.end_s - waiting.start_s <= longest_s:
            waiting = Stretch(waiting.start_s, one.end_s)
            continue
        if waiting is not None:
            found = _with_margin(waiting, free_s, one.start_s)
            free_s = found.end_s
            yield found
        waiting = one
    if waiting is not None:
        yield _with_margin(waiting, free_s, end_s)


def _spoken(samples: Samples, detector: SpeechDetector, longest_s: float) -> Iterator[Stretch]:
    size = detector.frame_samples
    frame_s = size / SAMPLE_RATE
    ears, heard = Endpointer(frame_s, _PAUSES), list[float]()
    detector.reset()
    for start in range(0, len(samples) - size + 1, size):
        heard.append(detector.probability(samples[start : start + size]))
        if ears.push(heard[-1]) == "end":
            yield from _cut(heard, ears.start_frame, ears.end_frame, longest_s, frame_s)
    if ears.is_speaking:
        *before, last = _cut(heard, ears.start_frame, len(heard), longest_s, frame_s)
        yield from before
        yield Stretch(last.start_s, len(samples) / SAMPLE_RATE)


def _cut(heard: Sequence[float], first: int, end: int, longest_s: float, frame_s: float) -> Iterator[Stretch]:
    """heard: the probability of each frame."""
    most = max(2, int(longest_s / frame_s))
    while end - first > most:
        places = range(first + most // 2, first + most)
        place = min(places, key=lambda frame: (sum(heard[frame - _DIP : frame + _DIP + 1]), -frame))
        yield Stretch(first * frame_s, place * frame_s)
        first = place
    yield Stretch(first * frame_s, end * frame_s)


def _with_margin(stretch: Stretch, least_s: float, most_s: float) -> Stretch:
    """A consonant begins before it is noticed."""
    return Stretch(max(least_s, stretch.start_s - _MARGIN_S), min(most_s, stretch.end_s + _MARGIN_S))
