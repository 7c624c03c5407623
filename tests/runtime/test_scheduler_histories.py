"""Any history of requests, cancellations, limits and pool sizes: nothing leaks, all ends, texts are the slow loop's."""

from dataclasses import replace

import pytest
from fakes import FakeExecutor, fake_logits, looping_logits, slow_tokens
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pocketseek.errors import ContextLengthError
from pocketseek.runtime.kv_pool import KvPool
from pocketseek.runtime.scheduler import Scheduler
from pocketseek.runtime.speculate import PromptLookup, Speculation
from pocketseek.runtime.work import pages_for
from pocketseek.types import Limits, Request, SamplingParams

VOCAB = 11
NUM_PAGES = 5
lengths = st.one_of(st.integers(1, 250), st.sampled_from([1, 60, 63, 64, 65, 127]))  # borders of pages
requests = st.builds(
    Request,
    prompt_ids=st.builds(lambda token, length: (token,) * length, st.integers(0, VOCAB - 1), lengths),
    max_tokens=st.one_of(st.integers(0, 5), st.sampled_from([60, 140])),
    sampling=st.builds(SamplingParams, temperature=st.sampled_from([0.0, 1.0]), seed=st.integers(0, 3)),
    stop_ids=st.sampled_from([(), (), (3,)]),
    score_prompt=st.booleans(),
    score_from=st.sampled_from([0, 1, 64, 65, 300]),
)
limits = st.builds(
    Limits,
    num_threads=st.just(1),
    max_tokens_per_pass=st.sampled_from([1, 2, 5, 64, 256]),
    max_sequences=st.integers(1, 5),
)


class Histories(RuleBasedStateMachine):
    speculation: Speculation | None = None
    logits = staticmethod(fake_logits)

    def __init__(self) -> None:
        super().__init__()
        self.pool = KvPool(NUM_PAGES)
        self.executor = FakeExecutor(vocab_size=VOCAB, context_length=300, logits=self.logits)
        self.executor.reserve_pages(NUM_PAGES)
        self.scheduler = Scheduler(self.pool, vocab_size=VOCAB, context_length=300, speculation=self.speculation)
        self.requests: list[Request] = []
        self.tokens: list[list[int]] = []
        self.ended: dict[int, str] = {}
        self.num_pages = NUM_PAGES  # asked for
        self.accepted: set[int] = set()  # who fitted at some pass, and is finished whatever the size

    @rule(request=requests)
    def submit(self, request: Request) -> None:
        if len(request.prompt_ids) >= self.scheduler.context_length:
            with pytest.raises(ContextLengthError):
                self.scheduler.prepare(0, replace(request, max_tokens=1))
            return
        sequence = self.scheduler.prepare(len(self.requests), request)
        self.scheduler.submit(sequence)
        self.requests.append(sequence.request)
        self.tokens.append([])

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        request_id = data.draw(st.integers(0, len(self.requests) - 1))
        event = self.scheduler.cancel(request_id)
        assert (event is None) == (request_id in self.ended)
        if event is not None:
            self.ended[request_id] = "cancelled"

    @rule(num_pages=st.one_of(st.none(), st.integers(1, 8)))
    def resize(self, num_pages: int | None) -> None:
        self.executor.reserve_pages(num_pages or 0)
        self.scheduler.set_num_pages(num_pages)
        self.num_pages = num_pages or NUM_PAGES

    @precondition(lambda self: self.scheduler.has_work)
    @rule(limits=limits, count=st.integers(1, 30))
    def run_passes(self, limits: Limits, count: int) -> None:
        for _ in range(count):
            if self.scheduler.has_work:
                self.run_pass(limits)

    def run_pass(self, limits: Limits) -> bool:
        """False if nobody can run until there are more pages."""
        self.accepted |= {i for i in self.open if self.begins_with(i) <= self.num_pages}
        work = self.scheduler.plan(limits)
        if work is None:
            assert not self.accepted.intersection(self.open)
            return False
        self.executor.release_pages(self.scheduler.take_vacated_pages())
        assert work.num_tokens <= limits.max_tokens_per_pass
        for event in self.scheduler.commit(work, self.executor.run(work)):
            assert event.request_id not in self.ended
            if event.token.token_id is not None:
                self.tokens[event.request_id].append(event.token.token_id)
            if event.token.finish_reason is not None:
                self.ended[event.request_id] = event.token.finish_reason
        return True

    @property
    def open(self) -> list[int]:
        return [i for i in range(len(self.requests)) if i not in self.ended]

    def begins_with(self, request_id: int) -> int:
        request = self.requests[request_id]
        return pages_for(len(request.prompt_ids) + min(1, request.max_tokens))

    @invariant()
    def every_request_is_somewhere(self) -> None:
        counts = self.scheduler.counts()
        assert counts.num_running + counts.num_waiting + len(self.ended) == len(self.requests)
        assert counts.num_running > 0 or self.pool.num_free == self.pool.num_pages

    @invariant()
    def no_more_pages_are_in_use_or_in_memory_than_the_pool_has(self) -> None:
        self.executor.release_pages(self.scheduler.take_vacated_pages())
        accepted = self.accepted.intersection(self.open)
        lengths = [len(self.requests[i].prompt_ids) + len(self.tokens[i]) for i in accepted]
        assert self.pool.num_pages <= max([self.num_pages, *map(pages_for, lengths)])
        assert self.pool.num_used <= self.pool.num_pages
        assert self.executor.num_written_pages <= self.pool.num_pages

    def teardown(self) -> None:
        while self.scheduler.has_work:
            if not self.run_pass(Limits(1)):
                self.resize(8)
        assert self.pool.num_free == self.pool.num_pages == self.num_pages
        for request_id, request in enumerate(self.requests):
            expected, reason = slow_tokens(request, VOCAB, self.logits), self.ended[request_id]
            got = self.tokens[request_id]
            assert got == (expected[: len(got)] if reason == "cancelled" else expected)


class SpeculatedHistories(Histories):
    """The same with drafts, of which about half are right, and passes that cost nothing, so that many are made."""

    speculation = Speculation(PromptLookup, pass_cost=lambda num_tokens: 1.0)
    logits = staticmethod(looping_logits)


Histories.TestCase.settings = settings(
    max_examples=40, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestHistories = Histories.TestCase
SpeculatedHistories.TestCase.settings = Histories.TestCase.settings
TestSpeculatedHistories = SpeculatedHistories.TestCase
