"""The engine's worker, its scheduler and pace and the thermal governor, closed with the simulated phone.

The loop is the product's, in its own thread; only its clock and its inbox are of the test: where the worker would wait
the phone cools for as long, a pass warms it, and nothing else moves the clock. `benchmarks/heat_loop.py --engine` runs
the same in real time with the real engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from queue import Empty, SimpleQueue
from threading import Event

import pytest
from fakes import ids_of, random_request, slow_tokens
from simulated_engine import SimulatedEngine
from simulated_phone import FULL_THREADS, Pace, PhoneParts, SimulatedPhone

from pocketseek.device.sensor_facts import SensorFacts
from pocketseek.govern.governor import FixedGovernor
from pocketseek.govern.thermal_governor import ThermalGovernor, ThermalStatus
from pocketseek.runtime.token_stream import Message, TokenStream
from pocketseek.runtime.work import Work
from pocketseek.runtime.worker import Worker
from pocketseek.types import Request

PASS_S = 0.4  # of a few tokens at full speed: a model of some billion weights
PATIENCE_S = 120.0  # only a test that hangs ever waits that long
LIGHT = PhoneParts().scaled(capacity=0.5)


class PhoneInbox(SimpleQueue[Message]):
    """Waiting passes on the phone's clock. Who would wait for ever asks `when_idle`, which may put something in."""

    def __init__(self, wait: Callable[[float], None]) -> None:
        super().__init__()
        self._wait = wait
        self.when_idle: Callable[[], None] = lambda: None

    def get(self, block: bool = True, timeout: float | None = None) -> Message:
        if self.empty() and timeout is not None:
            self._wait(timeout)
            raise Empty
        if self.empty():
            self.when_idle()
        return super().get()


class WarmWorker:
    """Lives on the phone's clock. `ask_next` gives what is asked whenever there is nothing to do, or None at the end.

    answers: requests with their streams. curve: the skin's temperature at every look of the governor.
    """

    def __init__(self, phone: SimulatedPhone, facts: Callable[[], SensorFacts] | None = None) -> None:
        self.phone = phone
        self._facts = facts or phone.facts
        self.parts = SimulatedEngine(before_run=self._compute)
        self.clock = self.parts.clock
        self.inbox = PhoneInbox(lambda seconds: self._pass_time(seconds, 0.0))
        self.governor = ThermalGovernor(FixedGovernor(FULL_THREADS), self._look, clock=self.clock)
        self.worker = Worker(
            self.parts.scheduler, self.parts.executor, self.governor, clock=self.clock, inbox=self.inbox
        )
        self.governor.busy_s = lambda: self.worker.total_s
        self.during_pass: Callable[[], None] = lambda: None
        self.answers: list[tuple[Request, TokenStream]] = []
        self.curve: list[float] = []

    @property
    def status(self) -> ThermalStatus:
        assert self.governor.status is not None
        return self.governor.status

    def ask(self, request: Request, announce: Callable[[], None] | None = None) -> TokenStream:
        (stream,) = self.worker.submit([request], owner=self, announce=announce)
        self.answers.append((request, stream))
        return stream

    def live(self, ask_next: Callable[[], object]) -> None:
        """ask_next: called by the worker whenever there is nothing to do; it asks, or it was the end."""
        over = Event()

        def when_idle() -> None:
            ask_next()
            if self.inbox.empty():
                over.set()  # and the worker sleeps until it is closed

        self.inbox.when_idle = when_idle
        ask_next()
        assert over.wait(PATIENCE_S)

    def check_texts(self) -> None:
        for request, stream in self.answers:
            assert ids_of(stream) == slow_tokens(request)

    def _look(self) -> SensorFacts:
        self.curve.append(self.phone.skin_c)
        return self._facts()

    def _compute(self, work: Work) -> None:
        way = Pace(threads=self.parts.executor.threads[-1])
        self._pass_time((PASS_S + 0.002 * work.num_tokens) / self.phone.speed(way), 1.0, way)
        self.during_pass()

    def _pass_time(self, seconds: float, busy_share: float, way: Pace | None = None) -> None:
        self.phone.advance(seconds, busy_share, way or Pace())
        self.clock.now_s += seconds


@contextmanager
def warm_worker(phone: SimulatedPhone, facts: Callable[[], SensorFacts] | None = None) -> Iterator[WarmWorker]:
    warm = WarmWorker(phone, facts)
    try:
        yield warm
    finally:
        warm.worker.close()


def keep_busy(warm: WarmWorker, minutes: float) -> None:
    """There is always something to write."""
    end_s = warm.clock.now_s + 60 * minutes

    def ask_next() -> None:
        if warm.clock.now_s < end_s:
            for _ in range(4):
                warm.ask(random_request(len(warm.answers), max_tokens=60))

    warm.live(ask_next)


@pytest.mark.parametrize("ambient_c", [25.0, 35.0])
def test_an_engine_that_is_kept_busy_stays_at_the_set_point_and_writes_the_same(ambient_c: float) -> None:
    with warm_worker(SimulatedPhone(LIGHT, ambient_c)) as warm:
        keep_busy(warm, 15)
        assert warm.phone.hottest_c <= 45.5
        late = warm.curve[len(warm.curve) // 2 :]
        assert min(late) > 44.0
        assert warm.status.state == "holding"
        worker = warm.worker
        assert worker.total_s + worker.rested_s == pytest.approx(warm.clock.now_s, abs=10)  # and some gathering
        warm.check_texts()


def test_while_it_holds_background_waits_for_those_who_are_waited_for() -> None:
    told: list[str] = []
    with warm_worker(SimulatedPhone(LIGHT, 35.0)) as warm:
        keep_busy(warm, 6)
        assert warm.governor.limits().background_waits
        background = replace(random_request(1000, max_tokens=40), priority="background")
        interactive = random_request(1001, max_tokens=40)

        def somebody_comes() -> None:
            warm.during_pass = lambda: None
            warm.ask(interactive, lambda: told.append("interactive"))

        def ask_next() -> None:
            if not told:
                warm.during_pass = somebody_comes
                warm.ask(background, lambda: told.append("background"))

        warm.live(ask_next)
        warm.check_texts()
    served = told[: len(told) - told[::-1].index("interactive")]
    assert served.count("background") <= 3
    assert told.count("background") > 3


def test_in_surroundings_too_hot_for_anything_an_answer_comes_all_the_same_at_a_crawl() -> None:
    with warm_worker(SimulatedPhone(LIGHT, 50.0)) as warm:
        keep_busy(warm, 1)
        assert warm.status.state == "unreachable"
        assert not warm.status.distrusted
        assert warm.worker.total_s < 0.1 * warm.worker.rested_s
        assert warm.phone.hottest_c < 54.0
        warm.check_texts()


def test_without_a_chip_sensor_one_that_sticks_leads_to_the_careful_pace_through_the_worker_too() -> None:
    phone = SimulatedPhone()
    seen_c: list[float] = []

    def facts() -> SensorFacts:
        skin, _ = phone.facts().temperatures
        seen_c.append(min(40.0, skin.celsius))
        return SensorFacts(phone.time_s, (replace(skin, celsius=max(seen_c)),))

    with warm_worker(phone, facts) as warm:
        keep_busy(warm, 30)
        assert warm.status.state == "blind"
        assert list(dict(warm.status.distrusted).values()) == ["stuck"]
        assert phone.hottest_c < 51.0
        assert phone.skin_c < 46.0
        warm.check_texts()
