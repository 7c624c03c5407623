"""What goes wrong around a spoken conversation, played to the real session with the engines that are installed.

    python benchmarks/voice_faults.py [--model demo] [--only WORD ...]

Sound: ten minutes of silence, four kinds of noise, clipping, samples that are no numbers, speech without end, other
sample rates; it comes as fast as it is worked off. Engines: recogniser, voice, model and detector fail in mid-turn, the
first three as their own libraries do it once their model is gone. Devices (voice_fault_devices.py): `voice listen` in
a process of its own, with microphones and loudspeakers that are programs of this benchmark. The question is spoken by
the installed voice. Prints a table of what happened, which ends in "well" (it recovered, or ended in one clear line) or
"ILL", and one JSON line; exits with 1 if anything is ill.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from voice_fault_devices import DEVICE_FAULTS, Bench

import pocketseek
from pocketseek.apps.voice.choose import choose_detector, choose_recogniser, choose_synthesiser
from pocketseek.apps.voice.contract import SAMPLE_RATE, Recogniser, Samples, SpeechDetector, Synthesiser, VoiceChat
from pocketseek.apps.voice.engine_chat import EngineChat
from pocketseek.apps.voice.error_rate import word_errors
from pocketseek.apps.voice.events import (
    NoiseChanged,
    SpeechStarted,
    Transcript,
    TurnEnded,
    TurnFailed,
    VoiceEvent,
)
from pocketseek.apps.voice.on_demand import OnDemand, OnDemandRecogniser, OnDemandSynthesiser
from pocketseek.apps.voice.recording import speak
from pocketseek.apps.voice.resample import resample
from pocketseek.apps.voice.session import VoiceSession, VoiceSettings
from pocketseek.apps.voice.sound_file import read_sound, wav_bytes
from pocketseek.apps.voice.style import ReadAloud, spoken_style
from pocketseek.errors import PocketseekError, VoiceError
from pocketseek.runtime.engine import Engine
from pocketseek.settings import read_settings

LANGUAGE = "en"
QUESTION = "What is the capital of France?"
LONG_TEXT = (
    "It was the best of times and it was the worst of times and it was the age of wisdom and it was the age of "
    "foolishness and it was the season of light and it was the season of darkness and we had everything before us and"
)
_MOST_ERRORS = 0.34  # of the question's words: it was understood
_MOST_BACKLOG_S = 5.0
_PATIENCE_S = 600.0
_END_S = 2.5  # of silence, after which speech is over
_MAX_TOKENS = 8


@dataclass(frozen=True)
class Outcome:
    fault: str
    happened: str
    is_well: bool


Found = tuple[str, bool]


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
        self.hear(silence(0.5), ear.question, silence(_END_S))
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


# -- sound -----------------------------------------------------------------------------------------------------------


def ten_minutes_of_silence(ear: Ear) -> Found:
    with talking(ear) as talk:
        talk.hear(silence(600))
        num_begun = talk.count(SpeechStarted)
        understood = talk.ask(ear)
    return f"{num_begun} turns begun in it; the question after it {_said(understood)}", understood and num_begun == 0


def noises(ear: Ear) -> Iterator[tuple[str, Samples]]:
    """Two minutes of each, about 20 dB below full scale."""
    length = 120 * SAMPLE_RATE
    random = np.random.default_rng(11)
    white = random.standard_normal(length)
    spectrum = np.fft.rfft(white)
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))), length)
    t = np.arange(length) / SAMPLE_RATE
    hum = sum(np.sin(2 * np.pi * 50 * k * t) / k for k in range(1, 20)) * (1 + 0.3 * np.sin(2 * np.pi * 0.7 * t))
    talk = np.tile(ear.question[::-1], 1 + length // len(ear.question))
    crowd = sum(np.roll(talk[:length], int(random.integers(length))) for _ in range(12))
    for name, sound in (("white noise", white), ("pink noise", pink), ("an engine's hum", hum), ("a crowd", crowd)):
        yield name, (0.1 * sound / np.sqrt(np.mean(np.square(sound)))).astype(np.float32)


def noise(ear: Ear, sound: Samples) -> Found:
    """A question 12 dB above it is heard through it, another one after it."""
    with talking(ear) as talk:
        talk.hear(sound)
        talk.wait(lambda: talk.session.backlog_s == 0)
        num_begun, words = talk.count(SpeechStarted), " ".join(talk.texts).split()
        is_told = talk.count(NoiseChanged) > 0
        num_told = len(talk.texts)
        loud = 0.4 * ear.question / np.sqrt(np.mean(np.square(ear.question)))
        at = SAMPLE_RATE
        over = sound[: len(loud) + 5 * SAMPLE_RATE].copy()
        over[at : at + len(loud)] += loud
        talk.hear(np.clip(over, -1, 1).astype(np.float32))
        talk.wait(lambda: talk.session.backlog_s == 0)
        talk.hear(silence(8))
        talk.wait(lambda: talk.session.backlog_s == 0 and talk.count(SpeechStarted) == len(talk.ended))
        through = is_question(talk.texts[num_told:])
        after = talk.ask(ear)
    told = ", the noise was told" if is_told else ""
    happened = f"{num_begun} turns begun in two minutes, {len(words)} words heard in it{told}; the question in it "
    return f"{happened}{_said(through)}, the one after it {_said(after)}", after and num_begun <= 12


def clipped(ear: Ear, gain: float) -> Found:
    with talking(ear) as talk:
        sound = ear.question / np.abs(ear.question).max()
        talk.hear(np.clip(gain * sound, -1, 1).astype(np.float32), silence(_END_S))
        talk.wait(lambda: bool(talk.ended))
        understood = is_question(talk.texts)
        share = float(np.mean(np.abs(gain * sound) >= 1))
    return f"{share:.0%} of the samples at the limit: {' '.join(talk.texts)!r}", understood


def no_numbers(ear: Ear) -> Found:
    broken = silence(2)
    broken[::3], broken[1::3] = np.nan, np.inf
    with talking(ear) as talk:
        talk.hear(broken)
        understood = talk.ask(ear)
    return f"a third NaN, a third infinite; the question after it {_said(understood)}", understood


def speech_without_end(ear: Ear) -> Found:
    """200 s without a pause: it ends at three minutes, and goes on in another turn."""
    sentence = ear.spoken(LONG_TEXT)
    loud = np.flatnonzero(np.abs(sentence) > 0.01)
    sentence = sentence[loud[0] : loud[-1]]
    with talking(ear) as talk:
        talk.hear(np.tile(sentence, 1 + int(200 * SAMPLE_RATE / len(sentence)))[: 200 * SAMPLE_RATE], silence(_END_S))
        talk.wait(lambda: talk.session.backlog_s == 0 and talk.count(SpeechStarted) == len(talk.ended))
        seconds = [text.count(" ") + 1 for text in talk.texts]
        failures = talk.failures
        understood = talk.ask(ear)
    happened = f"{len(seconds)} turns of {' and '.join(map(str, seconds))} words; the question after it "
    return happened + _said(understood), understood and not failures and len(seconds) >= 2 and sum(seconds) > 300


def other_rate(ear: Ear, rate: int) -> Found:
    """A file of another rate, read as --wav reads it."""
    with TemporaryDirectory() as folder, talking(ear) as talk:
        path = Path(folder) / "question.wav"
        path.write_bytes(wav_bytes(resample(ear.question, SAMPLE_RATE, rate), rate))
        talk.hear(read_sound(path).at(SAMPLE_RATE), silence(_END_S))
        talk.wait(lambda: bool(talk.ended))
    return repr(" ".join(talk.texts)), is_question(talk.texts)


# -- engines ---------------------------------------------------------------------------------------------------------


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

    def partial(self) -> str:
        self._owner.count()
        return str(self._utterance.partial())


def recogniser_breaks(ear: Ear) -> Found:
    opened = [0]

    def make() -> Recogniser:
        opened[0] += 1
        engine = ear.chosen_recogniser.open()
        return Breaking(engine, lambda one: one._engine.take()._model.model.unload_model(), 2 if opened[0] == 1 else -1)  # type: ignore[return-value]

    with closing(OnDemandRecogniser(OnDemand("breaking", make), ())) as engine, talking(ear, recogniser=engine) as talk:
        return _one_failure(ear, talk, opened)


def voice_breaks(ear: Ear) -> Found:
    opened = [0]

    def make() -> Synthesiser:
        opened[0] += 1
        engine = ear.chosen_voice.open()
        return Breaking(engine, lambda one: _inner_voice(one).close(), 2 if opened[0] == 1 else -1)  # type: ignore[return-value]

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
    with talking(ear, chat=BreakingChat(ear.chat())) as talk:  # type: ignore[arg-type]
        return _one_failure(ear, talk, [2])


def _one_failure(ear: Ear, talk: Talk, opened: list[int]) -> Found:
    talk.ask(ear)
    failures = talk.failures
    understood = talk.ask(ear)
    is_well = understood and len(failures) == 1 and "\n" not in failures[0] and opened[0] == 2
    return f"{failures[:1]}; the same question again {_said(understood)}", is_well


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
        talk.hear(ear.question, silence(_END_S))
        talk.wait(lambda: talk.error is not None)
    line = str(talk.error)
    return f"the session ended: {line!r}", isinstance(talk.error, VoiceError) and "\n" not in line


def _said(understood: bool) -> str:
    return "was understood and answered" if understood else "was NOT understood"


def faults(ear: Ear, bench: Bench) -> Iterator[tuple[str, Callable[[], Found]]]:
    for name, device_fault in DEVICE_FAULTS.items():
        yield f"device: {name}", lambda run=device_fault: run(bench)  # type: ignore[misc]
    yield "sound: ten minutes of silence", lambda: ten_minutes_of_silence(ear)
    for name, sound in noises(ear):
        yield f"sound: {name}", lambda sound=sound: noise(ear, sound)  # type: ignore[misc]
    for gain in (4.0, 30.0):
        yield f"sound: clipped, {gain:g} times too loud", lambda gain=gain: clipped(ear, gain)  # type: ignore[misc]
    yield "sound: samples that are no numbers", lambda: no_numbers(ear)
    yield "sound: 200 s of speech without a pause", lambda: speech_without_end(ear)
    for rate in (8_000, 11_025, 44_100, 48_000, 96_000):
        yield f"sound: a file of {rate} Hz", lambda rate=rate: other_rate(ear, rate)  # type: ignore[misc]
    yield "engine: recogniser fails in mid-turn", lambda: recogniser_breaks(ear)
    yield "engine: voice fails in mid-answer", lambda: voice_breaks(ear)
    yield "engine: model fails in mid-answer", lambda: model_breaks(ear)
    yield "engine: detector fails", lambda: detector_breaks(ear)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--only", nargs="*", default=[], help="faults in whose names one of these words stands")
    options = parser.parse_args()
    outcomes: list[Outcome] = []
    with ExitStack() as stack:
        engine = stack.enter_context(closing(pocketseek.load(options.model, prefix_store_bytes=0)))
        ear = stack.enter_context(closing(Ear(engine)))
        folder = Path(stack.enter_context(TemporaryDirectory()))
        bench = Bench(folder, options.model, ear.question, is_question)
        for name, run in faults(ear, bench):
            if not options.only or any(word in name for word in options.only):
                outcomes.append(Outcome(name, *run()))
                print(f"{name:44}{'well' if outcomes[-1].is_well else 'ILL':6}{outcomes[-1].happened}", flush=True)
    print(json.dumps({"benchmark": "voice_faults", "outcomes": [asdict(one) for one in outcomes]}))
    sys.exit(not all(one.is_well for one in outcomes))


if __name__ == "__main__":
    main()
