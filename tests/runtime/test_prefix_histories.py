"""Any history with shared prefixes, a store that loses pages, and idle moments: nothing leaks, no text changes."""

import hypothesis.strategies as st
import numpy as np
from fakes import FakeExecutor, slow_tokens
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from prefix_bench import DictStore, PrefixBench

from pocketseek.types import Limits, Request, SamplingParams

VOCAB = 11
NUM_PAGES = 6
TEXT = tuple(np.random.default_rng(1).integers(0, VOCAB, 320).tolist())
ends = st.one_of(st.integers(0, 260), st.sampled_from([63, 64, 65, 128, 129, 192, 256]))
requests = st.builds(
    Request,
    prompt_ids=st.builds(
        lambda end, token, more: TEXT[:end] + (token,) * more, ends, st.integers(0, 2), st.integers(1, 70)
    ),
    max_tokens=st.one_of(st.integers(0, 5), st.sampled_from([60, 140])),
    sampling=st.builds(SamplingParams, temperature=st.sampled_from([0.0, 1.0]), seed=st.integers(0, 3)),
    stop_ids=st.sampled_from([(), (), (3,)]),
    score_prompt=st.sampled_from([False, False, False, True]),
    score_from=st.sampled_from([0, 0, 64, 65, 130]),
)
limits = st.builds(
    Limits,
    num_threads=st.just(1),
    max_tokens_per_pass=st.sampled_from([1, 5, 64, 100, 256]),
    max_sequences=st.integers(1, 5),
)


class Histories(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.store = DictStore()
        self.requests: list[Request] = []
        self.cancelled: set[int] = set()
        self.restart()

    def restart(self) -> None:
        executor = FakeExecutor(vocab_size=VOCAB, context_length=340)
        self.bench = PrefixBench(NUM_PAGES, executor=executor, store=self.store)

    @rule(request=requests)
    def submit(self, request: Request) -> None:
        self.bench.submit(request)
        self.requests.append(request)

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        request_id = data.draw(st.integers(0, len(self.requests) - 1))
        if self.bench.scheduler.cancel(request_id) is not None:
            self.cancelled.add(request_id)

    @precondition(lambda self: self.bench.scheduler.has_work)
    @rule(limits=limits, count=st.integers(1, 30))
    def run_passes(self, limits: Limits, count: int) -> None:
        for _ in range(count):
            if self.bench.scheduler.has_work:
                assert self.bench.run_pass(limits).num_tokens <= limits.max_tokens_per_pass

    @precondition(lambda self: self.bench.archive.has_work)
    @rule()
    def store_a_page(self) -> None:
        self.bench.archive.step()

    @precondition(lambda self: self.store.pages)
    @rule(data=st.data())
    def lose_a_page(self, data: st.DataObject) -> None:
        del self.store.pages[data.draw(st.sampled_from(list(self.store.pages)))]

    @rule()
    def end_and_start_again(self) -> None:
        self.check_texts()
        self.bench.archive.finish()
        self.requests, self.cancelled = [], set()
        self.restart()

    @invariant()
    def pages_are_idle_exactly_if_only_the_cache_holds_them(self) -> None:
        cache, pool = self.bench.cache, self.bench.pool
        assert set(cache._idle) == {page for page in cache._by_page if pool.num_references(page) == 1}
        for cached in cache._by_page.values():
            assert cached.parent is None or cached.parent.alive

    def check_texts(self) -> None:
        self.bench.run()
        for request_id, request in enumerate(self.requests):
            got = self.bench.tokens(request_id)
            prepared = self.bench.scheduler.prepare(0, request).request  # max_tokens as clipped
            expected = slow_tokens(prepared, VOCAB)
            assert got == (expected[: len(got)] if request_id in self.cancelled else expected)

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.check_texts()
            assert len(self.bench.cache.allocate(NUM_PAGES)) == NUM_PAGES  # everything gives way


Histories.TestCase.settings = settings(
    max_examples=60, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestHistories = Histories.TestCase
