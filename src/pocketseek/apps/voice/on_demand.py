"""Engines that are opened when somebody speaks and closed when nobody has for a while.

What is to be opened leases its bytes first, where it was given a room: the language model makes way for it
(runtime/guests.py), or it is not opened. An engine that failed is closed, and opened anew the next time. So the memory
of an assistant that nobody talks to is that of the language model; where memory is short, what nobody uses goes at
once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Generic, Protocol, TypeVar, runtime_checkable

from pocketseek.apps.voice.contract import Recogniser, Samples, Synthesiser, Utterance
from pocketseek.apps.voice.sound.resample import Resampler
from pocketseek.apps.voice.sound.sounds import stopping
from pocketseek.runtime.guests import GuestLease
from pocketseek.runtime.memory_use import give_back_freed_memory

IDLE_S = 300.0


class Room(Protocol):
    """Of the process's memory; that beside an engine is its `guests`."""

    @property
    def is_tight(self) -> bool: ...

    def lease(self, name: str, num_bytes: int) -> GuestLease:
        """Returns when the memory is there. Raises MemoryLimitError."""


class _Closes(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=_Closes)


class OnDemand(Generic[T]):
    """One engine, from any thread. Use it within `using` only."""

    def __init__(
        self,
        name: str,
        open_engine: Callable[[], T],
        *,
        num_bytes: int = 0,
        room: Room | None = None,
        idle_s: float = IDLE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._open = open_engine
        self._num_bytes = num_bytes
        self._room = room
        self._lease: GuestLease | None = None
        self._idle_s = idle_s
        self._clock = clock
        self._lock = RLock()
        self._engine: T | None = None
        self._num_users = 0
        self._used_s = 0.0
        self.num_opened = 0

    @property
    def is_open(self) -> bool:
        return self._engine is not None

    def take(self) -> T:
        """The engine, opened if need be; to be given back. Raises MemoryLimitError and what opening raises."""
        with self._lock:
            if self._engine is None:
                self._engine = self._opened()
                self.num_opened += 1
            self._num_users += 1
            return self._engine

    def give_back(self, *, has_failed: bool = False) -> None:
        with self._lock:
            self._num_users -= 1
            self._used_s = self._clock()
            if has_failed and self._num_users == 0:
                self.close()

    def release_if_idle(self) -> None:
        """Never waits: who is opening it uses it."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            is_tight = self._room is not None and self._room.is_tight
            if self._num_users == 0 and (is_tight or self._clock() - self._used_s >= self._idle_s):
                self.close()
        finally:
            self._lock.release()

    def close(self) -> None:
        with self._lock:
            engine, self._engine = self._engine, None
            if engine is not None:
                engine.close()
                del engine
                give_back_freed_memory()
                if self._lease is not None:
                    self._lease.release()

    def _opened(self) -> T:
        if self._room is None:
            return self._open()
        self._lease = self._room.lease(self.name, self._num_bytes)
        try:
            engine = self._open()
        except BaseException:  # also Ctrl-C: what is not there takes no room, and it is raised again
            self._lease.release()
            raise
        self._lease.opened()
        return engine


class OnDemandRecogniser:
    """languages: known without opening it."""

    def __init__(self, engine: OnDemand[Recogniser], languages: tuple[str, ...]) -> None:
        self._engine = engine
        self.name = engine.name
        self.languages = languages

    def start(self, language: str | None) -> Utterance:
        return _Lent(self._engine, language)

    def prepare(self) -> None:
        self._engine.take()
        self._engine.give_back()

    def release_if_idle(self) -> None:
        self._engine.release_if_idle()

    def close(self) -> None:
        self._engine.close()


class _Lent:
    """An utterance that has its engine for as long as it lasts. If anything raises, the engine is given up."""

    def __init__(self, engine: OnDemand[Recogniser], language: str | None) -> None:
        self._engine = engine
        self._has_engine = True
        recogniser = engine.take()
        with self._giving_up():
            self._utterance = recogniser.start(language)

    def feed(self, samples: Samples) -> None:
        with self._giving_up():
            self._utterance.feed(samples)

    def partial(self, *, may_be_over: bool = False) -> str:
        with self._giving_up():
            return self._utterance.partial(may_be_over=may_be_over)

    def finish(self) -> str:
        with self._giving_up():
            text = self._utterance.finish()
        self._end()
        return text

    def cancel(self) -> None:
        if self._has_engine:
            with self._giving_up():
                self._utterance.cancel()
            self._end()

    @contextmanager
    def _giving_up(self) -> Iterator[None]:
        is_done = False
        try:
            yield
            is_done = True
        finally:
            if not is_done:
                self._end(has_failed=True)

    def _end(self, *, has_failed: bool = False) -> None:
        if self._has_engine:
            self._has_engine = False
            self._engine.give_back(has_failed=has_failed)


class OnDemandSynthesiser:
    """sample_rate: of what comes out, whatever the engine's own is, which is not known before it is open."""

    def __init__(self, engine: OnDemand[Synthesiser], sample_rate: int) -> None:
        self._engine = engine
        self.name = engine.name
        self.sample_rate = sample_rate

    def speak(self, text: str, language: str) -> Iterator[Samples]:
        synthesiser = self._engine.take()
        has_failed = True
        try:
            yield from _at(self.sample_rate, synthesiser, text, language)
            has_failed = False
        except GeneratorExit:
            has_failed = False
            raise
        finally:
            self._engine.give_back(has_failed=has_failed)

    def prepare(self) -> None:
        self._engine.take()
        self._engine.give_back()

    def release_if_idle(self) -> None:
        self._engine.release_if_idle()

    def close(self) -> None:
        self._engine.close()


def prepare(*engines: object) -> None:
    """Those among them that are opened on demand are opened now, so that the first turn need not wait for it."""
    for engine in engines:
        if isinstance(engine, _Preparable):
            engine.prepare()


@runtime_checkable
class _Preparable(Protocol):
    def prepare(self) -> None: ...


def release_idle(*engines: object) -> None:
    """Those among them that can be released are, if nobody has used them for a while."""
    for engine in engines:
        if isinstance(engine, _Releasable):
            engine.release_if_idle()


@runtime_checkable
class _Releasable(Protocol):
    def release_if_idle(self) -> None: ...


def _at(sample_rate: int, synthesiser: Synthesiser, text: str, language: str) -> Iterator[Samples]:
    resampler = Resampler(synthesiser.sample_rate, sample_rate)
    with stopping(synthesiser.speak(text, language)) as sounds:
        for samples in sounds:
            yield resampler.feed(samples)
        if len(rest := resampler.flush()):
            yield rest
