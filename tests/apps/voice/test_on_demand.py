"""Engines that come and go: opened when used, closed when idle or broken, their memory leased meanwhile."""

from collections.abc import Iterator

import numpy as np
import pytest

from pocketseek.apps.voice.contract import Recogniser, Samples, Synthesiser
from pocketseek.apps.voice.on_demand import OnDemand, OnDemandRecogniser, OnDemandSynthesiser, prepare, release_idle
from pocketseek.errors import MemoryLimitError
from pocketseek.govern.memory_budget import MemoryBudget


class FakeUtterance:
    def __init__(self, fails: bool) -> None:
        self._fails = fails

    def feed(self, samples: Samples) -> None:
        pass

    def partial(self) -> str:
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


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_it_is_opened_when_somebody_speaks_and_closed_when_nobody_has_for_a_while() -> None:
    clock, budget = Clock(), MemoryBudget(100)
    engine: OnDemand[Recogniser] = OnDemand(
        "ears", FakeRecogniser, num_bytes=60, budget=budget, idle_s=10.0, clock=clock
    )
    recogniser = OnDemandRecogniser(engine, ("en",))
    assert not engine.is_open
    utterance = recogniser.start("en")
    assert budget.of("ears") == 60
    clock.now_s = 100.0
    release_idle(recogniser, "something else")
    assert engine.is_open  # in use
    assert utterance.finish() == "text"
    release_idle(recogniser)
    assert engine.is_open
    clock.now_s = 111.0
    release_idle(recogniser)
    assert not engine.is_open
    assert budget.of("ears") == 0


def test_what_does_not_fit_the_budget_is_not_opened() -> None:
    budget = MemoryBudget(100)
    budget.lease("model", 50)
    engine: OnDemand[Recogniser] = OnDemand("ears", FakeRecogniser, num_bytes=60, budget=budget)
    with pytest.raises(MemoryLimitError):
        OnDemandRecogniser(engine, ()).start("en")
    assert not engine.is_open


def test_an_engine_that_cannot_be_opened_gives_its_lease_back() -> None:
    def fails() -> Recogniser:
        raise OSError("no such model")

    budget = MemoryBudget(100)
    with pytest.raises(OSError, match="no such model"):
        OnDemandRecogniser(OnDemand("ears", fails, num_bytes=60, budget=budget), ()).start("en")
    assert budget.leased_bytes == 0


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
