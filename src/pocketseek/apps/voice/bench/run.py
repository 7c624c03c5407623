"""Running a voice benchmark: every file through a session, then what was understood of labelled requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pocketseek.apps.voice.bench.files import SpokenFile
from pocketseek.apps.voice.bench.intents import (
    IntentEngine,
    IntentRequest,
    IntentSet,
    Understanding,
    evaluate_understanding,
)
from pocketseek.apps.voice.bench.turns import NoAnswers, PlayedFile, play
from pocketseek.apps.voice.contract import SAMPLE_RATE, Recogniser, SpeechDetector, Synthesiser, VoiceChat
from pocketseek.apps.voice.session import VoiceSession, VoiceSettings
from pocketseek.apps.voice.style import ReadAloud
from pocketseek.errors import UsageError

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Player:
    """open_chat: a new conversation in a language; None: nothing is answered. language: of all files; None: as each
    file says, and of one that does not, whatever the recogniser finds.
    """

    recogniser: Recogniser
    synthesiser: Synthesiser
    detector: SpeechDetector
    open_chat: Callable[[str], VoiceChat] | None
    language: str | None = None
    fast: bool = False
    settings: VoiceSettings = field(default_factory=VoiceSettings)

    def open_parts(self) -> None:
        """Open and use once what is opened on demand, so that no turn is measured that waits for it."""
        utterance = self.recogniser.start(self.language)
        utterance.feed(np.zeros(SAMPLE_RATE, np.float32))
        utterance.finish()
        for language in dict.fromkeys((self.language or "en", "en")):
            for _ in self.synthesiser.speak("one", language):
                pass

    def play(self, files: Sequence[SpokenFile], progress: Callable[[int, SpokenFile], None]) -> list[PlayedFile]:
        self.open_parts()
        played: list[PlayedFile] = []
        for number, file in enumerate(files):
            progress(number, file)
            played.append(play(self._session(file.language), file, fast=self.fast))
        return played

    def _session(self, file_language: str | None) -> VoiceSession:
        language = self.language or file_language
        chat = NoAnswers() if self.open_chat is None else self.open_chat(language or "en")
        settings = replace(self.settings, language=language)
        return VoiceSession(self.recogniser, self.synthesiser, self.detector, chat, ReadAloud(), settings)


def understanding_of(
    engine: IntentEngine, played: Sequence[PlayedFile], labels: Mapping[str, Mapping[str, str]], progress: Progress
) -> dict[str, Understanding]:
    """Of the labelled files: with what is said in them ("text", if that is known of all), and with what was heard.

    Raises UsageError for a label that the intent set does not have.
    """
    labelled = [one for one in played if one.file.intent is not None]
    if not labelled:
        return {}
    intents = IntentSet(labels, tuple(_request(one, labels) for one in labelled))
    heard = {index: one.transcript for index, one in enumerate(labelled)}
    steps = _Steps(progress, len(labelled) * (2 if all(one.file.reference for one in labelled) else 1))
    found: dict[str, Understanding] = {}
    if all(one.file.reference for one in labelled):
        found["text"] = evaluate_understanding(engine, intents, progress=steps)
    steps.begin_next()
    found["speech"] = evaluate_understanding(engine, intents, heard=heard, progress=steps)
    return found


class _Steps:
    """Two counts as one."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._before = self._done = 0

    def __call__(self, done: int, total: int) -> None:
        self._done = self._before + done
        self._progress(self._done, self._total)

    def begin_next(self) -> None:
        self._before = self._done


def _request(one: PlayedFile, labels: Mapping[str, Mapping[str, str]]) -> IntentRequest:
    intent, language = one.file.intent or "", one.file.language or ""
    if language not in labels.get(intent, {}):
        known = ", ".join(sorted(labels))
        raise UsageError(f"{one.file.name} is labelled {intent!r:.40} in {language!r:.10}; use one of: {known}")
    return IntentRequest(one.file.reference or "", language, intent)
