"""The speech engines of the server: opened when somebody wants to speak, kept for a while, closed when nobody does.

A part serves one user at a time. Who is done puts it back, and the next one finds it warm; after `idle_s` without use
it is closed and its memory is free again, also while somebody has it and is silent. How many there are at most follows
from how many may ask at once: `max_calls` voice sessions, and one at a time of the calls that turn a file into text or
a text into sound.

Threads: everything may be called from any thread and blocks while a part is opened.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from pocketseek.apps.serve.voice.chat import SpokenManner
from pocketseek.apps.voice.contract import Recogniser, SpeechDetector, Synthesiser, VoiceChat
from pocketseek.apps.voice.on_demand import release_idle
from pocketseek.apps.voice.session import VoiceSession, VoiceSettings
from pocketseek.errors import UnsupportedError

IDLE_S = 300.0


class Closes(Protocol):
    def close(self) -> None: ...


P = TypeVar("P", bound=Closes)


@dataclass(frozen=True)
class Parts:
    recogniser: Recogniser
    synthesiser: Synthesiser
    detector: SpeechDetector


@dataclass(frozen=True)
class VoiceMakers:
    """How the parts are opened. A language of None: whatever is there. Each raises VoiceError or UnsupportedError with
    the remedy where nothing is installed. style: of what is spoken. check: whether all are there, without opening any.
    heat_share: as of VoiceSession.
    """

    recogniser: Callable[[str | None], Recogniser]
    synthesiser: Callable[[str | None], Synthesiser]
    detector: Callable[[], SpeechDetector]
    style: SpokenManner
    check: Callable[[str | None], None] = lambda language: None
    heat_share: Callable[[], float] = lambda: 1.0

    def talk(self, parts: Parts, chat: VoiceChat, *, language: str | None, push_to_talk: bool) -> VoiceSession:
        return VoiceSession(
            parts.recogniser,
            parts.synthesiser,
            parts.detector,
            chat,
            self.style.shape,
            VoiceSettings(language=language, push_to_talk=push_to_talk),
            when_quiet=lambda: release_idle(parts.recogniser, parts.synthesiser),
            heat_share=self.heat_share,
        )


class VoiceDesk:
    """See the module."""

    def __init__(
        self,
        makers: VoiceMakers,
        *,
        max_calls: int = 2,
        idle_s: float = IDLE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_calls = max_calls
        self.makers = makers
        self._recognisers = _Shelf(makers.recogniser, idle_s, clock)
        self._synthesisers = _Shelf(makers.synthesiser, idle_s, clock)

    @contextmanager
    def recogniser(self, language: str | None) -> Iterator[Recogniser]:
        with self._recognisers.lent(language) as part:
            yield part

    @contextmanager
    def synthesiser(self, language: str | None) -> Iterator[Synthesiser]:
        with self._synthesisers.lent(language) as part:
            yield part

    @contextmanager
    def parts(self, language: str | None) -> Iterator[Parts]:
        with self.recogniser(language) as recogniser, self.synthesiser(language) as synthesiser:
            yield Parts(recogniser, synthesiser, self.makers.detector())

    def close_idle(self) -> None:
        """What nobody has used for a while. Called by whoever looks after the server, and before a part is lent."""
        self._recognisers.close_idle()
        self._synthesisers.close_idle()

    def close(self) -> None:
        """What is lent is closed when it comes back."""
        self._recognisers.close()
        self._synthesisers.close()


def voice_desk(desk: VoiceDesk | None) -> VoiceDesk:
    """Raises UnsupportedError where the server has none."""
    if desk is None:
        raise UnsupportedError(
            "there is no voice here; pip install 'pocketseek[voice]', then run `pocketseek voice setup`"
        )
    return desk


@dataclass
class _Shelf(Generic[P]):
    """Idle parts by language, with the time since when they are."""

    make: Callable[[str | None], P]
    idle_s: float
    clock: Callable[[], float]
    _idle: list[tuple[str | None, P, float]] = field(default_factory=list)
    _is_closed: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def lent(self, language: str | None) -> Iterator[P]:
        """A part that failed while it was lent is not lent again."""
        self.close_idle()
        part = self._take(language) or self.make(language)
        try:
            yield part
        except BaseException:  # also Ctrl-C: it may be in the middle of something, and it is raised again
            part.close()
            raise
        self._put(language, part)

    def close_idle(self) -> None:
        limit_s = self.clock() - self.idle_s
        with self._lock:
            old = [entry for entry in self._idle if entry[2] <= limit_s]
            self._idle = [entry for entry in self._idle if entry[2] > limit_s]
        for _, part, _ in old:
            part.close()

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            parts, self._idle = self._idle, []
        for _, part, _ in parts:
            part.close()

    def _take(self, language: str | None) -> P | None:
        with self._lock:
            for index, (known, part, _) in enumerate(self._idle):
                if known == language:
                    del self._idle[index]
                    return part
        return None

    def _put(self, language: str | None, part: P) -> None:
        with self._lock:
            if not self._is_closed:
                self._idle.append((language, part, self.clock()))
                return
        part.close()
