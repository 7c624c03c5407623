"""Drafts change how many passes a text takes, and nothing else: not the text, not who gets a page, not the room."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from fakes import VOCAB_SIZE, FakeExecutor, fake_logits, looping_logits, slow_tokens

from pocketseek.errors import ModelOutputError
from pocketseek.runtime.counts import SchedulerCounts, SequenceEvent
from pocketseek.runtime.kv_pool import KvPool
from pocketseek.runtime.sampling import log_probability
from pocketseek.runtime.scheduler import Scheduler
from pocketseek.runtime.speculate import Draft, PromptLookup, Speculation
from pocketseek.runtime.work import Logits, Work, pages_for
from pocketseek.types import Limits, Request, SamplingParams

LogitsOf = Callable[[Sequence[int], int], Logits]
LIMITS = Limits(num_threads=1)
LOOKUP = Speculation(PromptLookup)


class Wild:
    """Sure of tokens that are nearly never right."""

    def draft(self, tokens: Sequence[int], max_tokens: int) -> Draft:
        return Draft([(sum(tokens) + i) % VOCAB_SIZE for i in range(max_tokens)], [1.0] * max_tokens)


class Run:
    """A scheduler on a fake executor, and what came out for each request."""

    def __init__(
        self,
        *requests: Request,
        num_pages: int = 64,
        logits: LogitsOf = looping_logits,
        speculation: Speculation | None = LOOKUP,
    ) -> None:
        self.executor = FakeExecutor(logits=logits)
        self.executor.reserve_pages(num_pages)
        self.pool = KvPool(num_pages)
        self.scheduler = Scheduler(self.pool, vocab_size=VOCAB_SIZE, context_length=1024, speculation=speculation)
        self.requests: list[Request] = []
        self.events: list[list[SequenceEvent]] = []
        self.submit(*requests)

    def submit(self, *requests: Request) -> None:
        for one in requests:
            self.scheduler.submit(self.scheduler.prepare(len(self.requests), one))
            self.requests.append(one)
            self.events.append([])

    def run_pass(self, limits: Limits = LIMITS) -> Work:
        work = self.scheduler.plan(limits)
        assert work is not None
        for event in self.scheduler.commit(work, self.executor.run(work)):
            self.events[event.request_id].append(event)
        return work

    def run(self, limits: Limits = LIMITS) -> "Run":
        while self.scheduler.has_work:
            self.run_pass(limits)
        assert self.pool.num_free == self.pool.num_pages
        return self

    def tokens(self, request_id: int) -> list[int]:
        ids = (event.token.token_id for event in self.events[request_id])
        return [token_id for token_id in ids if token_id is not None]

    @property
    def counts(self) -> SchedulerCounts:
        return self.scheduler.counts()


def request(seed: int, num_prompt: int = 20, max_tokens: int = 60, temperature: float = 0.8, **changes: int) -> Request:
    prompt = np.random.default_rng(seed).integers(0, VOCAB_SIZE, num_prompt)
    sampling = replace(SamplingParams(temperature=temperature, top_p=0.9, seed=seed), **changes)
    return Request(tuple(prompt.tolist()), max_tokens, sampling)


MIXED = [request(1, 3), request(2, 130, 70, 0.0), request(3, 64, 1), request(4, 65, 40), request(5, 1, 64, 0.0)]


@pytest.mark.parametrize("logits", [looping_logits, fake_logits])
@pytest.mark.parametrize("speculation", [LOOKUP, Speculation(Wild), Speculation(PromptLookup, lambda num: 1.0)])
@pytest.mark.parametrize("max_tokens_per_pass", [1, 3, 7, 256])
def test_texts_are_those_of_the_slow_loop(logits: LogitsOf, speculation: Speculation, max_tokens_per_pass: int) -> None:
    run = Run(*MIXED, logits=logits, speculation=speculation).run(Limits(1, max_tokens_per_pass, max_sequences=4))
    assert [run.tokens(i) for i in range(len(MIXED))] == [slow_tokens(one, logits=logits) for one in MIXED]


def test_text_that_repeats_itself_takes_fewer_passes() -> None:
    plain, drafted = Run(request(1, max_tokens=200), speculation=None).run(), Run(request(1, max_tokens=200)).run()
    assert drafted.events == plain.events
    assert drafted.counts.num_tokens == plain.counts.num_tokens == 200
    assert drafted.counts.num_passes == 200 - drafted.counts.num_accepted
    assert drafted.counts.num_passes < plain.counts.num_passes / 2
    assert drafted.counts.num_drafted >= drafted.counts.num_accepted
    assert plain.counts.num_drafted == 0


@pytest.mark.parametrize("penalty", ["frequency_penalty", "presence_penalty", "repetition_penalty"])
def test_penalties_see_the_tokens_of_the_same_pass(penalty: str) -> None:
    one = request(1, max_tokens=100, **{penalty: 1.3})
    run = Run(one).run()
    assert run.counts.num_accepted > 0
    assert run.tokens(0) == slow_tokens(one, logits=looping_logits)


def test_pre_empted_requests_give_the_same_texts() -> None:
    requests = [request(seed, 60, 130) for seed in range(4)]
    run = Run(*requests, num_pages=5).run()
    assert run.counts.num_preemptions > 0
    assert run.counts.num_accepted > 0
    assert [run.tokens(i) for i in range(4)] == [slow_tokens(one, logits=looping_logits) for one in requests]


@pytest.mark.parametrize("place", [0, 1, 20, 59])
def test_end_token_ends_the_answer_wherever_a_draft_has_it(place: int) -> None:
    whole = slow_tokens(request(1), logits=looping_logits)
    one = replace(request(1), stop_ids=(whole[place],))
    run = Run(one).run()
    assert run.tokens(0) == slow_tokens(one, logits=looping_logits)
    assert run.events[0][-1].token.finish_reason == "stop"
    assert [event.token.finish_reason for event in run.events[0][:-1]] == [None] * (len(run.events[0]) - 1)


def test_drafts_hold_no_end_token() -> None:
    one = replace(request(1), stop_ids=(5, 6))
    run = Run(replace(one, prompt_ids=(1, 2, 3, 4, 5, 6) * 5), speculation=Speculation(PromptLookup, lambda num: 1.0))
    run.run()
    assert not {token for work in run.executor.works[1:] for token in work.slices[0].token_ids} & {5, 6}


def test_no_draft_reaches_beyond_the_last_token() -> None:
    run = Run(request(1, 20, 100), speculation=Speculation(Wild)).run()
    assert max(work.slices[0].end_position for work in run.executor.works) == 20 + 100 - 1


def test_logprobs_are_those_of_the_raw_distribution() -> None:
    run = Run(request(1)).run()
    tokens = list(run.requests[0].prompt_ids)
    for event in run.events[0]:
        assert event.token.token_id is not None
        assert event.token.logprob == log_probability(looping_logits(tokens, VOCAB_SIZE), event.token.token_id)
        tokens.append(event.token.token_id)
    assert run.counts.num_accepted > 0


def test_scored_requests_are_never_speculated() -> None:
    run = Run(replace(request(1, max_tokens=100), score_prompt=True), speculation=Speculation(Wild)).run()
    assert run.counts.num_drafted == 0
    assert run.tokens(0) == slow_tokens(request(1, max_tokens=100), logits=looping_logits)


def test_unusable_logits_behind_accepted_tokens_come_after_their_events() -> None:
    def logits(tokens: Sequence[int], vocab_size: int) -> Logits:
        return looping_logits(tokens, vocab_size) * np.float32(np.nan if len(tokens) >= 60 else 1)

    plain = Run(request(1), request(2, 1, 20), logits=logits, speculation=None).run()
    drafted = Run(request(1), request(2, 1, 20), logits=logits).run()
    assert drafted.counts.num_accepted > 0
    assert isinstance(drafted.events[0][-1].error, ModelOutputError)
    assert [[event.token for event in events] for events in drafted.events] == [
        [event.token for event in events] for events in plain.events
    ]


def test_unusable_logits_of_wrong_guesses_are_not_looked_at() -> None:
    one = request(1, temperature=0.0)
    text = [*one.prompt_ids, *slow_tokens(one, logits=looping_logits)]

    def logits(tokens: Sequence[int], vocab_size: int) -> Logits:
        right = list(tokens) == text[: len(tokens)]
        return looping_logits(tokens, vocab_size) * np.float32(1 if right else np.nan)

    run = Run(one, logits=logits, speculation=Speculation(Wild)).run()
    assert run.counts.num_drafted > 0
    assert run.tokens(0) == text[20:]


# -- pages and room ---------------------------------------------------------------------------------------------------


def test_pages_of_failed_drafts_are_free_after_the_pass() -> None:
    run = Run(*(request(seed, 40 + seed, 100) for seed in range(6)), speculation=Speculation(Wild))
    while run.scheduler.has_work:
        run.run_pass()
        lengths = [one.num_prompt for one in run.scheduler._roster.running]
        outputs = [one.num_output for one in run.scheduler._roster.running]
        needed = sum(pages_for(prompt + output) for prompt, output in zip(lengths, outputs, strict=True))
        assert run.pool.num_pages - run.pool.num_free <= needed


def test_nobody_is_pre_empted_for_a_draft() -> None:
    requests = [request(seed, 50, 150) for seed in range(3)]
    plain = Run(*requests, num_pages=5, speculation=None).run()
    drafted = Run(*requests, num_pages=5, speculation=Speculation(Wild)).run()
    assert drafted.counts.num_drafted > 100
    assert drafted.counts.num_preemptions == plain.counts.num_preemptions > 0
    assert [drafted.tokens(i) for i in range(3)] == [plain.tokens(i) for i in range(3)]


def test_draft_takes_a_free_page() -> None:
    run = Run(request(1, 60, 40), speculation=Speculation(Wild))
    ends = [run.run_pass().slices[0].end_position for _ in range(2)]
    assert ends[1] > 64


def test_a_pass_never_exceeds_its_room_and_prompts_keep_a_quarter() -> None:
    run = Run(*(request(seed, 1, 200) for seed in range(3)), speculation=Speculation(Wild, lambda num: 1.0))
    run.run_pass()
    run.submit(request(9, 200, 1))
    while len(run.events[3]) == 0:
        work = run.run_pass(Limits(1, max_tokens_per_pass=16))
        assert work.num_tokens <= 16
        assert next(part.num_tokens for part in work.slices if part.request_id == 3) >= 4
        assert [part.request_id for part in work.slices] == [0, 1, 2, 3]


def test_drafts_ask_for_few_rows_of_logits_in_one_pass() -> None:
    run = Run(*(request(seed, 1, 60) for seed in range(10)), speculation=Speculation(Wild, lambda num: 1.0)).run()
    assert max(work.num_logits for work in run.executor.works) == 10 + 32


# -- when it does not pay ---------------------------------------------------------------------------------------------


def contrary_logits(tokens: Sequence[int], vocab_size: int) -> Logits:
    """Of four words, never the one that is guessed."""
    draft = PromptLookup().draft(list(tokens), 1)
    row = fake_logits(tokens, vocab_size)
    row[:4] += 50.0
    row[list(draft.token_ids)] -= 100.0
    return row


def test_a_sequence_that_cannot_be_guessed_is_soon_left_alone() -> None:
    one = Request(tuple(i % 4 for i in range(16)), 900, SamplingParams(temperature=1.0, seed=1))
    run = Run(one, logits=contrary_logits).run()
    assert run.counts.num_accepted == 0
    with_drafts = [index for index, work in enumerate(run.executor.works[1:]) if work.num_tokens > 1]
    assert with_drafts
    assert len(with_drafts) < 60
    assert sum(index >= 200 for index in with_drafts) < 20  # of 700: what it has not seen before it tries


def test_a_quoting_section_is_noticed_after_a_long_one_that_cannot_be_guessed() -> None:
    quoted = list(range(100, 200))

    def logits(tokens: Sequence[int], vocab_size: int) -> Logits:
        if len(tokens) < 600:
            return contrary_logits(tokens, vocab_size)
        row = np.zeros(vocab_size, np.float32)
        row[tokens[-1] + 1 if 100 <= tokens[-1] < 199 else 100] = 9.0
        return row

    run = Run(Request((*quoted, 0, 1, 2), 580, SamplingParams(temperature=0.0)), logits=logits)
    while len(run.tokens(0)) < 600 - 103:
        run.run_pass()
    passes_before, tokens_before = run.counts.num_passes, len(run.tokens(0))
    run.run()
    assert run.counts.num_passes - passes_before < (580 - tokens_before) / 2
