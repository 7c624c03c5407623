"""Engines that come and go: opened when used, closed when idle or broken, their memory leased meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from pocketseek.apps.voice.contract import Recogniser, Samples, Synthesiser
from pocketseek.apps.voice.on_demand import OnDemand, OnDemandRecogniser, OnDemandSynthesiser, prepare, release_idle
from pocketseek.apps.voice.shared_room import SharedRoom
from pocketseek.errors import MemoryLimitError


class FakeUtterance:
    def __init__(self, fails: bool) -> None:
        self._fails = fails

    def feed(self, samples: Samples) -> None:
        pass

    def partial(self, *, may_be_over: bool = False) -> str:
        return ""

    def finish(self) -> str:
        if self._fails:
            raise RuntimeError("broken")
        return "text"

    def cancel(self) -> None:
        pass


class FakeRecogniser:
    name = "fake"
    languages = ("en",)

    def __init__(self, fails: bool = False) -> None:
        self._fails = fails
        self.is_closed = False

    def start(self, language: str | None) -> FakeUtterance:
        return FakeUtterance(self._fails)

    def close(self) -> None:
        self.is_closed = True


class FakeVoice:
    name = "fake"
    sample_rate = 8_000

    def __init__(self, fails: bool = False) -> None:
        self._fails = fails

    def speak(self, text: str, language: str) -> Iterator[Samples]:
        yield np.zeros(800, np.float32)
        if self._fails:
            raise RuntimeError("broken")
        yield np.zeros(800, np.float32)

    def close(self) -> None:
        pass


class FakeRoom:
    """How many bytes there are; what is leased, and how much of it has come."""

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = num_bytes
        self.leases: dict[FakeLease, int] = {}
        self.num_opened = 0
        self.is_tight = False

    @property
    def leased_bytes(self) -> int:
        return sum(self.leases.values())

    def lease(self, name: str, num_bytes: int) -> FakeLease:
        if self.leased_bytes + num_bytes > self.num_bytes:
            raise MemoryLimitError(f"{name} does not fit; allow more")
        lease = FakeLease(self)
        self.leases[lease] = num_bytes
        return lease


class FakeLease:
    def __init__(self, room: FakeRoom) -> None:
        self._room = room

    def opened(self) -> None:
        self._room.num_opened += 1

    def release(self) -> None:
        self._room.leases.pop(self, None)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_it_is_opened_when_somebody_speaks_and_closed_when_nobody_has_for_a_while() -> None:
    clock, room = Clock(), FakeRoom(100)
    engine: OnDemand[Recogniser] = OnDemand("ears", FakeRecogniser, num_bytes=60, room=room, idle_s=10.0, clock=clock)
    recogniser = OnDemandRecogniser(engine, ("en",))
    assert not engine.is_open
    utterance = recogniser.start("en")
    assert (room.leased_bytes, room.num_opened) == (60, 1)
    clock.now_s = 100.0
    release_idle(recogniser, "something else")
    assert engine.is_open  # in use
    assert utterance.finish() == "text"
    release_idle(recogniser)
    assert engine.is_open
    clock.now_s = 111.0
    release_idle(recogniser)
    assert not engine.is_open
    assert room.leased_bytes == 0


def test_what_does_not_fit_the_room_is_not_opened() -> None:
    room = FakeRoom(50)
    engine: OnDemand[Recogniser] = OnDemand("ears", FakeRecogniser, num_bytes=60, room=room)
    with pytest.raises(MemoryLimitError):
        OnDemandRecogniser(engine, ()).start("en")
    assert not engine.is_open


def test_an_engine_that_cannot_be_opened_gives_its_lease_back() -> None:
    def fails() -> Recogniser:
        raise OSError("no such model")

    room = FakeRoom(100)
    with pytest.raises(OSError, match="no such model"):
        OnDemandRecogniser(OnDemand("ears", fails, num_bytes=60, room=room), ()).start("en")
    assert room.leased_bytes == 0


def test_where_memory_is_short_what_nobody_uses_goes_at_once() -> None:
    room = FakeRoom(100)
    engine: OnDemand[Recogniser] = OnDemand("ears", FakeRecogniser, num_bytes=60, room=room)
    recogniser = OnDemandRecogniser(engine, ())
    utterance = recogniser.start("en")
    room.is_tight = True
    release_idle(recogniser)
    assert engine.is_open  # in use
    utterance.finish()
    release_idle(recogniser)
    assert not engine.is_open
    assert room.leased_bytes == 0


def test_a_lease_beside_several_models_is_one_with_each_or_with_none() -> None:
    rooms = [FakeRoom(100), FakeRoom(50)]
    shared = SharedRoom(lambda: rooms)
    with pytest.raises(MemoryLimitError):
        shared.lease("ears", 60)
    assert [room.leased_bytes for room in rooms] == [0, 0]
    lease = shared.lease("ears", 40)
    lease.opened()
    assert [(room.leased_bytes, room.num_opened) for room in rooms] == [(40, 1), (40, 1)]
    assert not shared.is_tight
    rooms[1].is_tight = True
    assert shared.is_tight
    lease.release()
    lease.release()
    assert [room.leased_bytes for room in rooms] == [0, 0]


def test_a_recogniser_that_broke_is_opened_anew() -> None:
    made: list[FakeRecogniser] = []

    def opened() -> Recogniser:
        made.append(FakeRecogniser(fails=not made))
        return made[-1]

    recogniser = OnDemandRecogniser(OnDemand("ears", opened), ())
    broken = recogniser.start("en")
    with pytest.raises(RuntimeError, match="broken"):
        broken.finish()
    broken.cancel()
    assert made[0].is_closed
    assert recogniser.start("en").finish() == "text"
    assert len(made) == 2


def test_a_voice_that_broke_is_opened_anew_and_one_that_was_stopped_is_not() -> None:
    made: list[FakeVoice] = []

    def opened() -> Synthesiser:
        made.append(FakeVoice(fails=not made))
        return made[-1]

    voice = OnDemandSynthesiser(OnDemand("voice", opened), 8_000)
    with pytest.raises(RuntimeError, match="broken"):
        list(voice.speak("a", "en"))
    assert len(list(voice.speak("a", "en"))) == 2
    stopped = voice.speak("a", "en")
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]
    list(voice.speak("a", "en"))
    assert len(made) == 2


def test_sound_comes_at_the_rate_that_was_promised() -> None:
    voice = OnDemandSynthesiser(OnDemand("voice", FakeVoice), 16_000)
    assert sum(len(piece) for piece in voice.speak("a", "en")) == 3200


def test_it_can_be_opened_before_anybody_speaks() -> None:
    engine: OnDemand[Recogniser] = OnDemand("ears", FakeRecogniser)
    prepare(OnDemandRecogniser(engine, ()), "something else")
    assert engine.is_open
    assert engine.num_opened == 1
