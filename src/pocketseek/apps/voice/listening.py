"""The stage that everything begins with: sound comes in, and it is decided when somebody speaks.

One thread cuts the sound into frames, asks the detector about each and the end-pointer what that means, and passes
speech on to the recogniser: from a little before it began, and without the silence at its end (unless it turns out to
have been a pause). It does nothing that takes long, so that nothing is missed while others work.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pocketseek.apps.voice.contract import SAMPLE_RATE, Samples, SpeechDetector
from pocketseek.apps.voice.endpoint import Endpointer, Hint, Signal
from pocketseek.apps.voice.noise_gate import NoiseGate, SpeechLevel
from pocketseek.errors import OverloadedError, UsageError, VoiceError

_BEFORE_S = 0.5  # of sound that is taken from before the start was noticed; noticing takes a third of it
_AFTER_S = 0.1  # of silence that the recogniser gets at the end: less than what settles, or it would read that, too
MOST_BACKLOG_S = 120.0
_PAUSE_S = 1.0  # of nothing at all: the source had paused
_DRIFT = 0.0005  # by which two clocks may differ
_VOICED = 0.5  # probability that a push-to-talk turn has to reach once to count as spoken


@dataclass(frozen=True)
class _Block:
    samples: Samples
    came_s: float


@dataclass(frozen=True)
class _Button:
    is_pressed: bool
    at_s: float


@dataclass(frozen=True)
class _Judged:
    level: SpeechLevel
    has_words: bool


class _GiveUp:
    """What is taken for speech now is none."""


class SoundClock:
    """When sound was made, by how much of it there is: it comes no earlier than it was made, and often later, in
    bursts, when the machine is busy. A source that paused, or whose own clock runs otherwise, is followed."""

    def __init__(self) -> None:
        self._heard_s = 0.0
        self._offset_s: float | None = None

    def end_of(self, seconds: float, came_s: float) -> float:
        """When the last moment of the next `seconds` of sound was, which came at came_s."""
        self._heard_s += seconds
        latest_s = came_s - self._heard_s
        if self._offset_s is None or latest_s - self._offset_s > _PAUSE_S:
            self._offset_s = latest_s
        self._offset_s = min(latest_s, self._offset_s + _DRIFT * seconds)
        return self._heard_s + self._offset_s


class ListeningReader(Protocol):
    """Who is told, in the listening thread. Times are on the session's clock."""

    def speech_started(self, start_s: float) -> None: ...

    def speech(self, samples: Samples, *, is_silent: bool = False) -> None:
        """is_silent: this part of it is none, and may be the beginning of the end."""

    def speech_settled(self) -> None: ...

    def speech_resumed(self) -> None: ...

    def speech_ended(self, end_s: float, level: SpeechLevel, *, is_voiced: bool) -> None: ...

    def wants_clear_voice(self) -> bool:
        """Something is being played that the microphone may hear."""

    def ignores_microphone(self) -> bool: ...

    def quiet(self) -> None:
        """A frame in which nobody speaks."""

    def noise_changed(self, is_noisy: bool) -> None:
        """From now on only what is louder than the noise counts as speech; or all of it again."""

    def listening_failed(self, error: Exception) -> None:
        """It is over."""


