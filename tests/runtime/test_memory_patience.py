"""Memory is short for a moment: who would fit at other times waits, others go on, and nobody waits for ever."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from fakes import random_request
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_engine import SimulatedEngine, choices

from pocketseek.errors import ContextLengthError, MemoryLimitError
from pocketseek.runtime.counts import SequenceEvent
from pocketseek.runtime.memory_patience import MEMORY_PATIENCE_S
from pocketseek.runtime.scheduler import RETRY_S
from pocketseek.types import Limits

AT_ONCE = Limits(1, coalesce_s=0.0)
MAX_PAGES = 12
LARGE = random_request(1, 165, 20)


class ShortEngine(SimulatedEngine):
    """Opened with MAX_PAGES; then other programs leave it one. `errors` are those that ended requests."""

    def __init__(self, num_opened: int = MAX_PAGES) -> None:
        super().__init__(num_opened, limits=AT_ONCE)
        self.errors: list[BaseException] = []
        self.grows_on_demand = True
        self.leave(1)

    def leave(self, num_pages: int) -> None:
        self.set_memory(Limits(1, num_pages=min(num_pages, self.scheduler.num_pages), max_pages=num_pages))

    def wait(self, seconds: float) -> None:
        """The worker looks again and again, and finds nothing to compute."""
        until_s = self.clock.now_s + seconds
        while self.clock.now_s < until_s:
            assert self.run_pass() is None
            self._sleep(until_s)

    def _take(self, events: object) -> None:
        events = list(events)  # type: ignore[call-overload]  # as in the class above
        self.errors += [event.error for event in events if isinstance(event, SequenceEvent) and event.error]
        super()._take(events)


def test_who_does_not_fit_for_a_moment_waits_and_is_served_when_there_is_memory_again() -> None:
    engine = ShortEngine()
    engine.submit(LARGE)
    engine.wait(MEMORY_PATIENCE_S - RETRY_S)
    assert engine.pool.num_pages == 1
    engine.leave(4)
    engine.play()
    assert engine.ended == {0: "length"}
    engine.check_all_ended()


def test_nothing_is_taken_from_others_for_a_request_that_does_not_fit_anyway() -> None:
    engine = ShortEngine()
    engine.submit(LARGE)
    engine.wait(2 * RETRY_S)
    assert engine.scheduler.page_demand() == (0, 0, 0, 0, 0)
    engine.leave(4)
    assert engine.scheduler.page_demand() == (0, 3, 0, 0, 165)


def test_memory_that_stays_short_ends_it_with_an_error_that_says_what_to_do() -> None:
    engine = ShortEngine()
    engine.submit(*choices(LARGE, 3))
    engine.wait(MEMORY_PATIENCE_S - 0.001)
    assert not engine.ended
    engine.wait(2 * RETRY_S)
    assert set(engine.ended.values()) == {"error"}
    assert len(engine.errors) == len({id(error) for error in engine.errors}) == 3
    for error in engine.errors:
        assert isinstance(error, MemoryLimitError)
        assert str(error) == (
            "for 30 s there was no memory for a prompt of 165 tokens; "
            "allow more (--memory), close other programs or shorten the prompt"
        )
    engine.check_all_ended()


def test_a_moment_of_enough_memory_is_enough() -> None:
    engine = ShortEngine()
    engine.submit(LARGE)
    engine.wait(MEMORY_PATIENCE_S / 2)
    engine.leave(3)
    assert engine.run_pass() is not None
    engine.leave(1)
    engine.play()
    assert engine.ended == {0: "length"}
    engine.check_all_ended()


def test_what_fits_goes_on_meanwhile_and_is_not_held_up() -> None:
    engine = ShortEngine()
    large = engine.submit(LARGE)
    for number in range(5):
        engine.submit(random_request(number, 20, 20))
    engine.play()
    assert [engine.ended[number] for number in range(1, 6)] == ["length"] * 5
    assert max(engine.ended_s[number] for number in range(1, 6)) < RETRY_S
    assert engine.ended[large] == "error"
    engine.check_all_ended()


def test_what_never_fits_is_refused_at_once() -> None:
    engine = ShortEngine(3)
    with pytest.raises(ContextLengthError, match="the memory allowed holds 192"):
        engine.submit(random_request(1, 193))
    engine.submit(random_request(1, 191))


def test_an_answer_is_as_long_as_it_would_be_with_memory() -> None:
    engine = ShortEngine()
    one = random_request(1, 40, 200)
    engine.submit(one)
    engine.play()
    assert len(engine.tokens[0]) == 200
    engine.check_all_ended()


def test_a_deadline_counts_while_it_waits() -> None:
    engine = ShortEngine()
    engine.submit(replace(LARGE, deadline_s=5.0))
    engine.play()
    assert engine.ended == {0: "deadline"}
    assert engine.ended_s[0] == 5.0


def test_pages_that_could_be_had_and_never_come_are_waited_for_no_longer() -> None:
    engine = ShortEngine()
    engine.grows_on_demand = False
    engine.leave(4)
    engine.submit(LARGE)
    engine.play()
    assert engine.ended == {0: "error"}
    engine.check_all_ended()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_in_any_history_of_shortages_every_request_ends_and_those_that_began_are_finished(seed: int) -> None:
    random = Random(seed)
    engine = ShortEngine()
    for number in range(8):
        one = random_request(number, random.choice([10, 64, 165, 400, 700]), random.choice([0, 5, 60]))
        engine.submit(replace(one, priority=random.choice(["interactive", "background"])))
        for _ in range(random.randrange(6)):
            if random.random() < 0.4:
                engine.leave(random.choice([1, 2, 4, MAX_PAGES]))
            if engine.run_pass() is None:
                engine.clock.now_s += random.choice([0.25, 3.0, MEMORY_PATIENCE_S])
    engine.play()
    assert all(isinstance(error, MemoryLimitError) for error in engine.errors)
    assert not [number for number, reason in engine.ended.items() if reason == "error" and engine.tokens[number]]
    engine.check_all_ended()
