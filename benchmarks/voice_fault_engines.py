"""Engines that fail in the middle of a turn, for voice_faults.py: the recogniser and the voice as their own libraries
do it once their model is gone, the model and the detector by an error of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from voice_fault_talk import END_S, Ear, Found, Talk, said, silence, talking

from pocketseek.apps.voice.contract import Recogniser, Samples, Synthesiser, VoiceChat
from pocketseek.apps.voice.on_demand import OnDemand, OnDemandRecogniser, OnDemandSynthesiser
from pocketseek.errors import VoiceError


class Breaking:
    """An engine that loses its model at a certain call of a certain method, and fails as it then fails."""

    def __init__(self, engine: Any, breaks: Callable[[Any], None], num_before: int) -> None:
        self._engine = engine
        self._breaks = breaks
        self._num_before = num_before

    def count(self) -> None:
        self._num_before -= 1
        if self._num_before == 0:
            self._breaks(self._engine)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def start(self, language: str | None) -> Any:
        return _BreakingUtterance(self, self._engine.start(language))

    def speak(self, text: str, language: str) -> Iterator[Samples]:
        for samples in self._engine.speak(text, language):
            self.count()
            if self._num_before == 0:
                yield from self._engine.speak(text, language)
            yield samples


class _BreakingUtterance:
    def __init__(self, owner: Breaking, utterance: Any) -> None:
        self._owner = owner
        self._utterance = utterance

    def __getattr__(self, name: str) -> Any:
        return getattr(self._utterance, name)

    def partial(self, *, may_be_over: bool = False) -> str:
        self._owner.count()
        return str(self._utterance.partial(may_be_over=may_be_over))


def recogniser_breaks(ear: Ear) -> Found:
    opened = [0]

    def make() -> Recogniser:
        opened[0] += 1
        engine = ear.chosen_recogniser.open()
        return Breaking(engine, lambda one: one._engine.take()._model.model.unload_model(), 1 if opened[0] == 1 else -1)

    with closing(OnDemandRecogniser(OnDemand("breaking", make), ())) as engine, talking(ear, recogniser=engine) as talk:
        return _one_failure(ear, talk, opened)


def voice_breaks(ear: Ear) -> Found:
    opened = [0]

    def make() -> Synthesiser:
        opened[0] += 1
        engine = ear.chosen_voice.open()
        return Breaking(engine, lambda one: _inner_voice(one).close(), 2 if opened[0] == 1 else -1)

    made = OnDemandSynthesiser(OnDemand("breaking", make), ear.voice.sample_rate)
    with closing(made) as engine, talking(ear, voice=engine) as talk:
        return _one_failure(ear, talk, opened)


def _inner_voice(voices: Any) -> Any:
    return next(one for _, one in voices._voices)._engine.take()


class BreakingChat:
    """Fails once, at the second token."""

    def __init__(self, chat: VoiceChat) -> None:
        self._chat = chat
        self._is_whole = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chat, name)

    def answer(self, text: str, is_wanted: Callable[[], bool]) -> Iterator[Any]:
        for number, event in enumerate(self._chat.answer(text, is_wanted)):
            if number == 1 and not self._is_whole:
                self._is_whole = True
                raise RuntimeError("the pass failed\nin the middle")
            yield event


def model_breaks(ear: Ear) -> Found:
    with talking(ear, chat=BreakingChat(ear.chat())) as talk:  # type: ignore[arg-type]  # it does what is asked of a chat here
        return _one_failure(ear, talk, [2])


def _one_failure(ear: Ear, talk: Talk, opened: list[int]) -> Found:
    talk.ask(ear)
    failures = talk.failures
    understood = talk.ask(ear)
    is_well = understood and len(failures) == 1 and "\n" not in failures[0] and opened[0] == 2
    return f"{failures[:1]}; the same question again {said(understood)}", is_well


def detector_breaks(ear: Ear) -> Found:
    detector = ear.chosen_detector.open()
    calls = [0]

    class Broken:
        frame_samples = detector.frame_samples
        reset = detector.reset

        def probability(self, frame: Samples) -> float:
            calls[0] += 1
            return detector.probability(frame if calls[0] < 60 else frame[:7])

    with talking(ear, detector=Broken()) as talk:
        talk.hear(ear.question, silence(END_S))
        talk.wait(lambda: talk.error is not None)
    line = str(talk.error)
    return f"the session ended: {line!r}", isinstance(talk.error, VoiceError) and "\n" not in line


ENGINE_FAULTS: dict[str, Callable[[Ear], Found]] = {
    "recogniser fails in mid-turn": recogniser_breaks,
    "voice fails in mid-answer": voice_breaks,
    "model fails in mid-answer": model_breaks,
    "detector fails": detector_breaks,
}
