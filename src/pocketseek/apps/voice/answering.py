"""The stage that lets the model answer, and prepares for it while the question is still being asked.

One thread owns the conversation. It does the newest thing that is wanted: compute a prompt ahead on what was heard so
far (`warm`), try an answer on what is likely all (`try_answer`), or answer (`answer`), which takes over a try that was
made on the same words. Anything newer ends what is older; a turn that was told of and never got its answer still ends,
and is kept as asked.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pocketseek.apps.voice.attempt import Attempt, Marks
from pocketseek.apps.voice.contract import IsWanted, SpeechShape, VoiceChat, always
from pocketseek.apps.voice.event_queue import EventQueue
from pocketseek.apps.voice.events import AnswerText, NotKept
from pocketseek.apps.voice.failures import failure_line
from pocketseek.apps.voice.priorities import ANSWERING, give_way
from pocketseek.apps.voice.speaking import SpeakingStage
from pocketseek.types import TextEvent

_NOT_KEPT = "the conversation goes on without it"
_LOOK_S = 0.1  # how often it is asked whether an answer was heard to its end
_FEWEST_NEW_CHARS = 4  # of a partial transcript, before it is worth being computed ahead


@dataclass(frozen=True)
class _Job:
    """With an attempt: answer; without: compute the prompt ahead, unless it is dropped."""

    text: str
    marks: Marks | None = None
    attempt: Attempt | None = None
    dropped: threading.Event = field(default_factory=threading.Event)

    def is_wanted(self) -> bool:
        return not (self.dropped.is_set() if self.attempt is None else self.attempt.is_cancelled)


class AnsweringStage:
    """Methods from any thread; none of them waits. At most one attempt is in the air; `current` is the last one."""

    def __init__(
        self,
        chat: VoiceChat,
        shape: SpeechShape,
        speaking: SpeakingStage,
        queue: EventQueue,
        clock: Callable[[], float],
        failed: Callable[[Attempt, Exception], None],
        *,
        clause_wise: bool = True,
    ) -> None:
        """failed: told in the stage's thread. clause_wise: speak clauses as they are written, not all at the end."""
        self._chat = chat
        self._shape = shape
        self._speaking = speaking
        self._queue = queue
        self._clock = clock
        self._failed = failed
        self._clause_wise = clause_wise
        self._control = threading.RLock()  # one decision about the attempt in the air at a time
        self._changed = threading.Condition()
        self._job: _Job | None = None
        self._under_way: _Job | None = None
        self._given_up: deque[Attempt] = deque()  # told of and broken off before anything was computed
        self._is_closed = False
        self._warmed = ""
        self._to_keep: Attempt | None = None  # of the thread alone
        self.current: Attempt | None = None
        self._thread = threading.Thread(target=self._live, name="voice-answering", daemon=True)
        self._thread.start()

    def warm(self, text: str, marks: Marks | None = None) -> None:
        """Compute ahead what begins like this; "": what was said before."""
        with self._changed:
            is_busy = self._job is not None and self._job.attempt is not None
            if is_busy or not (not text or self._is_new(text)):
                return
            older = self._under_way
            if older is not None and not text.startswith(older.text):  # else it computes what this needs, too
                self._drop(older)
            self._warmed = text
            self._job = _Job(text, marks)
            self._changed.notify()
        self._chat.stop_unwanted()

    def try_answer(self, turn: int, question: str, language: str, marks: Marks) -> None:
        """Nobody is told before `answer` says so."""
        with self._control:
            current = self.current
            is_late = current is not None and current.turn > turn
            is_same = current is not None and current.turn == turn and _words(current.question) == _words(question)
            if not is_late and (current is None or current.is_cancelled or not is_same):
                self.drop_try()
                self._begin(Attempt(turn, question, language, self._queue, self._clock, marks))

    def drop_try(self, turn: int | None = None) -> None:
        """What was tried (in this turn) is no answer to what was said."""
        with self._control:
            current = self.current
            if current is not None and not current.is_released and turn in (None, current.turn):
                current.cancel()
                self._chat.stop_unwanted()

    def answer(self, turn: int, question: str, language: str, marks: Marks, *, is_wanted: IsWanted = always) -> None:
        """Now it is told. is_wanted False: they speak again already, so it only counts as asked."""
        with self._control:
            if self.current is not None and self.current.turn > turn:
                self._give_up(Attempt(turn, question, language, self._queue, self._clock, marks))
                return
            self.try_answer(turn, question, language, marks)
            if self.current is not None:
                self.current.release()
                if not is_wanted():
                    self.interrupt()

    def interrupt(self) -> bool:
        """Break the answer off; False: there is none."""
        with self._control:
            if self.current is None or not self.current.interrupt():
                return False
            self._chat.stop_unwanted()
            return True

    def close(self) -> None:
        self.drop_try()
        self.interrupt()
        with self._changed:
            self._is_closed = True
            if self._under_way is not None:
                self._drop(self._under_way)
            self._changed.notify()
        self._chat.stop_unwanted()
        self._thread.join()

    def _is_new(self, text: str) -> bool:
        """A few letters more than what was computed last are not worth a pass."""
        return not text.startswith(self._warmed) or len(text) - len(self._warmed) >= _FEWEST_NEW_CHARS

    def _begin(self, attempt: Attempt) -> None:
        self.interrupt()
        with self._changed:
            self.current = attempt
            self._warmed = ""
            if self._job is not None and self._job.attempt is not None:
                self._given_up.append(self._job.attempt)
            if self._under_way is not None:
                self._drop(self._under_way)
            self._job = _Job(attempt.question, attempt=attempt)
            self._changed.notify()
        self._chat.stop_unwanted()

    def _drop(self, job: _Job) -> None:
        """An attempt is not dropped here: it is cancelled, or broken off."""
        job.dropped.set()

    def _give_up(self, attempt: Attempt) -> None:
        """It was asked, but something else is answered by now."""
        attempt.release()
        attempt.interrupt()
        with self._changed:
            self._given_up.append(attempt)
            self._changed.notify()

    # -- the thread --------------------------------------------------------------------------------------------------

    def _live(self) -> None:
        give_way(ANSWERING)
        while not self._is_over():
            job = self._next()
            self._keep_heard(job)
            if job is not None:
                self._do(job)
        self._keep_heard(None)

    def _do(self, job: _Job) -> None:
        try:
            if job.attempt is None:
                self._warm(job)
            else:
                self._answer(job.attempt)
        except Exception as error:  # noqa: BLE001  told as the turn's failure; the session outlives it
            if job.attempt is not None:  # else it was a help: the answer shows what is wrong
                self._failed(job.attempt, error)
        finally:
            with self._changed:
                self._under_way = None

    def _is_over(self) -> bool:
        with self._changed:
            return self._is_closed

    def _next(self) -> _Job | None:
        """What is wanted; None when there is something to be kept, and at the end."""
        with self._changed:
            while self._job is None and not self._is_closed and not self._given_up and not self._was_heard():
                self._changed.wait(None if self._to_keep is None else _LOOK_S)
            if self._is_closed:
                return None
            self._under_way, self._job = self._job, None
            return self._under_way

    def _was_heard(self) -> bool:
        """Nothing of the last answer will be heard any more."""
        last = self._to_keep
        return last is not None and (last.is_cancelled or (last.is_released and not last.is_sounding()))

    def _warm(self, job: _Job) -> None:
        num_tokens = self._chat.warm(job.text, job.is_wanted)
        if job.marks is not None:
            job.marks.warmed_tokens = num_tokens

    def _answer(self, attempt: Attempt) -> None:
        self._to_keep = attempt
        if attempt.is_cancelled:  # before anything was computed
            attempt.end_interrupted()
            return
        splitter = self._shape.clauses(attempt.language)
        for clause in self._clauses(attempt, splitter.feed):
            self._speaking.say(attempt, clause)
        if not attempt.is_cancelled:
            attempt.mark(answer_s=self._clock())
            for clause in splitter.finish():
                self._speaking.say(attempt, clause)
        self._speaking.end(attempt)

    def _clauses(self, attempt: Attempt, split: Callable[[str], list[str]]) -> Iterator[str]:
        events = self._chat.answer(attempt.question, lambda: not attempt.is_cancelled)
        waiting: list[str] = []
        try:
            for event in events:
                if attempt.is_cancelled or self._is_closed:
                    return
                clauses = split(self._seen(attempt, event)) if event.text else []
                if self._clause_wise:
                    yield from clauses
                else:
                    waiting += clauses
            yield from waiting
        finally:
            if (close := getattr(events, "close", None)) is not None:
                close()

    def _seen(self, attempt: Attempt, event: TextEvent) -> str:
        now_s = self._clock()
        attempt.mark(first_token_s=now_s, cached_tokens=event.num_cached_prompt_tokens)
        attempt.count(event.num_tokens)
        attempt.add_text(event.text)
        attempt.put(AnswerText(now_s, attempt.turn, event.text))
        return event.text

    def _keep_heard(self, job: _Job | None) -> None:
        """What the conversation is, before anything new is computed on it, in the order in which it was asked."""
        with self._changed:
            done, self._given_up = list(self._given_up), deque()
            if self._is_closed and self._job is not None and self._job.attempt is not None:
                done.append(self._job.attempt)
        for attempt in done:
            attempt.end_interrupted()
        last = self._to_keep
        if last is not None and (self._is_over() or self._was_heard() or (job is not None and job.attempt is not None)):
            self._to_keep = None
            done.append(last)
        for attempt in sorted(done, key=lambda one: one.turn):
            self._keep(attempt)

    def _keep(self, attempt: Attempt) -> None:
        if not attempt.is_released or attempt.has_failed:
            return
        try:
            self._chat.keep(attempt.question, attempt.heard_text(), attempt.turn)
        except Exception as error:  # noqa: BLE001  told; the conversation goes on without this turn
            self._queue.put(
                NotKept(self._clock(), attempt.turn, failure_line("remembering what was said", error, _NOT_KEPT))
            )


def _words(text: str) -> str:
    """Without capitals and punctuation, which a recogniser changes its mind about."""
    return " ".join("".join(letter for letter in text.casefold() if letter.isalnum() or letter.isspace()).split())
