"""Everything at once, in any order: both classes, clients, deadlines, cancellations, several answers to a prompt, a
cache that shares pages, a store that loses them, swapping to a disk that fails, drafts, a pool that shrinks and grows,
weights that come and go, passes that storage fails. No page is lost, no token is lost or comes twice, every request
ends, and its text is that of the request alone, or the beginning of it if it was in a pass that failed."""

import tempfile
from dataclasses import replace
from pathlib import Path
from random import Random

import hypothesis.strategies as st
import numpy as np
import pytest
from fakes import looping_logits
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from prefix_bench import DictStore
from simulated_engine import SimulatedEngine, choices

from pocketseek.errors import StorageError
from pocketseek.runtime.speculate import PromptLookup, Speculation
from pocketseek.runtime.work import Work
from pocketseek.types import Limits, Request, SamplingParams

VOCAB = 11
NUM_PAGES = 6
CONTEXT = 300
TEXT = tuple(np.random.default_rng(1).integers(0, VOCAB, 320).tolist())
GUESSED_TOO_OFTEN = Speculation(PromptLookup, pass_cost=lambda num_tokens: 1.0)

ends = st.one_of(st.integers(0, 250), st.sampled_from([63, 64, 65, 128, 129, 192]))
requests = st.builds(
    Request,
    prompt_ids=st.builds(
        lambda end, token, more: TEXT[:end] + (token,) * more, ends, st.integers(0, 2), st.integers(1, 40)
    ),
    max_tokens=st.one_of(st.integers(0, 5), st.sampled_from([60, 100])),
    sampling=st.builds(SamplingParams, temperature=st.sampled_from([0.0, 1.0]), seed=st.integers(0, 3)),
    stop_ids=st.sampled_from([(), (), (3,)]),
    score_prompt=st.sampled_from([False, False, False, True]),
    top_logprobs=st.sampled_from([0, 0, 3]),
    priority=st.sampled_from(["interactive", "background"]),
    client=st.sampled_from(["", "a", "b"]),
    deadline_s=st.sampled_from([None, None, None, 0.05, 1.0, 20.0]),
)
embeddings = st.builds(lambda request: replace(request, max_tokens=0, embed_prompt=True), requests)
limits = st.builds(
    Limits,
    num_threads=st.integers(1, 2),
    max_tokens_per_pass=st.sampled_from([1, 2, 5, 64, 256]),
    max_sequences=st.integers(1, 6),
    max_pass_s=st.sampled_from([None, 0.001, 0.05, 0.25]),
    coalesce_s=st.sampled_from([0.0, 0.5]),
)


class Disk:
    """Fails the next `num_faults` passes."""

    def __init__(self) -> None:
        self.num_faults = 0

    def __call__(self, work: Work) -> None:
        if self.num_faults:
            self.num_faults -= 1
            raise StorageError("unreadable; look at the disk")


def engine_with_everything(num_pages: int, folder: Path, store: DictStore, disk: Disk) -> SimulatedEngine:
    return SimulatedEngine(
        num_pages,
        vocab_size=VOCAB,
        context_length=CONTEXT,
        logits=looping_logits,
        prefix_cache=True,
        store=store,
        speculation=GUESSED_TOO_OFTEN,
        swap_folder=folder,
        before_run=disk,
    )


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = DictStore()
        self.disk = Disk()
        self.engine = engine_with_everything(NUM_PAGES, Path(self.folder.name), self.store, self.disk)

    @rule(request=requests | embeddings, count=st.sampled_from([1, 1, 1, 2, 4]))
    def submit(self, request: Request, count: int) -> None:
        longest = self.engine.scheduler.context_length - len(request.prompt_ids)
        if longest > 0:  # the pool may be small just now
            self.engine.submit(*choices(request, count))

    @precondition(lambda self: self.engine.requests)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        request_id = data.draw(st.integers(0, len(self.engine.requests) - 1))
        ended = request_id in self.engine.ended
        assert self.engine.cancel(request_id) is not ended

    @rule(seconds=st.sampled_from([0.01, 0.6, 40.0]))
    def time_goes_by(self, seconds: float) -> None:
        self.engine.clock.now_s += seconds

    @rule(num_pages=st.one_of(st.none(), st.integers(1, 9)))
    def resize(self, num_pages: int | None) -> None:
        self.engine.resize(num_pages)

    @rule(
        num_pages=st.one_of(st.none(), st.integers(1, 9)),
        max_pages=st.one_of(st.none(), st.integers(1, 12)),
        weight_bytes=st.sampled_from([None, 100, 1000]),
        storage_s=st.sampled_from([0.0, 0.001, 0.1]),
    )
    def memory_moves(
        self, num_pages: int | None, max_pages: int | None, weight_bytes: int | None, storage_s: float
    ) -> None:
        self.engine.set_memory(Limits(1, num_pages=num_pages, max_pages=max_pages, weight_bytes=weight_bytes))
        self.engine.executor.storage_s = storage_s

    @rule(grows=st.booleans())
    def the_governor_sees_or_ignores_the_demand(self, grows: bool) -> None:
        self.engine.grows_on_demand = grows

    @rule(num_faults=st.integers(1, 3))
    def passes_fail(self, num_faults: int) -> None:
        self.disk.num_faults = num_faults

    @rule(limit_bytes=st.sampled_from([None, 0, 1024]))
    def the_disk_fills(self, limit_bytes: int | None) -> None:
        assert self.engine.swap is not None
        self.engine.swap._limit_bytes = limit_bytes

    @precondition(lambda self: self.store.pages)
    @rule(data=st.data())
    def the_store_loses_a_page(self, data: st.DataObject) -> None:
        del self.store.pages[data.draw(st.sampled_from(list(self.store.pages)))]

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
        engine = self.engine
        everybody = {sequence.request_id for sequence in engine.scheduler._roster}
        assert everybody == set(range(len(engine.requests))) - engine.ended.keys()
        assert engine.scheduler.counts().num_running > 0 or engine.cache.num_in_use == 0

    @invariant()
    def pages_are_idle_exactly_if_only_the_cache_holds_them(self) -> None:
        cache, pool = self.engine.cache, self.engine.pool
        assert set(cache._idle) == {page for page in cache._by_page if pool.num_references(page) == 1}

    def teardown(self) -> None:
        self.engine.grows_on_demand = True  # what could be had is had in the end
        self.engine.play()
        self.engine.check_all_ended()
        self.folder.cleanup()


