"""A voice assistant without models: loud sound is words, answers are what the test says, and nothing takes time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np

from pocketseek.apps.voice.contract import SAMPLE_RATE, IsWanted, Samples, always
from pocketseek.apps.voice.session import VoiceSession, VoiceSettings
from pocketseek.apps.voice.style import ReadAloud
from pocketseek.types import TextEvent

FRAME = 512
_TONE_HZ = 400


def silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * SAMPLE_RATE), np.float32)


def speech(words: int, *, word_s: float = 0.32, level: float = 0.5) -> Samples:
    """So many words, one after the other: loud for as long as they last."""
    t = np.arange(int(words * word_s * SAMPLE_RATE)) / SAMPLE_RATE
    return (level * np.sin(2 * np.pi * _TONE_HZ * t)).astype(np.float32)


class LoudnessDetector:
    frame_samples = FRAME

    def probability(self, frame: Samples) -> float:
        return 1.0 if float(np.abs(frame).max()) > 0.1 else 0.0

    def reset(self) -> None:
        pass


class CountingRecogniser:
    """Says "word" for every 0.32 s of loud sound; fails in utterances of which `fails` says so."""

    name = "counting"
    languages: tuple[str, ...] = ()

    def __init__(self, fails: Callable[[int], bool] = lambda number: False) -> None:
        self._fails = fails
        self.num_started = 0
        self.num_open = 0
        self.longest_samples = 0

    def start(self, language: str | None) -> _Counting:
        self.num_started += 1
        self.num_open += 1
        return _Counting(self, self._fails(self.num_started))

    def close(self) -> None:
        pass


class _Counting:
    def __init__(self, owner: CountingRecogniser, fails: bool) -> None:
        self._owner = owner
        self._fails = fails
        self._loud = 0
        self._fed = 0
        self._is_over = False

    def feed(self, samples: Samples) -> None:
        self._loud += int((np.abs(samples) > 0.05).sum())
        self._fed += len(samples)
        self._owner.longest_samples = max(self._owner.longest_samples, self._fed)

    def partial(self, *, may_be_over: bool = False) -> str:
        return " ".join(["word"] * round(self._loud / SAMPLE_RATE / 0.3))

    def finish(self) -> str:
        if self._fails:
            raise RuntimeError("the engine crashed")
        text = self.partial()
        self.cancel()
        return text

    def cancel(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._owner.num_open -= 1


class ToneSynthesiser:
    """0.05 s of sound for every letter; fails for texts of which `fails` says so."""

    name = "tone"
    sample_rate = 8000

    def __init__(self, fails: Callable[[str], bool] = lambda text: False) -> None:
        self._fails = fails
        self.spoken: list[tuple[str, str]] = []

    def speak(self, text: str, language: str) -> Iterator[Samples]:
        if self._fails(text):
            raise RuntimeError("no voice")
        self.spoken.append((text, language))
        for _ in range(0, len(text), 4):
            yield np.full(self.sample_rate // 5, 0.3, np.float32)

    def close(self) -> None:
        pass


class ScriptedChat:
    """answer(question) gives the text, which comes word by word. hold: waited for before each word, if given."""

    def __init__(
        self, answer: Callable[[str], str] = lambda question: "Yes, it is. Good.", hold: threading.Event | None = None
    ) -> None:
        self._answer = answer
        self._hold = hold
        self.questions: list[str] = []
        self.kept: list[tuple[str, str]] = []
        self.kept_turns: list[int] = []
        self.warmed: list[str] = []

    def warm(self, text_so_far: str, is_wanted: IsWanted = always) -> int:
        self.warmed.append(text_so_far)
        return 7 * len(text_so_far.split())

    def stop_unwanted(self) -> None:
        pass

    def answer(self, text: str, is_wanted: IsWanted = always) -> Iterator[TextEvent]:
        self.questions.append(text)
        words = self._answer(text).split(" ")
        for number, word in enumerate(words, 1):
            if self._hold is not None:
                self._hold.wait()
            yield TextEvent(word if number == len(words) else word + " ", "", number, num_cached_prompt_tokens=64)
        yield TextEvent(num_tokens=len(words), finish_reason="stop")

    def keep(self, question: str, answer: str, turn: int = 0) -> None:
        self.kept.append((question, answer))
        self.kept_turns.append(turn)


def session_of(
    recogniser: CountingRecogniser | None = None,
    synthesiser: ToneSynthesiser | None = None,
    chat: ScriptedChat | None = None,
    settings: VoiceSettings | None = None,
    heat_share: Callable[[], float] = lambda: 1.0,
    detector: LoudnessDetector | None = None,
) -> VoiceSession:
    return VoiceSession(
        recogniser or CountingRecogniser(),
        synthesiser or ToneSynthesiser(),
        detector or LoudnessDetector(),
        chat or ScriptedChat(),
        ReadAloud(),
        settings or VoiceSettings(language="en"),
        heat_share=heat_share,
    )
