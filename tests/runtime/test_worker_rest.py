"""The worker rests as the limits say and listens meanwhile. Rests here are endless, so that nothing depends on time."""

import itertools
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from fakes import ByteTokenizer, FakeExecutor, FakeTemplate, ids_of, random_request, slow_tokens

from pocketseek.runtime.engine import Engine
from pocketseek.types import Limits

HARDLY = 1e-7  # a rest of years after a pass


class ToldGovernor:
    def __init__(self, limits: Limits) -> None:
        self.now = limits

    def limits(self) -> Limits:
        return self.now


@pytest.fixture
def executor() -> FakeExecutor:
    return FakeExecutor()


@pytest.fixture
def governor() -> ToldGovernor:
    return ToldGovernor(Limits(1))


@pytest.fixture
def engine(executor: FakeExecutor, governor: ToldGovernor) -> Iterator[Engine]:
    with Engine(
        executor,
        ByteTokenizer(),  # type: ignore[arg-type]  enough of one
        FakeTemplate(),  # type: ignore[arg-type]  enough of one
        governor,
        num_pages=64,
        speculation=False,
    ) as engine:
        yield engine


def test_at_duty_zero_nothing_runs_and_a_request_can_be_cancelled(
    engine: Engine, executor: FakeExecutor, governor: ToldGovernor
) -> None:
    governor.now = Limits(1, duty=0.0)
    engine.apply_limits()
    stream = engine.stream(random_request(1))
    other = engine.stream(replace(random_request(2), deadline_s=0.01))
    assert [event.finish_reason for event in other] == ["deadline"]
    stream.close()
    engine.close()
    assert executor.works == []


def test_a_rest_ends_when_the_limits_change(engine: Engine, governor: ToldGovernor) -> None:
    governor.now = Limits(1, duty=HARDLY)
    request = random_request(3)
    stream = engine.stream(request)
    first = next(stream)
    governor.now = Limits(1)
    engine.apply_limits()
    assert ids_of([first, *stream]) == slow_tokens(request)


def test_somebody_interactive_ends_a_rest_that_only_saves_power(engine: Engine, governor: ToldGovernor) -> None:
    governor.now = Limits(1, duty=HARDLY)
    stream = engine.stream(random_request(4))
    next(stream)
    engine.stream(random_request(5))
    next(stream)


def test_nobody_ends_a_rest_that_cools(engine: Engine, executor: FakeExecutor, governor: ToldGovernor) -> None:
    governor.now = Limits(1, duty=HARDLY, may_hurry=False)
    stream = engine.stream(random_request(4))
    next(stream)
    late = engine.stream(replace(random_request(5), deadline_s=0.01))
    assert [event.finish_reason for event in late] == ["deadline"]
    assert len(executor.works) == 1


def test_background_rests_where_those_who_wait_do_not(engine: Engine, governor: ToldGovernor) -> None:
    governor.now = Limits(1, background_duty=HARDLY, coalesce_s=0.0)
    background = engine.stream(replace(random_request(6), priority="background"))
    next(background)
    request = random_request(7)
    assert ids_of(engine.stream(request)) == slow_tokens(request)


def test_the_text_does_not_depend_on_the_pace(engine: Engine, governor: ToldGovernor) -> None:
    governor.now = Limits(1, duty=0.5)
    requests = [random_request(seed) for seed in range(4)]
    streams = [engine.stream(request) for request in requests]
    assert [ids_of(stream) for stream in streams] == [slow_tokens(request) for request in requests]
    assert engine.statistics().rested_s > 0.0


def test_messages_without_end_keep_nobody_from_asking_the_governor_or_from_a_deadline(
    engine: Engine, executor: FakeExecutor, governor: ToldGovernor
) -> None:
    """An emergency is over although requests keep coming, faster than any rest lasts."""
    governor.now = Limits(1, duty=0.0, may_hurry=False)
    engine.apply_limits()
    stream = engine.stream(random_request(1))
    late = engine.stream(replace(random_request(2), deadline_s=0.001))
    over = threading.Event()

    def talk() -> None:
        while not over.is_set():
            engine.stream(replace(random_request(3), max_tokens=1)).close()

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        assert [event.finish_reason for event in late] == ["deadline"]
        assert executor.works == []
        governor.now = Limits(1)
        assert ids_of(stream) == slow_tokens(random_request(1))
    finally:
        over.set()
        thread.join()


def test_clocks_follow_the_limits(governor: ToldGovernor, executor: FakeExecutor) -> None:
    class Clocks:
        def __init__(self) -> None:
            self.shares: list[float] = []

        def apply(self, share: float) -> None:
            self.shares.append(share)

    clocks = Clocks()
    with Engine(
        executor,
        ByteTokenizer(),  # type: ignore[arg-type]  enough of one
        FakeTemplate(),  # type: ignore[arg-type]  enough of one
        governor,
        num_pages=64,
        clocks=clocks,  # type: ignore[arg-type]  enough of them
    ) as engine:
        for share in (0.5, 0.5, 1.0):
            governor.now = Limits(1, frequency_share=share)
            list(engine.stream(random_request(1)))
    assert [share for share, _ in itertools.groupby(clocks.shares)] == [0.5, 1.0]
