"""Scheduler, policy, pace and thermal governor closed with the simulated phone, on a clock that only moves when told.

The worker's own loop needs real time and is tested in test_worker_rest.py; `benchmarks/heat_loop.py --engine` runs it
with the real engine for ten minutes.
"""

from dataclasses import replace

import pytest
from fakes import random_request
from simulated_engine import SimulatedEngine
from simulated_phone import FULL_THREADS, Pace, PhoneParts, SimulatedPhone

from pocketseek.govern.governor import FixedGovernor
from pocketseek.govern.thermal_governor import ThermalGovernor
from pocketseek.runtime import pace
from pocketseek.types import Limits

PASS_S = 0.4  # of a few tokens at full speed: a model of some billion weights


class WarmEngine(SimulatedEngine):
    """Rests as the worker does; the phone lives on the engine's clock and is warmed by its passes."""

    def __init__(self, phone: SimulatedPhone) -> None:
        super().__init__(limits=Limits(FULL_THREADS), pass_s=self._on_phone)
        self.phone = phone
        self.busy_s = 0.0
        self.pace = pace.Pace(0.0)
        self.governor = ThermalGovernor(FixedGovernor(FULL_THREADS), self.sensors, clock=self.clock)
        self.governor.busy_s = lambda: self.busy_s
        self.curve: list[float] = []

    def sensors(self):  # type: ignore[no-untyped-def]  as of the phone
        return self.phone.facts()

    def _way(self) -> Pace:
        return Pace(1.0, self.limits.num_threads, self.limits.frequency_share)

    def _on_phone(self, num_tokens: int) -> float:
        return (PASS_S + 0.002 * num_tokens) / self.phone.speed(self._way())

    def ask(self) -> None:
        """What the worker does before every pass and every second of a rest."""
        self.limits = self.governor.limits()
        duty = self.limits.duty * (1.0 if self.policy.has_interactive else self.limits.background_duty)
        self.pace.set_duty(duty, self.clock.now_s)
        self.curve.append(self.phone.skin_c)

    def turn(self) -> None:
        """A pass and the rest after it."""
        self.ask()
        begun_s = self.clock.now_s
        while self.run_pass() is None:  # background is gathered
            wait_s = self.scheduler.wait_s()
            assert wait_s is not None
            self.phone.advance(wait_s, 0.0)
            self.clock.now_s = begun_s = self.clock.now_s + wait_s
            self.ask()
        seconds = self.clock.now_s - begun_s
        self.phone.advance(seconds, 1.0, self._way())
        self.busy_s += seconds
        self.pace.worked(seconds, self.clock.now_s)
        while (rest_s := self.pace.rest_s(self.clock.now_s)) > 0.0:
            rest_s = min(rest_s, 1.0)
            self.phone.advance(rest_s, 0.0)
            self.clock.now_s += rest_s
            self.ask()


def kept_busy(engine: WarmEngine, minutes: float) -> None:
    """There is always something to write."""
    seed = 0
    while engine.clock.now_s < 60 * minutes:
        if len(engine.ended) == len(engine.requests):
            for _ in range(4):
                engine.submit(random_request(seed, max_tokens=60))
                seed += 1
        engine.turn()
    while engine.scheduler.has_work:
        engine.turn()


@pytest.mark.parametrize("ambient_c", [25.0, 35.0])
def test_an_engine_that_is_kept_busy_stays_at_the_set_point_and_writes_the_same(ambient_c: float) -> None:
    engine = WarmEngine(SimulatedPhone(PhoneParts().scaled(capacity=0.5), ambient_c))
    kept_busy(engine, 15)
    assert engine.phone.hottest_c <= 45.5
    late = engine.curve[len(engine.curve) // 2 :]
    assert min(late) > 44.0
    assert engine.governor.status is not None
    assert engine.governor.status.state == "holding"
    engine.check_all_ended()


def test_while_it_holds_background_waits_for_those_who_are_waited_for() -> None:
    engine = WarmEngine(SimulatedPhone(PhoneParts().scaled(capacity=0.5), 35.0))
    kept_busy(engine, 6)
    assert engine.limits.background_waits
    background = engine.submit(replace(random_request(1000, max_tokens=40), priority="background"))
    engine.turn()
    interactive = engine.submit(random_request(1001, max_tokens=40))
    while interactive not in engine.ended:
        engine.turn()
    assert background not in engine.ended
    assert len(engine.tokens[background]) <= 3
    while engine.scheduler.has_work:
        engine.turn()
    engine.check_all_ended()
