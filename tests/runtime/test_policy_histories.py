"""Any history of both classes, clients, cancellations, deadlines and limits: nothing leaks, everything ends, and the
texts are those of each request alone."""

from random import Random

import pytest
from fakes import slow_tokens
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from simulated_engine import SimulatedEngine

from pocketseek.types import Limits, Request, SamplingParams

VOCAB = 11
NUM_PAGES = 6
lengths = st.one_of(st.integers(1, 250), st.sampled_from([1, 60, 63, 64, 65, 127]))
requests = st.builds(
    Request,
    prompt_ids=st.builds(lambda token, length: (token,) * length, st.integers(0, VOCAB - 1), lengths),
    max_tokens=st.one_of(st.integers(0, 5), st.sampled_from([60, 100])),
    sampling=st.builds(SamplingParams, temperature=st.sampled_from([0.0, 1.0]), seed=st.integers(0, 3)),
    stop_ids=st.sampled_from([(), (), (3,)]),
    score_prompt=st.booleans(),
    priority=st.sampled_from(["interactive", "background"]),
    client=st.sampled_from(["", "a", "b"]),
    deadline_s=st.sampled_from([None, None, 0.05, 1.0, 20.0]),
)
limits = st.builds(
    Limits,
    num_threads=st.integers(1, 2),
    max_tokens_per_pass=st.sampled_from([1, 2, 5, 64, 256]),
    max_sequences=st.integers(1, 5),
    max_pass_s=st.sampled_from([None, 0.001, 0.05, 0.25]),
    coalesce_s=st.sampled_from([0.0, 0.5]),
)


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.engine = SimulatedEngine(NUM_PAGES, vocab_size=VOCAB, context_length=300)

    @rule(request=requests)
    def submit(self, request: Request) -> None:
        self.engine.submit(request)

    @precondition(lambda self: self.engine.requests)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        request_id = data.draw(st.integers(0, len(self.engine.requests) - 1))
        ended = request_id in self.engine.ended
        assert self.engine.cancel(request_id) is not ended

    @rule(seconds=st.sampled_from([0.01, 0.6, 40.0]))
    def time_goes_by(self, seconds: float) -> None:
        self.engine.clock.now_s += seconds

    @rule(limits=limits, count=st.integers(1, 30))
    def run_passes(self, limits: Limits, count: int) -> None:
        self.engine.limits = limits
        for _ in range(count):
            work = self.engine.run_pass()
            if work is None:
                wait_s = self.engine.scheduler.wait_s()
                assert (wait_s is not None and wait_s > 0) or not self.engine.scheduler.has_work
                return
            assert work.num_tokens <= limits.max_tokens_per_pass

    @invariant()
    def every_request_is_somewhere(self) -> None:
        counts = self.engine.scheduler.counts()
        assert counts.num_running + counts.num_waiting + len(self.engine.ended) == len(self.engine.requests)
        assert counts.num_running > 0 or counts.num_free_pages == NUM_PAGES

    def teardown(self) -> None:
        self.engine.play()
        self.engine.check_all_ended()


Histories.TestCase.settings = settings(
    max_examples=40, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestHistories = Histories.TestCase


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_a_long_day_of_requests_ends_with_every_text_right_and_every_page_free(count: int) -> None:
    random = Random(count)
    engine = SimulatedEngine(24, vocab_size=VOCAB, context_length=400)
    busy_s = count * 0.03  # more is asked than can be served at once, so there is always a queue
    coming = sorted((random.uniform(0, busy_s), number) for number in range(count))
    while coming or engine.scheduler.has_work:
        while coming and coming[0][0] <= engine.clock.now_s:
            engine.submit(_random_request(random), at_s=coming.pop(0)[0])
        if random.random() < 0.02:
            engine.cancel(random.randrange(len(engine.requests) or 1))
        if random.random() < 0.05:
            engine.limits = _random_limits(random)
        if engine.run_pass() is None:
            engine.clock.now_s += 0.01
    engine.check_all_ended()
    counts = engine.scheduler.counts()
    assert counts.num_preemptions > 0
    assert {"length", "cancelled", "deadline"} <= set(engine.ended.values())
    produced = sum(len(slow_tokens(one, VOCAB)) for i, one in enumerate(engine.requests) if engine.ended[i] == "length")
    assert counts.num_tokens >= produced


def _random_request(random: Random) -> Request:
    return Request(
        tuple(random.randrange(VOCAB) for _ in range(random.choice([1, 20, 63, 64, 65, 150, 300]))),
        random.choice([0, 1, 5, 20, 60]),
        SamplingParams(temperature=1.0, seed=random.randrange(4)),
        priority=random.choice(["interactive", "background", "background"]),
        client=random.choice(["", "a", "b", "c"]),
        deadline_s=random.choice([None, None, None, 0.3, 5.0]),
    )


def _random_limits(random: Random) -> Limits:
    return Limits(
        1,
        max_tokens_per_pass=random.choice([2, 16, 64, 256, 256]),
        max_sequences=random.choice([1, 3, 8, 16]),
        max_pass_s=random.choice([None, 0.01, 0.25]),
        coalesce_s=random.choice([0.0, 0.5]),
    )
