"""Continuous batching: texts never depend on how passes are filled, and passes are filled fairly."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from fakes import VOCAB_SIZE, FakeExecutor, fake_logits, slow_tokens

from pocketseek.errors import ContextLengthError, ModelOutputError, UsageError
from pocketseek.runtime.counts import SequenceEvent
from pocketseek.runtime.kv_pool import KvPool
from pocketseek.runtime.sampling import log_probability
from pocketseek.runtime.scheduler import Scheduler
from pocketseek.runtime.work import Work
from pocketseek.types import Limits, Request, SamplingParams, TokenEvent

LIMITS = Limits(num_threads=1)


class Bench:
    """A scheduler, a fake executor, and what came out for each request."""

    def __init__(self, num_pages: int = 64, *, executor: FakeExecutor | None = None) -> None:
        self.executor = executor or FakeExecutor()
        self.executor.reserve_pages(num_pages)
        self.pool = KvPool(num_pages)
        self.scheduler = Scheduler(
            self.pool, vocab_size=self.executor.vocab_size, context_length=self.executor.context_length
        )
        self.events: dict[int, list[SequenceEvent]] = {}

    def submit(self, *requests: Request) -> None:
        for request in requests:
            request_id = len(self.events)
            self.scheduler.submit(self.scheduler.prepare(request_id, request))
            self.events[request_id] = []

    def run_pass(self, limits: Limits = LIMITS) -> Work:
        work = self.scheduler.plan(limits)
        assert work is not None
        for event in self.scheduler.commit(work, self.executor.run(work)):
            self.events[event.request_id].append(event)
        return work

    def run(self, limits: Limits = LIMITS) -> None:
        while self.scheduler.has_work:
            self.run_pass(limits)
        assert self.pool.num_free == self.pool.num_pages

    def tokens(self, request_id: int) -> list[int]:
        ids = (event.token.token_id for event in self.events[request_id])
        return [token_id for token_id in ids if token_id is not None]

    def finish(self, request_id: int) -> str | None:
        return self.events[request_id][-1].token.finish_reason


def request(seed: int, num_prompt: int, max_tokens: int = 20, **kwargs: object) -> Request:
    prompt = np.random.default_rng(seed).integers(0, VOCAB_SIZE, num_prompt)
    sampling = SamplingParams(temperature=0.8, top_p=0.9, frequency_penalty=0.2, seed=seed)
    return replace(Request(tuple(prompt.tolist()), max_tokens, sampling), **kwargs)  # type: ignore[arg-type]


def slow_scores(prompt_ids: Sequence[int]) -> list[float]:
    rows = (fake_logits(prompt_ids[:end], VOCAB_SIZE) for end in range(1, len(prompt_ids)))
    return [log_probability(row, token) for row, token in zip(rows, prompt_ids[1:], strict=True)]


MIXED = [request(1, 3), request(2, 130, 70), request(3, 64, 1), request(4, 65, 40), request(5, 1, 64), request(6, 200)]


def test_one_request_gives_what_the_slow_loop_gives() -> None:
    bench = Bench()
    bench.submit(MIXED[1])
    bench.run()
    assert bench.tokens(0) == slow_tokens(MIXED[1])
    assert bench.finish(0) == "length"


def test_batch_of_many_equals_batches_of_one() -> None:
    bench = Bench()
    bench.submit(*MIXED)
    bench.run()
    assert [bench.tokens(i) for i in range(len(MIXED))] == [slow_tokens(one) for one in MIXED]


@pytest.mark.parametrize("max_tokens_per_pass", [1, 2, 3, 7, 64, 100])
def test_cutting_the_prompts_does_not_change_the_texts(max_tokens_per_pass: int) -> None:
    bench = Bench()
    bench.submit(*MIXED)
    bench.run(Limits(1, max_tokens_per_pass, max_sequences=4))
    assert [bench.tokens(i) for i in range(len(MIXED))] == [slow_tokens(one) for one in MIXED]


def test_pre_empted_requests_give_the_same_texts() -> None:
    requests = [request(seed, 60, 130) for seed in range(4)]  # 3 pages each in the end, 5 for all
    bench = Bench(num_pages=5)
    bench.submit(*requests)
    bench.run()
    assert bench.scheduler.counts().num_preemptions > 0
    assert [bench.tokens(i) for i in range(4)] == [slow_tokens(one) for one in requests]


def test_the_oldest_is_never_pre_empted_and_the_youngest_goes_first() -> None:
    requests = [request(seed, 60, 100) for seed in range(3)]
    bench = Bench(num_pages=6)
    bench.submit(*requests)
    bench.run()
    last_events = [max(i for i, work in enumerate(bench.executor.works) if _has(work, one)) for one in range(3)]
    assert last_events == sorted(last_events)
    starts = [sum(_starts(work, one) for work in bench.executor.works) for one in range(3)]
    assert starts[0] == 1
    assert starts[2] > 1


def test_the_pre_empted_come_back_before_those_who_came_later() -> None:
    bench = Bench(num_pages=4)
    bench.submit(request(1, 60, 70), request(2, 60, 100), request(3, 120, 100))
    bench.run()
    assert bench.scheduler.counts().num_preemptions > 0
    first_of_last = next(i for i, work in enumerate(bench.executor.works) if _has(work, 2))
    assert all(_starts(work, 1) is False for work in bench.executor.works[first_of_last + 1 :])


def test_admission_leaves_a_spare_page_for_every_running_sequence() -> None:
    bench = Bench(num_pages=4)
    bench.submit(request(1, 60, 100), request(2, 190, 2))
    bench.run()
    assert bench.scheduler.counts().num_preemptions == 0


def _has(work: Work, request_id: int) -> bool:
    return any(part.request_id == request_id for part in work.slices)


def _starts(work: Work, request_id: int) -> bool:
    return any(part.request_id == request_id and part.first_position == 0 for part in work.slices)


def test_decode_rows_come_first_and_prompts_share_what_is_left() -> None:
    bench = Bench()
    bench.submit(request(1, 5))
    bench.run_pass()
    bench.submit(request(2, 10), request(3, 200))
    work = bench.run_pass(Limits(1, max_tokens_per_pass=32))
    assert [(part.request_id, part.num_tokens, part.num_logits) for part in work.slices] == [
        (0, 1, 1),
        (1, 10, 1),
        (2, 21, 0),
    ]


def test_a_pass_never_exceeds_its_room() -> None:
    bench = Bench()
    bench.submit(*MIXED)
    rooms = itertools.cycle([1, 2, 5, 31, 256])
    while bench.scheduler.has_work:
        room = next(rooms)
        assert bench.run_pass(Limits(1, room)).num_tokens <= room


def test_prompts_move_on_while_decode_rows_fill_the_pass() -> None:
    bench = Bench()
    bench.submit(*(request(seed, 1, 400) for seed in range(8)))
    bench.run_pass()
    bench.submit(request(9, 20, 1))
    for _ in range(30):
        bench.run_pass(Limits(1, max_tokens_per_pass=4))
    assert bench.finish(8) == "length"


@pytest.mark.parametrize("max_tokens_per_pass", [1, 3])
def test_decode_rows_take_turns_when_they_do_not_all_fit(max_tokens_per_pass: int) -> None:
    bench = Bench()
    bench.submit(*(request(seed, 1, 400) for seed in range(6)))
    bench.run_pass()
    for _ in range(60):
        bench.run_pass(Limits(1, max_tokens_per_pass))
    counts = [len(bench.tokens(i)) for i in range(6)]
    assert max(counts) - min(counts) <= 1


def test_admission_is_first_come_first_served() -> None:
    bench = Bench(num_pages=4)
    bench.submit(request(1, 100, 2), request(2, 200, 2), request(3, 1, 2))
    first = bench.run_pass()
    assert {part.request_id for part in first.slices} == {0}  # 2 waits for pages, and 3 waits behind 2
    bench.run()


def test_max_sequences_caps_admission() -> None:
    bench = Bench()
    bench.submit(*(request(seed, 4) for seed in range(5)))
    assert len(bench.run_pass(Limits(1, max_sequences=2)).slices) == 2
    assert len(bench.run_pass(Limits(1, max_sequences=4)).slices) == 4
    assert len(bench.run_pass(Limits(1, max_sequences=1)).slices) == 4  # those running go on


@pytest.mark.parametrize("start", ["waiting", "reading", "decoding"])
def test_cancelling_frees_the_pages_at_once(start: str) -> None:
    bench = Bench()
    bench.submit(request(1, 100))
    if start != "waiting":
        bench.run_pass(Limits(1, max_tokens_per_pass=50 if start == "reading" else 256))
    event = bench.scheduler.cancel(0)
    assert event is not None
    assert event.token.finish_reason == "cancelled"
    assert bench.pool.num_free == bench.pool.num_pages
    assert not bench.scheduler.has_work
    assert bench.scheduler.plan(LIMITS) is None


def test_cancelling_the_unknown_does_nothing() -> None:
    assert Bench().scheduler.cancel(5) is None


def test_cancelling_one_leaves_the_others_alone() -> None:
    bench = Bench()
    bench.submit(*MIXED)
    bench.run_pass()
    bench.scheduler.cancel(1)
    bench.run()
    others = [i for i in range(len(MIXED)) if i != 1]
    assert [bench.tokens(i) for i in others] == [slow_tokens(MIXED[i]) for i in others]


def test_stop_id_ends_the_request_and_is_not_emitted() -> None:
    whole = slow_tokens(MIXED[0])
    bench = Bench()
    bench.submit(replace(MIXED[0], stop_ids=(whole[5],)))
    bench.run()
    assert bench.tokens(0) == whole[: whole.index(whole[5])]
    assert bench.finish(0) == "stop"


def test_logprobs_are_of_the_raw_distribution() -> None:
    bench = Bench()
    bench.submit(MIXED[0])
    bench.run()
    tokens = list(MIXED[0].prompt_ids)
    for event in bench.events[0]:
        assert event.token.token_id is not None
        assert event.token.logprob == log_probability(fake_logits(tokens, VOCAB_SIZE), event.token.token_id)
        tokens.append(event.token.token_id)


@pytest.mark.parametrize("num_prompt", [1, 2, 64, 65, 200])
@pytest.mark.parametrize("max_tokens_per_pass", [1, 50, 256])
def test_prompt_scores_are_those_of_every_prefix(num_prompt: int, max_tokens_per_pass: int) -> None:
    one = request(7, num_prompt, 0, score_prompt=True)
    bench = Bench()
    bench.submit(one, request(8, 100, 3))
    bench.run(Limits(1, max_tokens_per_pass))
    assert [event.token.token_id for event in bench.events[0]] == [None]
    assert bench.events[0][0].token.prompt_logprobs == tuple(slow_scores(one.prompt_ids))


def test_scoring_may_go_on_to_generate() -> None:
    one = request(7, 100, 5, score_prompt=True)
    bench = Bench()
    bench.submit(one)
    bench.run()
    assert bench.tokens(0) == slow_tokens(one)
    assert bench.events[0][-1].token.prompt_logprobs == tuple(slow_scores(one.prompt_ids))


@pytest.mark.parametrize("max_tokens_per_pass", [2, 4])  # pre-empted while it is scored, and after that
def test_scores_survive_pre_emption(max_tokens_per_pass: int) -> None:
    bench = Bench(num_pages=5)
    scored = request(7, 150, 40, score_prompt=True)
    bench.submit(request(1, 60, 250), scored)
    bench.run(Limits(1, max_tokens_per_pass))
    assert bench.scheduler.counts().num_preemptions > 0
    assert bench.tokens(1) == slow_tokens(scored)
    assert bench.events[1][-1].token.prompt_logprobs == tuple(slow_scores(scored.prompt_ids))


def test_scoring_asks_for_few_rows_in_one_pass() -> None:
    bench = Bench()
    bench.submit(*(request(seed, 100, 0, score_prompt=True) for seed in range(3)))
    bench.run()
    assert max(work.num_logits for work in bench.executor.works) == 64


def test_prompt_chunks_ask_for_logits_only_at_the_end() -> None:
    bench = Bench()
    bench.submit(request(1, 100, 1))
    bench.run(Limits(1, max_tokens_per_pass=30))
    assert [work.num_logits for work in bench.executor.works] == [0, 0, 0, 1]


def test_zero_tokens_only_reads_the_prompt() -> None:
    bench = Bench()
    bench.submit(request(1, 10, 0))
    bench.run()
    assert [event.token for event in bench.events[0]] == [TokenEvent(None, finish_reason="length")]
    assert [work.num_logits for work in bench.executor.works] == [0]


def test_fresh_seeds_differ() -> None:
    bench = Bench()
    bench.submit(*(request(1, 5, 20, sampling=SamplingParams(temperature=2.0)) for _ in range(2)))
    bench.run()
    assert bench.tokens(0) != bench.tokens(1)


def _nan_after(token: int) -> Callable[[Sequence[int], int], np.ndarray]:
    def logits(tokens: Sequence[int], vocab_size: int) -> np.ndarray:
        return fake_logits(tokens, vocab_size) * np.float32(np.nan if tokens[0] == token else 1)

    return logits


@pytest.mark.parametrize("score_prompt", [False, True])
def test_unusable_logits_end_that_request_only(score_prompt: bool) -> None:
    bench = Bench(executor=FakeExecutor(logits=_nan_after(7)))
    good = request(1, 50)
    bad = request(2, 100, prompt_ids=(7,) * 100, score_prompt=score_prompt)
    bench.submit(bad, replace(good, prompt_ids=(8, *good.prompt_ids)))
    bench.run()
    assert isinstance(bench.events[0][-1].error, ModelOutputError)
    assert bench.finish(0) == "error"
    assert bench.finish(1) == "length"


def test_prompt_that_can_never_fit_is_refused_when_it_is_prepared() -> None:
    scheduler = Bench(num_pages=2).scheduler
    with pytest.raises(ContextLengthError):
        scheduler.prepare(0, request(1, 129))
    with pytest.raises(UsageError):
        scheduler.prepare(0, Request(()))
    assert not scheduler.has_work


def test_request_that_needs_every_page_runs_to_its_end() -> None:
    bench = Bench(num_pages=3)
    bench.submit(request(1, 10, 20), request(2, 100, 10_000))
    bench.run()
    assert len(bench.tokens(1)) == 3 * 64 - 100


def test_logits_of_the_wrong_shape_are_refused() -> None:
    bench = Bench()
    bench.submit(request(1, 5))
    work = bench.scheduler.plan(LIMITS)
    assert work is not None
    with pytest.raises(ValueError, match="the executor returned"):
        bench.scheduler.commit(work, np.zeros((2, VOCAB_SIZE), np.float32))


def test_counts_add_up() -> None:
    bench = Bench()
    bench.submit(request(1, 100, 7), request(2, 30, 5))
    before = bench.scheduler.counts()
    bench.run()
    after = bench.scheduler.counts()
    assert (before.num_waiting, before.num_running, after.num_waiting, after.num_running) == (2, 0, 0, 0)
    assert (after.num_passes, after.num_prompt_tokens, after.num_tokens) == (7, 130, 12)
    assert after.num_free_pages == after.num_pages == 64