Histories.TestCase.settings = settings(
    max_examples=60, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestHistories = Histories.TestCase


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_a_long_day_of_requests_ends_with_every_text_right_and_every_page_free(count: int, tmp_path: Path) -> None:
    random = Random(count)
    store, disk = DictStore(), Disk()
    engine = engine_with_everything(24, tmp_path, store, disk)
    assert engine.swap is not None
    busy_s = count * 0.03  # more is asked than can be served at once, so there is always a queue
    coming_s = sorted(random.uniform(0, busy_s) for _ in range(count))
    while coming_s or engine.scheduler.has_work:
        while coming_s and coming_s[0] <= engine.clock.now_s:
            request = _random_request(random)
            if len(request.prompt_ids) < engine.scheduler.context_length:
                engine.submit(*choices(request, random.choice([1, 1, 1, 2, 3])), at_s=coming_s[0])
            coming_s.pop(0)
        if random.random() < 0.02:
            engine.cancel(random.randrange(len(engine.requests) or 1))
        if random.random() < 0.05:
            engine.limits = _random_limits(random)
        if random.random() < 0.01:
            engine.set_memory(_random_memory(random))
            engine.grows_on_demand = random.random() < 0.3
            engine.executor.storage_s = random.choice([0.0, 0.0, 0.02])
        if random.random() < 0.01:
            disk.num_faults = 1
        if random.random() < 0.01:
            engine.swap._limit_bytes = random.choice([None, None, 0, 4096])
        if store.pages and random.random() < 0.05:
            del store.pages[random.choice(list(store.pages))]
        if engine.run_pass() is None:
            engine.clock.now_s += 0.01
            engine.grows_on_demand = True  # or whoever waits for pages would wait until the next change
    engine.resize(None)
    engine.check_all_ended()
    counts = engine.scheduler.counts()
    assert counts.num_preemptions > counts.num_swapped_out > 0
    assert counts.num_accepted > 0
    assert counts.num_cached_prompt_tokens > 0
    assert {"length", "cancelled", "deadline", "error"} <= set(engine.ended.values())
    assert len(engine.requests) >= count


def _random_request(random: Random) -> Request:
    end, more = random.choice([0, 20, 63, 64, 65, 150, 200]), random.choice([1, 5, 60])
    return Request(
        TEXT[:end] + tuple(random.randrange(VOCAB) for _ in range(more)),
        random.choice([0, 1, 5, 20, 60]),
        SamplingParams(temperature=random.choice([0.0, 1.0]), seed=random.randrange(4)),
        priority=random.choice(["interactive", "background", "background"]),
        client=random.choice(["", "a", "b", "c"]),
        deadline_s=random.choice([None, None, None, 0.3, 5.0]),
    )


def _random_memory(random: Random) -> Limits:
    return Limits(
        1,
        num_pages=random.choice([None, 8, 16, 40]),
        max_pages=random.choice([None, 24, 60]),
        weight_bytes=random.choice([None, 100, 1000]),
    )


def _random_limits(random: Random) -> Limits:
    return Limits(
        1,
        max_tokens_per_pass=random.choice([2, 16, 64, 256, 256]),
        max_sequences=random.choice([1, 3, 8, 16]),
        max_pass_s=random.choice([None, 0.01, 0.25]),
        coalesce_s=random.choice([0.0, 0.5]),
    )
