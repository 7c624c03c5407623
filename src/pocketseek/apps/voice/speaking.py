"""The stage that makes sound of clauses, one after the other, while more of them are being written.

One thread owns the synthesiser. At most a few clauses wait for it, and it waits while enough sound lies with the reader
or, of an attempt that nobody may hear yet, for its release.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pocketseek.apps.voice.attempt import Attempt
from pocketseek.apps.voice.contract import Samples, SpeechShape, Synthesiser
from pocketseek.apps.voice.events import AnswerAudio, SpokenClause
from pocketseek.apps.voice.priorities import SPEAKING, give_way
from pocketseek.apps.voice.sound.sounds import stopping

_MOST_WAITING = 4
_MOST_HELD_S = 12.0  # sound of an attempt that is not released
_LOOK_S = 0.05


@dataclass(frozen=True)
class _Piece:
    """clause None: there are no more of them."""

    attempt: Attempt
    clause: str | None


class SpeakingStage:
    def __init__(
        self,
        synthesiser: Synthesiser,
        shape: SpeechShape,
        clock: Callable[[], float],
        failed: Callable[[Attempt, Exception], None],
    ) -> None:
        """failed: told in the stage's thread."""
        self._synthesiser = synthesiser
        self._shape = shape
        self._clock = clock
        self._failed = failed
        self._changed = threading.Condition()
        self._inbox: deque[_Piece] = deque()
        self._is_closed = False
        self._thread = threading.Thread(target=self._live, name="voice-speaking", daemon=True)
        self._thread.start()

    def say(self, attempt: Attempt, clause: str) -> None:
        """Waits while enough is waiting already and the attempt is still wanted."""
        with self._changed:
            while len(self._inbox) >= _MOST_WAITING and not attempt.is_cancelled and not self._is_closed:
                self._changed.wait(_LOOK_S)
            self._inbox.append(_Piece(attempt, clause))
            self._changed.notify_all()

    def end(self, attempt: Attempt) -> None:
        """That was all of it: the attempt ends when it is spoken."""
        with self._changed:
            self._inbox.append(_Piece(attempt, None))
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    # -- the thread --------------------------------------------------------------------------------------------------

    def _live(self) -> None:
        give_way(SPEAKING)
        while (piece := self._next()) is not None:
            attempt = piece.attempt
            try:
                if piece.clause is not None:
                    self._speak(attempt, piece.clause)
                elif attempt.is_cancelled:
                    attempt.end_interrupted()
                else:
                    attempt.end()
            except Exception as error:  # noqa: BLE001  told as the turn's failure; engines are other people's code
                self._failed(attempt, error)

    def _next(self) -> _Piece | None:
        with self._changed:
            while not self._inbox and not self._is_closed:
                self._changed.wait()
            if self._is_closed:
                return None
            piece = self._inbox.popleft()
            self._changed.notify_all()
            return piece

    def _is_wanted(self, attempt: Attempt) -> bool:
        return not attempt.is_cancelled and not self._is_closed

    def _speak(self, attempt: Attempt, clause: str) -> None:
        if not self._is_wanted(attempt):
            return
        attempt.begin_clause(clause)
        parts = self._shape.parts(clause, attempt.language)
        if parts:
            attempt.mark(first_clause_s=self._clock())
            attempt.put(SpokenClause(self._clock(), attempt.turn, " ".join(text for text, _ in parts)))
        for text, language in parts:
            with stopping(self._synthesiser.speak(text, language)) as sounds:
                self._pass_on(attempt, sounds)
        attempt.end_clause()

    def _pass_on(self, attempt: Attempt, sounds: Iterator[Samples]) -> None:
        rate = self._synthesiser.sample_rate
        for samples in sounds:
            if not self._is_wanted(attempt):
                return
            attempt.add_sound(len(samples) / rate)
            attempt.put(AnswerAudio(self._clock(), attempt.turn, samples, rate))
            self._wait_for_release(attempt)
            attempt.queue.wait_for_room(lambda: self._is_wanted(attempt))

    def _wait_for_release(self, attempt: Attempt) -> None:
        with self._changed:
            while self._is_wanted(attempt) and attempt.held_sound_s > _MOST_HELD_S:
                self._changed.wait(_LOOK_S)
