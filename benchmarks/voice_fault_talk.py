"""A conversation that the other files of `voice_faults.py` disturb: a session with the engines that are installed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import numpy as np

from pocketseek.apps.voice.bench.error_rate import word_errors
from pocketseek.apps.voice.contract import SAMPLE_RATE, Recogniser, Samples, SpeechDetector, Synthesiser, VoiceChat
from pocketseek.apps.voice.engine_chat import EngineChat
from pocketseek.apps.voice.engines.choose import choose_detector, choose_recogniser, choose_synthesiser
from pocketseek.apps.voice.events import Transcript, TurnEnded, TurnFailed, VoiceEvent
from pocketseek.apps.voice.session import VoiceSession, VoiceSettings
from pocketseek.apps.voice.sound.recording import speak
from pocketseek.apps.voice.style import ReadAloud, spoken_style
from pocketseek.errors import PocketseekError
from pocketseek.runtime.engine import Engine
from pocketseek.settings import read_settings

LANGUAGE = "en"
QUESTION = "What is the capital of France?"
END_S = 2.5
"""Of silence, after which speech is over."""
Found = tuple[str, bool]
"""What happened, and whether that is well."""
_MOST_ERRORS = 0.34  # of the question's words: it was understood
_MOST_BACKLOG_S = 5.0
_PATIENCE_S = 900.0  # the machine may be busy with much else
_MAX_TOKENS = 8


class Ear:
    """The parts of a conversation, opened once."""

    def __init__(self, engine: Engine) -> None:
        settings = read_settings()
        self.engine = engine
        self.chosen_recogniser = choose_recogniser(settings, LANGUAGE)
        self.chosen_voice = choose_synthesiser(settings, LANGUAGE)
        self.recogniser: Recogniser = self.chosen_recogniser.open()
        self.voice: Synthesiser = self.chosen_voice.open()
        self.chosen_detector = choose_detector(settings)
        self.question = self.spoken(QUESTION)

    def spoken(self, text: str) -> Samples:
        return np.concatenate(list(speak(iter([(text, LANGUAGE)]), self.voice, sample_rate=SAMPLE_RATE)))

    def chat(self) -> VoiceChat:
        style = spoken_style(LANGUAGE, max_tokens=_MAX_TOKENS)
        return EngineChat(self.engine, system=style.system, max_tokens=style.max_tokens)

    def close(self) -> None:
        self.recogniser.close()
        self.voice.close()


class Talk:
    """A session, and what it said so far."""

    def __init__(self, session: VoiceSession) -> None:
        self.session = session
        self.events: list[VoiceEvent] = []
        self.error: PocketseekError | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def hear(self, *parts: Samples) -> None:
        """As fast as it is understood."""
        samples = np.concatenate(parts)
        for start in range(0, len(samples), SAMPLE_RATE):
            self.wait(lambda: self.session.backlog_s < _MOST_BACKLOG_S)
            self.session.feed(samples[start : start + SAMPLE_RATE])

    def ask(self, ear: Ear) -> bool:
        """The question; whether it is understood and answered. What was said before has ended by then."""
        self.wait(lambda: self.session.backlog_s == 0)
        num_ended, num_told = len(self.ended), len(self.texts)
        self.session.played(1e6)
        self.hear(silence(0.5), ear.question, silence(END_S))
        self.wait(lambda: len(self.ended) > num_ended or self.error is not None)
        return is_question(self.texts[num_told:]) and isinstance(self.ended[-1], TurnEnded)

    def wait(self, is_so: Callable[[], bool]) -> None:
        until_s = time.monotonic() + _PATIENCE_S
        while not is_so():
            if time.monotonic() > until_s:
                raise SystemExit(f"nothing happens any more: {self.texts}, {self.ended[-1:]}")
            time.sleep(0.005)

    @property
    def texts(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Transcript)]

    @property
    def ended(self) -> list[VoiceEvent]:
        return [event for event in self.events if isinstance(event, TurnEnded | TurnFailed)]

    @property
    def failures(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, TurnFailed)]

    def count(self, kind: type[VoiceEvent]) -> int:
        return sum(isinstance(event, kind) for event in self.events)

    def _read(self) -> None:
        try:
            for event in self.session.events():
                self.events.append(event)
        except PocketseekError as error:
            self.error = error


@contextmanager
def talking(
    ear: Ear,
    recogniser: Recogniser | None = None,
    voice: Synthesiser | None = None,
    chat: VoiceChat | None = None,
    detector: SpeechDetector | None = None,
) -> Iterator[Talk]:
    session = VoiceSession(
        recogniser or ear.recogniser,
        voice or ear.voice,
        detector or ear.chosen_detector.open(),
        chat or ear.chat(),
        ReadAloud(),
        VoiceSettings(language=LANGUAGE),
    )
    with closing(session):
        yield Talk(session)


def silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * SAMPLE_RATE), np.float32)


def is_question(texts: list[str]) -> bool:
    rate = word_errors(QUESTION, " ".join(texts), LANGUAGE).rate
    return rate is not None and rate <= _MOST_ERRORS


def said(understood: bool) -> str:
    return "was understood and answered" if understood else "was NOT understood"
