"""One spoken conversation: sound in, events out. It knows no microphone, no loudspeaker and no socket.

    feed -> listening -> recognition -> answering -> speaking -> events
            (detector)   (recogniser)   (model)      (synthesiser)

Each stage is a thread with a bounded inbox. Recognition works during speech; the prompt is computed ahead on what was
understood so far; when silence begins, an answer is tried on what is likely all of the question, and nothing of it is
told until the end of speech is certain; clauses are spoken while the rest is written. Somebody who speaks while an
answer sounds breaks it off: Interrupted is told as soon as their voice is certain, and the conversation keeps what was
heard. What fails in a turn ends that turn with TurnFailed and nothing else.

Threads: every method may be called from any thread; `events` has one reader. Making a session starts its threads;
`close` ends them, and gives nobody's engines back: who made those closes them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Lock

from pocketseek.apps.voice.agreement import likely_to_stay
from pocketseek.apps.voice.answering import AnsweringStage
from pocketseek.apps.voice.attempt import Attempt, Marks
from pocketseek.apps.voice.contract import (
    SAMPLE_RATE,
    Recogniser,
    Samples,
    SpeechDetector,
    SpeechShape,
    Synthesiser,
    VoiceChat,
)
from pocketseek.apps.voice.endpoint import Endpointer, EndpointSettings, hint_of
from pocketseek.apps.voice.event_queue import EventQueue
from pocketseek.apps.voice.events import (
    NoiseChanged,
    PartialTranscript,
    SpeechEnded,
    SpeechStarted,
    Transcript,
    TurnEnded,
    TurnFailed,
    TurnTimings,
    VoiceEvent,
)
from pocketseek.apps.voice.failures import failure_line
from pocketseek.apps.voice.listening import MOST_BACKLOG_S, ListeningStage
from pocketseek.apps.voice.noise_gate import MOST_WORDLESS_S, SpeechLevel
from pocketseek.apps.voice.recognition import RecognitionStage
from pocketseek.apps.voice.speaking import SpeakingStage
from pocketseek.errors import OverloadedError

_QUIET_EVERY_S = 10.0
LEAST_SHARE_TO_TRY = 0.7
"""Of the heat of full speed: when it is warmer than that no answer is tried that speech going on would make useless."""


@dataclass(frozen=True)
class VoiceSettings:
    """language: of what is spoken; None: whatever the recogniser finds.

    barge_in: somebody who speaks breaks an answer off; else nobody is listened to while it sounds. push_to_talk: turns
    begin and end with `press` and `release`. The last three can be switched off to see what they are worth: compute
    prompts ahead (warm), try an answer when silence begins (try_early), speak clauses as they come (clause_wise).
    """

    language: str | None = None
    barge_in: bool = True
    push_to_talk: bool = False
    endpoint: EndpointSettings = field(default_factory=EndpointSettings)
    warm: bool = True
    try_early: bool = True
    clause_wise: bool = True


class VoiceSession:
    def __init__(
        self,
        recogniser: Recogniser,
        synthesiser: Synthesiser,
        detector: SpeechDetector,
        chat: VoiceChat,
        shape: SpeechShape,
        settings: VoiceSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
        when_quiet: Callable[[], None] = lambda: None,
        heat_share: Callable[[], float] = lambda: 1.0,
    ) -> None:
        """when_quiet: called now and then while nobody speaks and nothing is answered; it must not take long.
        heat_share: of the heat of full speed, what may be made now; then less is done that might be of no use."""
        self._heat_share = heat_share
        self._when_quiet = when_quiet
        self._quiet_due_s = _QUIET_EVERY_S
        self._settings = settings or VoiceSettings()
        began_s = clock()
        self._clock: Callable[[], float] = lambda: clock() - began_s
        self._queue = EventQueue()
        self._closing = Lock()  # guards the next one
        self._is_closed = False
        self._lock = Lock()  # guards the three below
        self._turn = 0
        self._marks: dict[int, Marks] = {}  # of turns that are neither understood nor failed yet
        self._wordless: set[int] = set()  # turns that do not count as somebody speaking again
        self._spoken_turn = 0  # the last one that was not asked in writing; the listening thread has it alone
        self._last_partial = (0, "")  # of which turn; the recogniser's thread has it alone
        self._tells_partials = False  # likewise; else that there is no text so far means nothing
        self._endpointer = Endpointer(detector.frame_samples / SAMPLE_RATE, self._settings.endpoint)
        detector.reset()
        self._speaking = SpeakingStage(synthesiser, shape, self._clock, self._attempt_failed)
        self._answering = AnsweringStage(
            chat,
            shape,
            self._speaking,
            self._queue,
            self._clock,
            self._attempt_failed,
            clause_wise=self._settings.clause_wise,
        )
        self._recognition = RecognitionStage(recogniser, self._settings.language, self, self._clock, heat_share)
        self._listening = ListeningStage(
            detector, self._endpointer, self, self._clock, push_to_talk=self._settings.push_to_talk
        )
        if self._settings.warm:
            self._answering.warm("")

    # -- for the edges -----------------------------------------------------------------------------------------------

    @property
    def now_s(self) -> float:
        """The session's clock."""
        return self._clock()

    @property
    def backlog_s(self) -> float:
        """Seconds of sound that wait; who reads a file feeds no more while there is much of it."""
        return self._listening.backlog_s + self._recognition.backlog_s

    @property
    def has_open_turn(self) -> bool:
        """Somebody speaks, or was not answered yet."""
        return self._queue.has_open_turn

    @property
    def is_answering(self) -> bool:
        """An answer is being made, or heard."""
        attempt = self._answering.current
        return attempt is not None and attempt.is_sounding()

    def feed(self, samples: Samples) -> None:
        """Sound as it comes, 16 kHz. Raises UsageError if it is none, OverloadedError if minutes of it wait."""
        if self.backlog_s > MOST_BACKLOG_S:
            raise OverloadedError(f"{MOST_BACKLOG_S:.0f} s of sound wait to be understood; feed it more slowly")
        self._listening.feed(samples)

    def press(self) -> None:
        """Speech begins now, whatever the detector says; with `push_to_talk` this is the only way."""
        self._listening.press()

    def release(self) -> None:
        self._listening.release()

    def ask(self, text: str) -> None:
        """A turn that was understood elsewhere (typed, or by Android's own recognition): it is answered."""
        now_s = self._clock()
        turn = self._new_turn(Marks(speech_end_s=now_s, endpoint_s=now_s))
        self._queue.put(SpeechStarted(now_s, turn, now_s))
        self._queue.put(SpeechEnded(now_s, turn, now_s))
        self.heard(turn, text.strip())

    def played(self, seconds: float) -> None:
        """So much of the present answer was heard by now. Without it, it is taken to sound from when it is there."""
        if (attempt := self._answering.current) is not None:
            attempt.played(seconds)

    def interrupt(self) -> bool:
        """Break the answer off; False: there is none."""
        return self._answering.interrupt()

    def events(self) -> Iterator[VoiceEvent]:
        """Until `close`. Raises VoiceError if listening becomes impossible."""
        return iter(self._queue)

    def close(self) -> None:
        """End everything; whoever calls it waits until no stage works any more. May be repeated."""
        with self._closing:
            if not self._is_closed:
                self._listening.close()
                self._recognition.close()
                self._answering.close()
                self._speaking.close()
                self._queue.close()
            self._is_closed = True

    # -- listening ---------------------------------------------------------------------------------------------------

    def wants_clear_voice(self) -> bool:
        return self.is_answering

    def ignores_microphone(self) -> bool:
        return not self._settings.barge_in and self.is_answering

    def quiet(self) -> None:
        if self._clock() >= self._quiet_due_s and not self.is_answering:
            self._quiet_due_s = self._clock() + _QUIET_EVERY_S
            self._when_quiet()

    def speech_started(self, start_s: float) -> None:
        turn = self._spoken_turn = self._new_turn(Marks(speech_start_s=start_s))
        self._queue.put(SpeechStarted(self._clock(), turn, start_s))
        self._recognition.start(turn)

    def _new_turn(self, marks: Marks) -> int:
        """Counted before what sounds is broken off: an answer that is released meanwhile is not wanted by then."""
        with self._lock:
            self._turn += 1
            turn = self._turn
            self._marks[turn] = marks
        self.interrupt()
        return turn

    def _is_wanted(self, turn: int) -> bool:
        """Nobody has said anything since, as far as is known."""
        with self._lock:
            return all(later in self._wordless for later in range(turn + 1, self._turn + 1))

    def speech(self, samples: Samples, *, is_silent: bool = False) -> None:
        self._recognition.feed(samples, is_silent=is_silent)

    def speech_settled(self) -> None:
        self._recognition.settle(self._spoken_turn)

    def speech_resumed(self) -> None:
        self._recognition.resume(self._spoken_turn)

    def speech_ended(self, end_s: float, level: SpeechLevel, *, is_voiced: bool) -> None:
        turn = self._spoken_turn
        with self._lock:
            marks = self._marks.get(turn)
            if marks is None:  # it failed, and was told so
                return
            marks.level = level
            marks.speech_end_s, marks.endpoint_s = end_s, self._clock()
            self._queue.put(SpeechEnded(marks.endpoint_s, turn, end_s))
        if is_voiced:
            self._recognition.finish(turn)
        else:
            self._recognition.cancel(turn)
            self.heard(turn, "")

    def noise_changed(self, is_noisy: bool) -> None:
        self._queue.put(NoiseChanged(self._clock(), self._spoken_turn, is_noisy))

    def listening_failed(self, error: Exception) -> None:
        self._queue.close(error)

    # -- recognition -------------------------------------------------------------------------------------------------

    def heard_so_far(self, turn: int, text: str) -> None:
        with self._lock:
            if (marks := self._marks.get(turn)) is None:
                return
            self._queue.put(PartialTranscript(self._clock(), turn, text))
        self._tells_partials = True
        if turn == self._spoken_turn:
            self._listening.hint(hint_of(text))
        before, self._last_partial = self._last_partial, (turn, text)
        stays = likely_to_stay(before[1] if before[0] == turn else "", text)
        if self._settings.warm and stays:
            self._answering.warm(stays, marks)

    def nothing_so_far(self, turn: int, seconds: float) -> None:
        if self._tells_partials and turn == self._spoken_turn and seconds >= MOST_WORDLESS_S:
            self._listening.give_up()

    def seems_done(self, turn: int, text: str) -> None:
        with self._lock:
            marks = self._marks.get(turn)
        may_try = self._settings.try_early and self._heat_share() >= LEAST_SHARE_TO_TRY
        if may_try and text and marks is not None:
            self._answering.try_answer(turn, text, self._language_of(text), marks)

    def goes_on(self, turn: int) -> None:
        self._answering.drop_try(turn)

    def heard(self, turn: int, text: str) -> None:
        language = self._language_of(text)
        if (marks := self._understood(turn, text, language)) is None:
            return
        if text:
            self._answering.answer(turn, text, language, marks, is_wanted=lambda: self._is_wanted(turn))
        else:
            self._answering.drop_try(turn)
            self._queue.put(TurnEnded(self._clock(), turn, _timings_without_answer(marks, self._clock())))

    def _understood(self, turn: int, text: str, language: str) -> Marks | None:
        """Tells the transcript; None if the turn was over already."""
        with self._lock:
            if (marks := self._marks.pop(turn, None)) is None:
                return None
            if marks.level is not None:
                self._listening.judge(marks.level, has_words=bool(text))
            if not text:
                self._wordless.add(turn)
            oldest = min([turn, *self._marks])
            self._wordless = {one for one in self._wordless if one > oldest}
            marks.transcript_s = self._clock()
            self._queue.put(Transcript(marks.transcript_s, turn, text, language))
            return marks

    def recognition_failed(self, turn: int, error: Exception) -> None:
        self._answering.drop_try(turn)
        with self._lock:
            if self._marks.pop(turn, None) is not None:
                self._queue.put(TurnFailed(self._clock(), turn, failure_line("speech recognition", error)))

    def _attempt_failed(self, attempt: Attempt, error: Exception) -> None:
        if attempt.is_cancelled:
            attempt.end_interrupted()
        else:
            attempt.fail(failure_line("the answer", error))

    def _language_of(self, text: str) -> str:
        return self._settings.language or language_of(text)


def language_of(text: str) -> str:
    """ "zh" if a good part of the letters are Chinese, else "en"."""
    letters = [letter for letter in text if letter.isalpha()]
    num_chinese = sum("一" <= letter <= "鿿" for letter in letters)
    return "zh" if num_chinese * 4 > len(letters) else "en"


def _timings_without_answer(marks: Marks, end_s: float) -> TurnTimings:
    return TurnTimings(
        speech_start_s=marks.speech_start_s,
        speech_end_s=marks.speech_end_s,
        endpoint_s=marks.endpoint_s,
        transcript_s=marks.transcript_s,
        end_s=end_s,
    )
