"""What the parts of a voice assistant must be able to do, and nothing about how.

Audio is mono float32 in [-1, 1], shape (samples,). Recognisers and detectors are fed 16,000 samples a second; a
synthesiser says its own rate. Languages are "en", "zh" and so on (ISO 639-1). A part may be used from one thread at a
time, which need not be the one that made it. A part that fails in mid-work raises VoiceError; it may be used
again afterwards, or is made anew by its owner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pocketseek.types import TextEvent

Samples = NDArray[np.float32]
SAMPLE_RATE = 16_000
"""Of everything that is listened to, Hz."""


class Utterance(Protocol):
    """One stretch of speech that is being recognised, from one worker thread."""

    def feed(self, samples: Samples) -> None:
        """16 kHz, any length."""

    def partial(self, *, may_be_over: bool = False) -> str:
        """The text of what was fed so far, which later may be another; "" of engines that only finish. Works as long
        as that takes: who asks decides how often. may_be_over: silence followed, so this is worth all care."""

    def finish(self) -> str:
        """The text of all of it; ends the utterance. Quick if nothing was fed since `partial`."""

    def cancel(self) -> None:
        """Ends it without a text. May be repeated, and follow `finish`."""


class Recogniser(Protocol):
    """languages: those that it knows; empty: whatever its model knows."""

    @property
    def name(self) -> str: ...

    @property
    def languages(self) -> tuple[str, ...]: ...

    def start(self, language: str | None) -> Utterance:
        """None: the engine finds out. Utterances follow one another; none begins before the one before ended."""

    def close(self) -> None: ...


class Synthesiser(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def sample_rate(self) -> int: ...

    def speak(self, text: str, language: str) -> Iterator[Samples]:
        """Pieces as they become ready; closing the iterator stops the work. Text without a sound gives none."""

    def close(self) -> None: ...


class SpeechDetector(Protocol):
    """Says how likely it is that somebody speaks. It remembers what came before until `reset`."""

    @property
    def frame_samples(self) -> int: ...

    def probability(self, frame: Samples) -> float:
        """Of the next `frame_samples` samples, 0 to 1."""

    def reset(self) -> None: ...


IsWanted = Callable[[], bool]


def always() -> bool:
    return True


class VoiceChat(Protocol):
    """One conversation with a model. All but `stop_unwanted` come from one thread at a time.

    is_wanted: asked from any thread, quick, and never again true once it was false. What is not wanted is not begun;
    what became so while it was computed ends early, which is no error, when `stop_unwanted` is called.
    """

    def warm(self, text_so_far: str, is_wanted: IsWanted = always) -> int:
        """Compute the prompt that begins like this ahead of time; the number of its tokens that are computed by then.
        Blocks while it works."""

    def answer(self, text: str, is_wanted: IsWanted = always) -> Iterator[TextEvent]:
        """The pieces of an answer to this, after what was kept. Closing the iterator ends it; nothing is kept by it."""

    def stop_unwanted(self) -> None:
        """From any thread, after is_wanted of what may be under way became false."""

    def keep(self, question: str, answer: str, turn: int = 0) -> None:
        """This was asked, and this much of the answer was heard: it belongs to the conversation from now on.
        turn: the session's number of it."""


class ClauseSplitter(Protocol):
    """Cuts an answer, as it comes, into what is worth being spoken in one go."""

    def feed(self, text: str) -> list[str]: ...

    def finish(self) -> list[str]:
        """What is left. The splitter is done with."""


class SpeechShape(Protocol):
    """From what a model writes to what is read out."""

    def parts(self, text: str, language: str) -> Sequence[tuple[str, str]]:
        """(what is to be said, its language), in order; none if nothing of it can be said. language: the answer's."""

    def clauses(self, language: str) -> ClauseSplitter: ...
