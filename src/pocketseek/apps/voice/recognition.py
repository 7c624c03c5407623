"""The stage that turns speech into text while it is still being spoken.

One thread owns the recogniser. Others hand it sound and say what they want; it takes all that has come at once, so a
slow engine falls behind by less often asking for a partial text. What waits while it is opened, or hangs, is bounded by
who feeds it, who looks at `backlog_s`. How often a text is asked for follows what the last one cost, and how warm the
phone is; none is begun in silence, where it would be in the way of the one that is asked for when silence has settled.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Literal, Protocol

import numpy as np

from pocketseek.apps.voice.contract import SAMPLE_RATE, Recogniser, Samples, Utterance

_SHORTEST_STEP_S = 0.3  # of new sound, before a text is worth being asked for again
_REST_FACTOR = 1.0  # rest for as long as the last text took: half of a core for ASR at the most
_LEAST_SHARE = 0.1  # of the heat of full speed; texts so far are told less often then, and never not at all

_Kind = Literal["start", "settle", "resume", "finish", "cancel"]


@dataclass(frozen=True)
class _Command:
    kind: _Kind
    turn: int


@dataclass(frozen=True)
class _Sound:
    samples: Samples
    ends_silent: bool


class RecognitionReader(Protocol):
    """Who is told, in the recogniser's thread."""

    def heard_so_far(self, turn: int, text: str) -> None: ...

    def nothing_so_far(self, turn: int, seconds: float) -> None:
        """There is no word in all that was heard of the turn: so many seconds."""

    def seems_done(self, turn: int, text: str) -> None:
        """Silence: this is likely all."""

    def goes_on(self, turn: int) -> None:
        """It was not."""

    def heard(self, turn: int, text: str) -> None: ...

    def recognition_failed(self, turn: int, error: Exception) -> None: ...


