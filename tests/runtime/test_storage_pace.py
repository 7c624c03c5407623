"""Passes that wait for storage are filled: drafts, prompts and background take what costs nothing. Simulated time."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from fakes import fake_logits, looping_logits, random_request, slow_tokens
from simulated_engine import SimulatedEngine

from pocketseek.runtime.pass_room import MIN_CHUNK
from pocketseek.runtime.policy import COALESCED_PASSES, NEARLY_FREE, RECENT_S
from pocketseek.runtime.speculate import (
    LONG_DRAFT_TOKENS,
    MAX_DRAFT_TOKENS,
    MAX_DRAFTS_PER_PASS,
    PromptLookup,
    Speculation,
)
from pocketseek.runtime.work import Logits, Work
from pocketseek.types import Limits, Request

STORAGE_S = 5.0
AT_ONCE = Limits(1, coalesce_s=0.0)


def computing_s(num_tokens: int) -> float:
    """A 14B model on a phone: 0.3 s for the first token, 25 ms for each; 188 of them take as long as storage."""
    return 0.3 + 0.025 * num_tokens


def loop_logits(tokens: Sequence[int], vocab_size: int) -> Logits:
    """What stood seven tokens ago comes again, for sure."""
    row = fake_logits(tokens, vocab_size)
    row[tokens[-7]] += 100.0
    return row


def engine_on_storage(storage_s: float = STORAGE_S, *, learnt: bool = True, **kwargs: object) -> SimulatedEngine:
    engine = SimulatedEngine(400, pass_s=computing_s, **kwargs)  # type: ignore[arg-type]
    engine.executor.storage_s = storage_s
    if learnt:
        for num_tokens in (1, 1, 4, 16, 64, 200):  # the first pass counts for nothing
            engine.policy.costs.observe(engine.limits, num_tokens, computing_s(num_tokens))
    return engine


def chat(seed: int, num_prompt: int = 100, max_tokens: int = 20) -> Request:
    return random_request(seed, num_prompt, max_tokens)


def document(seed: int, num_prompt: int = 100, max_tokens: int = 20, deadline_s: float | None = None) -> Request:
    return replace(random_request(seed, num_prompt, max_tokens), priority="background", deadline_s=deadline_s)


def tokens_of(work: Work | None, request_id: int) -> int:
    assert work is not None
    return sum(part.num_tokens for part in work.slices if part.request_id == request_id)


# -- drafts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("learnt", [True, False])
def test_likely_drafts_are_long_when_a_pass_is_expensive(learnt: bool) -> None:
    figures = {}
    for storage_s in (0.0, STORAGE_S):
        engine = engine_on_storage(
            storage_s, learnt=learnt, limits=AT_ONCE, logits=loop_logits, speculation=Speculation(PromptLookup)
        )
        engine.submit(chat(1, 30, 400))
        engine.play()
        engine.check_all_ended()
        longest = max(work.num_logits for work in engine.executor.works)
        figures[storage_s] = len(engine.executor.works), longest
    assert figures[STORAGE_S][0] < 0.7 * figures[0.0][0]
    assert figures[0.0][1] <= 1 + MAX_DRAFT_TOKENS
    assert figures[STORAGE_S][1] == 1 + LONG_DRAFT_TOKENS


def test_drafts_end_where_computing_catches_up_with_storage() -> None:
    engine = engine_on_storage(0.5, limits=AT_ONCE, logits=looping_logits, speculation=Speculation(PromptLookup))
    engine.submit(chat(1, 30, 200))
    engine.play()
    longest = max(work.num_logits for work in engine.executor.works)
    assert 4 <= longest <= 1 + LONG_DRAFT_TOKENS
    engine.check_all_ended()


def test_drafts_of_many_sequences_share_what_a_pass_may_check() -> None:
    engine = engine_on_storage(limits=AT_ONCE, logits=loop_logits, speculation=Speculation(PromptLookup))
    for seed in range(8):
        engine.submit(chat(seed, 20, 60))
    engine.play()
    engine.check_all_ended()
    most = max(work.num_logits - len(work.slices) for work in engine.executor.works)
    assert most == MAX_DRAFTS_PER_PASS


def test_texts_are_the_same_in_memory_and_from_storage() -> None:
    texts = []
    for storage_s in (0.0, 0.2, STORAGE_S):
        engine = engine_on_storage(storage_s, logits=looping_logits, speculation=Speculation(PromptLookup))
        for seed in range(3):
            engine.submit(chat(seed, 50, 60))
            engine.submit(document(10 + seed, 200, 40))
        engine.play()
        engine.check_all_ended()
        texts.append(engine.tokens)
    assert texts[0] == texts[1] == texts[2]


# -- prompts ----------------------------------------------------------------------------------------------------------


def test_chunks_are_not_cut_below_what_costs_nothing() -> None:
    engine = engine_on_storage(limits=replace(AT_ONCE, max_pass_s=0.25))
    engine.submit(chat(1, 20, 60))
    engine.run_pass()
    engine.submit(chat(2, 800, 5))
    work = engine.run_pass()
    assert work is not None
    assert work.num_tokens > 200
    assert computing_s(work.num_tokens) == pytest.approx(NEARLY_FREE * STORAGE_S, rel=0.05)


def test_in_memory_chunks_are_cut_as_before() -> None:
    engine = engine_on_storage(0.0, limits=replace(AT_ONCE, max_pass_s=0.25))
    engine.submit(chat(1, 20, 60))
    engine.run_pass()
    engine.submit(chat(2, 800, 5))
    assert tokens_of(engine.run_pass(), 1) == MIN_CHUNK


def test_prompts_of_several_requests_share_a_pass() -> None:
    engine = engine_on_storage(limits=AT_ONCE)
    engine.submit(chat(1, 20, 60))
    engine.run_pass()
    for seed in (2, 3, 4):
        engine.submit(chat(seed, 60, 5))
    work = engine.run_pass()
    assert [tokens_of(work, request_id) for request_id in range(4)] == [1, 60, 60, 60]


def test_background_prompts_take_what_an_interactive_one_leaves_of_a_pass() -> None:
    engine = engine_on_storage(limits=AT_ONCE)
    engine.submit(chat(1, 100, 5))
    engine.submit(document(2, 500, 5))
    work = engine.run_pass()
    assert tokens_of(work, 0) == 100
    assert 50 < tokens_of(work, 1) <= 188 - 100
    assert computing_s(work.num_tokens if work else 0) <= STORAGE_S


# -- waiting for each other -------------------------------------------------------------------------------------------


def test_background_waits_for_others_as_long_as_a_few_passes_take() -> None:
    engine = engine_on_storage()
    engine.play([(1.0, document(1)), (1.0 + COALESCED_PASSES * STORAGE_S - 0.5, document(2))])
    assert len(engine.executor.works[0].slices) == 2
    assert engine.first_s[0] >= 1.0 + COALESCED_PASSES * STORAGE_S
    engine.check_all_ended()


def test_a_deadline_bounds_the_wait_as_ever() -> None:
    engine = engine_on_storage()
    engine.play([(1.0, document(1, deadline_s=100.0))])
    assert engine.asked_s[0] + 10.0 <= engine.first_s[0] - STORAGE_S <= engine.asked_s[0] + 10.0 + 1.0


def test_without_a_window_nobody_waits() -> None:
    engine = engine_on_storage(limits=AT_ONCE)
    engine.submit(document(1))
    assert engine.run_pass() is not None


def test_background_that_comes_while_others_run_joins_at_once() -> None:
    engine = engine_on_storage()
    engine.submit(document(1, 100, 50))
    engine.clock.now_s += COALESCED_PASSES * STORAGE_S
    engine.run_pass()
    engine.submit(document(2, 100, 50))
    assert tokens_of(engine.run_pass(), 1) > 0


def test_in_memory_background_that_comes_while_others_run_still_waits_for_company() -> None:
    engine = engine_on_storage(0.0)
    engine.submit(document(1, 100, 50))
    engine.clock.now_s += engine.limits.coalesce_s
    engine.run_pass()
    engine.submit(document(2, 100, 50))
    assert tokens_of(engine.run_pass(), 1) == 0


def test_a_burst_of_documents_needs_few_passes() -> None:
    """16 documents within twenty seconds are read and answered in hardly more passes than one of them."""
    counts = []
    for number in (1, 16):
        engine = engine_on_storage()
        engine.play([(1.2 * i, document(i, 100, 30)) for i in range(number)])
        engine.check_all_ended()
        counts.append(len(engine.executor.works))
    assert counts[1] <= counts[0] + 12


# -- somebody waits ---------------------------------------------------------------------------------------------------


def test_a_chat_that_comes_among_documents_waits_for_two_passes_and_little_more() -> None:
    alone = engine_on_storage(limits=AT_ONCE)
    alone.submit(chat(500))
    alone.play()
    assert alone.first_token_s(0) == STORAGE_S
    engine = engine_on_storage(limits=AT_ONCE)
    asked_s = 102.0  # in the middle of a pass
    documents = [(0.0, document(i, 800, 100)) for i in range(10)]
    engine.play([(0.0, chat(1)), *documents, (asked_s, chat(500))])
    late = next(i for i, one in enumerate(engine.requests) if one.prompt_ids == chat(500).prompt_ids)
    assert engine.first_token_s(late) <= 2 * NEARLY_FREE * STORAGE_S
    engine.check_all_ended()


def test_documents_slow_a_written_answer_by_no_more_than_what_is_nearly_free() -> None:
    engine = engine_on_storage(limits=AT_ONCE)
    engine.submit(chat(1, 50, 40))
    for seed in range(5):
        engine.submit(document(10 + seed, 800, 10))
    engine.play()
    assert engine.ended_s[0] <= 40 * 1.02 * NEARLY_FREE * STORAGE_S
    engine.check_all_ended()


def test_documents_are_read_in_full_passes_although_somebody_was_here() -> None:
    engine = engine_on_storage(limits=AT_ONCE)
    engine.submit(chat(1, 20, 2))
    engine.play()
    assert engine.clock.now_s < RECENT_S
    engine.submit(document(2, 800, 2))
    assert tokens_of(engine.run_pass(), 1) > 188


def test_pages_go_to_disk_if_that_is_quicker_than_passes_are(tmp_path_factory: pytest.TempPathFactory) -> None:
    engine = SimulatedEngine(8, limits=AT_ONCE, pass_s=computing_s, swap_folder=tmp_path_factory.mktemp("swap"))
    engine.executor.storage_s = STORAGE_S
    assert engine.swap is not None
    engine.swap._bytes_per_s = 1000.0  # a page takes half a second, more than max_pass_s
    engine.submit(document(1, 300, 100))
    for _ in range(3):
        engine.run_pass()
    engine.submit(chat(2, 300, 5))
    engine.play()
    engine.check_all_ended()
    assert engine.scheduler.counts().num_swapped_out == 1
    assert engine.tokens[0] == slow_tokens(engine.requests[0])