class ListeningStage:
    """`feed`, `press`, `release` from any thread."""

    def __init__(
        self,
        detector: SpeechDetector,
        endpointer: Endpointer,
        reader: ListeningReader,
        clock: Callable[[], float],
        *,
        push_to_talk: bool,
    ) -> None:
        self._detector = detector
        self._endpointer = endpointer
        self._reader = reader
        self._clock = clock
        self._push_to_talk = push_to_talk
        self._frame_s = detector.frame_samples / SAMPLE_RATE
        self._changed = threading.Condition()
        self._inbox: deque[_Block | _Button | _Judged | _GiveUp] = deque()
        self._pending_samples = 0
        self._is_closed = False
        # Of the thread alone:
        self._sound_clock = SoundClock()
        self._gate = NoiseGate(self._frame_s)
        self._rest = np.zeros(0, np.float32)  # less than a frame
        self._before: deque[Samples] = deque(maxlen=self._frames(_BEFORE_S))  # frames
        self._silence: list[Samples] = []  # after the last speech, not passed on
        self._end_of_speech_s = self._pressed_s = 0.0
        self._is_voiced = False
        self._thread = threading.Thread(target=self._live, name="voice-listening", daemon=True)
        self._thread.start()

    @property
    def backlog_s(self) -> float:
        """Sound that waits, and what is being looked at."""
        return self._pending_samples / SAMPLE_RATE

    def feed(self, samples: Samples) -> None:
        """Raises UsageError for what is no sound, OverloadedError if minutes of it wait already."""
        if samples.ndim != 1 or samples.dtype != np.float32:
            raise UsageError("sound must be a row of float32 samples; convert it first")
        if self.backlog_s > MOST_BACKLOG_S:
            raise OverloadedError(f"{MOST_BACKLOG_S:.0f} s of sound wait to be listened to; feed it more slowly")
        clean = np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0)
        with self._changed:
            self._inbox.append(_Block(clean, self._clock()))
            self._pending_samples += len(clean)
            self._changed.notify()

    def press(self) -> None:
        self._push(_Button(True, self._clock()))

    def release(self) -> None:
        self._push(_Button(False, self._clock()))

    def hint(self, hint: Hint) -> None:
        """What the text so far says about whether more will come."""
        self._endpointer.hint = hint

    def judge(self, level: SpeechLevel, *, has_words: bool) -> None:
        """What `speech_ended` was told about is understood: was anything said?"""
        self._push(_Judged(level, has_words))

    def give_up(self) -> None:
        """For a long time there was no word in what is taken for speech: it ends here."""
        self._push(_GiveUp())

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _push(self, item: _Button | _Judged | _GiveUp) -> None:
        with self._changed:
            self._inbox.append(item)
            self._changed.notify()

    # -- the thread --------------------------------------------------------------------------------------------------

    def _live(self) -> None:
        try:
            while (item := self._next()) is not None:
                if isinstance(item, _Button):
                    self._pushed(item)
                elif isinstance(item, _Block):
                    self._heard(item)
                else:
                    self._learn(item)
                self._done_with(item)
        except Exception as error:  # noqa: BLE001  without a detector there is no session; told to its reader
            problem = " ".join(str(error).split())[:200]
            failure = VoiceError(f"listening failed ({type(error).__name__}: {problem}); start it again")
            failure.__cause__ = error
            self._reader.listening_failed(failure)

    def _next(self) -> _Block | _Button | _Judged | _GiveUp | None:
        with self._changed:
            while not self._inbox and not self._is_closed:
                self._changed.wait()
            if self._is_closed:
                return None
            return self._inbox.popleft()

    def _done_with(self, item: _Block | _Button | _Judged | _GiveUp) -> None:
        if isinstance(item, _Block):
            with self._changed:
                self._pending_samples -= len(item.samples)

    def _heard(self, block: _Block) -> None:
        samples = np.concatenate([self._rest, block.samples])
        end_s = self._sound_clock.end_of(len(block.samples) / SAMPLE_RATE, block.came_s)
        size = self._detector.frame_samples
        whole = len(samples) // size * size
        for start in range(0, whole, size):
            frame_end_s = end_s - (len(samples) - start - size) / SAMPLE_RATE
            self._frame(samples[start : start + size], frame_end_s)
        self._rest = samples[whole:]

    def _frame(self, frame: Samples, end_s: float) -> None:
        if self._reader.ignores_microphone() and not self._push_to_talk:
            frame = np.zeros_like(frame)
        probability = self._detector.probability(frame)
        was_speaking = self._endpointer.is_speaking
        if self._push_to_talk:
            self._while_button(frame, probability, end_s)
            return
        was_noisy = self._gate.is_noisy
        probability = self._gate.passed(frame, probability, is_speaking=was_speaking)
        if was_noisy and not self._gate.is_noisy:
            self._reader.noise_changed(False)
        signal = self._endpointer.push(probability, strict=self._reader.wants_clear_voice())
        if not was_speaking:
            self._idle(frame)
        else:
            self._speaking(frame, end_s)
        self._act(signal, end_s)

    def _while_button(self, frame: Samples, probability: float, end_s: float) -> None:
        if not self._endpointer.is_speaking:
            self._idle(frame)
            return
        if probability >= _VOICED:
            self._is_voiced, self._end_of_speech_s = True, end_s
        self._reader.speech(frame)
        if end_s - self._pressed_s > self._endpointer.longest_s:
            self._pushed(_Button(False, end_s))

    def _idle(self, frame: Samples) -> None:
        self._before.append(frame)
        self._reader.quiet()

    def _speaking(self, frame: Samples, end_s: float) -> None:
        """Pass speech on at once; silence only if it is short, or over."""
        silent_frames = self._endpointer.silent_frames
        if silent_frames == 0:
            self._end_of_speech_s = end_s
            for held in self._silence:
                self._reader.speech(held)
            self._silence = []
            self._reader.speech(frame)
        elif silent_frames <= self._frames(_AFTER_S):
            self._reader.speech(frame, is_silent=True)
        else:
            self._silence.append(frame)

    def _act(self, signal: Signal | None, end_s: float) -> None:
        if signal == "start":
            noticed_after_s = self._endpointer.frames_to_notice * self._frame_s
            self._end_of_speech_s = end_s
            self._start(end_s - noticed_after_s)
        elif signal == "settle":
            self._reader.speech_settled()
        elif signal == "resume":
            self._reader.speech_resumed()
        elif signal == "end":
            self._end(is_voiced=True)

    def _start(self, start_s: float) -> None:
        self._silence = []
        self._gate.began()
        self._reader.speech_started(start_s)
        for frame in self._before:
            self._reader.speech(frame)
        self._before.clear()

    def _end(self, *, is_voiced: bool) -> None:
        self._silence = []
        self._before.clear()
        self._reader.speech_ended(self._end_of_speech_s, self._gate.ended(), is_voiced=is_voiced)

    def _learn(self, item: _Judged | _GiveUp) -> None:
        if isinstance(item, _GiveUp):
            if self._endpointer.is_speaking and not self._push_to_talk:
                self._endpointer.close()
                self._end(is_voiced=False)
        elif not self._push_to_talk:
            was_noisy = self._gate.is_noisy
            self._gate.judge(item.level, has_words=item.has_words)
            if self._gate.is_noisy and not was_noisy:
                self._reader.noise_changed(True)

    def _pushed(self, button: _Button) -> None:
        if button.is_pressed and not self._endpointer.is_speaking:
            self._is_voiced = False
            self._end_of_speech_s = self._pressed_s = button.at_s
            self._endpointer.open()
            self._start(button.at_s)
        elif not button.is_pressed and self._endpointer.is_speaking:
            self._endpointer.close()
            self._end(is_voiced=self._is_voiced or not self._push_to_talk)

    def _frames(self, seconds: float) -> int:
        return max(1, round(seconds / self._frame_s))