class RecognitionStage:
    """Methods from any thread but the reader's; none of them waits."""

    def __init__(
        self,
        recogniser: Recogniser,
        language: str | None,
        reader: RecognitionReader,
        clock: Callable[[], float],
        heat_share: Callable[[], float] = lambda: 1.0,
    ) -> None:
        """heat_share: of the heat of full speed, what may be made now; rests between two texts are longer then."""
        self._heat_share = heat_share
        self._recogniser = recogniser
        self._language = language
        self._reader = reader
        self._clock = clock
        self._changed = threading.Condition()
        self._inbox: deque[_Command | _Sound] = deque()
        self._pending_samples = 0
        self._is_closed = False
        # Of the thread alone:
        self._batch: deque[_Command | _Sound] = deque()
        self._utterance: Utterance | None = None
        self._turn = 0
        self._new_s = 0.0  # sound that no text was asked for yet
        self._is_silent = False
        self._text = ""
        self._heard_s = 0.0
        self._rest_until_s = 0.0
        self._thread = threading.Thread(target=self._live, name="voice-recognition", daemon=True)
        self._thread.start()

    @property
    def backlog_s(self) -> float:
        """Sound that waits."""
        return self._pending_samples / SAMPLE_RATE

    def start(self, turn: int) -> None:
        self._put(_Command("start", turn))

    def feed(self, samples: Samples, *, is_silent: bool = False) -> None:
        with self._changed:
            self._inbox.append(_Sound(samples, is_silent))
            self._pending_samples += len(samples)
            self._changed.notify()

    def settle(self, turn: int) -> None:
        self._put(_Command("settle", turn))

    def resume(self, turn: int) -> None:
        self._put(_Command("resume", turn))

    def finish(self, turn: int) -> None:
        self._put(_Command("finish", turn))

    def cancel(self, turn: int) -> None:
        self._put(_Command("cancel", turn))

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _put(self, command: _Command) -> None:
        with self._changed:
            self._inbox.append(command)
            self._changed.notify()

    # -- the thread --------------------------------------------------------------------------------------------------

    def _live(self) -> None:
        while self._take():
            while self._batch:
                self._try(partial(self._do, self._batch.popleft()))
            self._try(self._ask_if_due)
        self._drop()

    def _try(self, step: Callable[[], None]) -> None:
        """What fails costs the turn that it belongs to; what came behind it is of others, and goes on."""
        try:
            step()
        except Exception as error:  # noqa: BLE001  told as the turn's failure; engines are other people's code
            self._drop()
            self._reader.recognition_failed(self._turn, error)

    def _take(self) -> bool:
        """What has come, the sound between two commands in one piece; nothing when a text is due; False at the end."""
        with self._changed:
            while not self._inbox and not self._is_closed and not self._is_due():
                self._changed.wait(self._until_due_s())
            if self._is_closed:
                return False
            items, self._inbox = self._inbox, deque()
            self._pending_samples = 0
        self._batch = _merged(items)
        return True

    def _do(self, item: _Command | _Sound) -> None:
        if isinstance(item, _Sound):
            if self._utterance is not None:
                self._utterance.feed(item.samples)
                self._new_s += len(item.samples) / SAMPLE_RATE
                self._heard_s += len(item.samples) / SAMPLE_RATE
                self._is_silent = item.ends_silent
            return
        if item.kind == "start":
            self._drop()
            self._turn, self._text, self._new_s, self._heard_s, self._is_silent = item.turn, "", 0.0, 0.0, False
            self._utterance = self._recogniser.start(self._language)
        elif self._utterance is None or item.turn != self._turn:
            return  # of a turn that failed
        elif item.kind == "settle":
            self._settled()
        elif item.kind == "resume":
            self._reader.goes_on(self._turn)
        elif item.kind == "finish":
            text = self._utterance.finish().strip()
            self._utterance = None
            self._reader.heard(self._turn, text)
        else:
            self._drop()

    def _settled(self) -> None:
        """Many pauses within speech are over before the text is there; then nothing is tried on it."""
        if not self._has_resumed():
            self._ask(may_be_over=True)
        if not self._has_resumed():
            self._reader.seems_done(self._turn, self._text)

    def _has_resumed(self) -> bool:
        with self._changed:
            coming = [*self._batch, *self._inbox]
        return any(isinstance(item, _Command) and item.kind == "resume" for item in coming)

    def _is_due(self) -> bool:
        return self._is_worth_it() and self._clock() >= self._rest_until_s

    def _is_worth_it(self) -> bool:
        return self._utterance is not None and self._new_s >= _SHORTEST_STEP_S and not self._is_silent

    def _until_due_s(self) -> float | None:
        if not self._is_worth_it():
            return None
        return max(0.001, self._rest_until_s - self._clock())

    def _ask_if_due(self) -> None:
        if self._is_due():
            self._ask()

    def _ask(self, *, may_be_over: bool = False) -> None:
        if self._utterance is None or not (self._new_s or may_be_over):
            return
        began_s = self._clock()
        text = self._utterance.partial(may_be_over=may_be_over).strip()
        self._new_s = 0.0
        now_s = self._clock()
        self._rest_until_s = now_s + _REST_FACTOR * (now_s - began_s) / max(_LEAST_SHARE, self._heat_share())
        if not text:
            self._reader.nothing_so_far(self._turn, self._heard_s)
        if text != self._text:
            self._text = text
            self._reader.heard_so_far(self._turn, text)

    def _drop(self) -> None:
        utterance, self._utterance = self._utterance, None
        if utterance is not None:
            with suppress(Exception):  # it failed already, or nobody wants it
                utterance.cancel()


def _merged(items: deque[_Command | _Sound]) -> deque[_Command | _Sound]:
    merged: deque[_Command | _Sound] = deque()
    for is_sound, run in groupby(items, lambda item: isinstance(item, _Sound)):
        if is_sound:
            sounds = [item for item in run if isinstance(item, _Sound)]
            merged.append(_Sound(np.concatenate([sound.samples for sound in sounds]), sounds[-1].ends_silent))
        else:
            merged += run
    return merged
