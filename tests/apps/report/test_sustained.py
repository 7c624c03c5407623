"""A sustained load keeps the engine busy, is looked at on a clock of the test's, and is summed up honestly."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from fakes import FakeExecutor, fake_engine
from sample_reports import NOTHING, look, warming_samples

from pocketseek.apps.report.sustained import Sample, SustainedRun, duties, power_of, summarise
from pocketseek.device.sensor_facts import SensorFacts, Temperature
from pocketseek.errors import StorageError, UsageError
from pocketseek.runtime.work import Work

_PATIENCE_S = 60.0


class PassClock:
    """A second passes when the engine has run some more passes; `at` is called at the beginning of every wait."""

    def __init__(self, at: Callable[[float], object] = lambda now_s: None) -> None:
        self._now_s = 0.0
        self._at = at
        self._passes = threading.Semaphore(0)
        self._stopped = False

    def now_s(self) -> float:
        return self._now_s

    def wait(self, seconds: float) -> None:
        self._at(self._now_s)
        while self._passes.acquire(blocking=False):
            pass  # those that ran while nobody waited
        if self._stopped:
            time.sleep(0.005)  # until somebody else has seen what happened, many times if need be
        for _ in range(0 if self._stopped else 20):
            assert self._passes.acquire(timeout=_PATIENCE_S), "the engine stands still"
        self._now_s += seconds

    def stop(self) -> None:
        """Time goes on although the engine stands still."""
        self._stopped = True
        self._passes.release(20)

    def passed(self, work: Work) -> None:
        self._passes.release()


def skin_at(celsius: float) -> SensorFacts:
    return SensorFacts(0.0, (Temperature("a", "skin", celsius, "a"),))


def run_of(clock: PassClock, seconds: float, *, concurrency: int = 1) -> tuple[SustainedRun, FakeExecutor]:
    executor = FakeExecutor(before_run=clock.passed)
    engine = fake_engine(executor)
    run = SustainedRun(engine, lambda: skin_at(30 + clock.now_s()), clock, concurrency=concurrency, seconds=seconds)
    with engine:
        run.run(lambda elapsed_s: None)
    return run, executor


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_sample_a_second_and_as_many_sequences_as_asked_for(concurrency: int) -> None:
    run, executor = run_of(PassClock(), 4.5, concurrency=concurrency)
    assert [sample.time_s for sample in run.samples] == [1.0, 2.0, 3.0, 4.0, 4.5]
    assert [sample.look.skin_c for sample in run.samples] == [31.0, 32.0, 33.0, 34.0, 34.5]
    assert all(sample.num_tokens > 0 for sample in run.samples)
    assert max(len(work.slices) for work in executor.works) == concurrency


def test_no_answer_runs_on_after_an_interruption_and_the_samples_stay() -> None:
    def interrupt(now_s: float) -> None:
        if now_s >= 3:
            raise KeyboardInterrupt

    clock = PassClock(interrupt)
    executor = FakeExecutor(before_run=clock.passed)
    with fake_engine(executor) as engine:
        run = SustainedRun(engine, lambda: skin_at(30), clock, concurrency=2, seconds=60)
        with pytest.raises(KeyboardInterrupt):
            run.run(lambda elapsed_s: None)
        engine.score([1, 2])  # the cancellations were in the worker's box before this
        assert engine.statistics().load.num_running == 0
    result = run.result()
    assert result is not None
    assert result.measured_s == 3.0


def test_an_answer_that_fails_ends_the_load_with_its_error() -> None:
    clock = PassClock()
    num_passes = 0

    def fail_late(work: Work) -> None:
        nonlocal num_passes
        num_passes += 1
        clock.passed(work)
        if num_passes > 50:
            clock.stop()
            raise StorageError("the disk is gone; put it back")

    with fake_engine(FakeExecutor(before_run=fail_late)) as engine:
        run = SustainedRun(engine, lambda: skin_at(30), clock, concurrency=1, seconds=4000)
        with pytest.raises(StorageError, match="gone"):
            run.run(lambda elapsed_s: None)


def test_a_context_that_is_too_short_is_refused() -> None:
    with fake_engine(FakeExecutor(context_length=20)) as engine, pytest.raises(UsageError, match="context"):
        SustainedRun(engine, lambda: skin_at(30), PassClock(), concurrency=1, seconds=1)


def test_answers_are_as_long_as_a_short_context_allows() -> None:
    clock = PassClock()
    with fake_engine(FakeExecutor(context_length=100, before_run=clock.passed)) as engine:
        run = SustainedRun(engine, lambda: skin_at(30), clock, concurrency=1, seconds=1)
        run.run(lambda elapsed_s: None)
    result = run.result()
    assert result is not None
    assert (result.answer_prompt_tokens, result.answer_new_tokens) == (16, 84)


def test_beginning_and_end_are_a_tenth_each() -> None:
    speeds = [100] * 10 + [70] * 80 + [50] * 10
    samples = [Sample(float(second), speed, speed, 1.0, NOTHING) for second, speed in enumerate(speeds, 1)]
    sustained = summarise(samples)
    assert (sustained.first_tokens_per_s, sustained.last_tokens_per_s) == (100, 50)
    assert sustained.num_tokens == sum(speeds)
    assert sustained.tokens_per_s == pytest.approx(sum(speeds) / 100)
    assert sustained.samples.tokens_per_s == tuple(map(float, speeds))


def test_beginning_and_end_are_a_minute_at_most() -> None:
    samples = [Sample(float(s), 60 if s <= 60 else 30, 0.0, 1.0, NOTHING) for s in range(1, 1801)]
    assert summarise(samples).first_tokens_per_s == 60


def test_one_sample_is_beginning_and_end() -> None:
    sustained = summarise([Sample(2.0, 30, 15.0, 1.0, NOTHING)])
    assert (sustained.first_tokens_per_s, sustained.last_tokens_per_s) == (15, 15)


def test_power_is_the_mean_over_time_and_tokens_per_joule_are_of_those_seconds() -> None:
    samples = [Sample(1.0, 40, 40.0, 1.0, look(power_w=4.0)), Sample(3.0, 60, 30.0, 1.0, look(power_w=7.0))]
    power = power_of([look(power_w=1.0), look(power_w=2.0)], samples)
    assert power is not None
    assert (power.idle_w, power.busy_w, power.added_w) == (1.5, 6.0, 4.5)
    assert power.tokens_per_joule == pytest.approx(100 / 18)
    assert power.tokens_per_added_joule == pytest.approx(100 / (18 - 4.5))


def test_seconds_on_the_charger_do_not_count() -> None:
    plugged = replace(look(power_w=None), power_gap="charging")
    samples = [Sample(1.0, 40, 40.0, 1.0, look(power_w=4.0)), Sample(2.0, 90, 90.0, 1.0, plugged)]
    power = power_of([look(power_w=1.0)], samples)
    assert power is not None
    assert power.tokens_per_joule == 10
    assert power_of([plugged], samples) is None
    assert power_of([look(power_w=1.0)], samples[1:]) is None
    assert power_of([], samples) is None


def test_a_load_that_adds_nothing_has_no_tokens_per_added_joule() -> None:
    power = power_of([look(power_w=5.0)], [Sample(1.0, 40, 40.0, 1.0, look(power_w=4.0))])
    assert power is not None
    assert power.tokens_per_added_joule is None


def test_the_sample_phone_slows_down() -> None:
    sustained = summarise(warming_samples())
    assert sustained.last_tokens_per_s < 0.8 * sustained.first_tokens_per_s


@pytest.mark.parametrize(
    ("busy_s", "expected"),
    [
        ([0.5, 1.0, 0.0], [0.5, 1.0, 0.0]),
        ([0.0, 0.0, 3.0], [1.0, 1.0, 1.0]),
        ([0.0, 0.0, 2.5, 0.0], [0.5, 1.0, 1.0, 0.0]),
        ([3.0, 0.0], [1.0, 0.0]),  # it began before
    ],
)
def test_a_pass_longer_than_a_sample_counts_in_those_before(busy_s: list[float], expected: list[float]) -> None:
    samples = [Sample(float(second), 1, 1.0, busy, NOTHING) for second, busy in enumerate(busy_s, 1)]
    assert duties(samples) == pytest.approx(expected)
