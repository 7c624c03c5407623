"""Pages that were computed once are found again, give way when they must, and never change a text."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fakes import VOCAB_SIZE, slow_tokens
from prefix_bench import DictStore, PrefixBench

from pocketseek.runtime.prefix.page import PageKey, key_of_page
from pocketseek.types import Limits, Request, SamplingParams


def ids(seed: int, count: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng(seed).integers(0, VOCAB_SIZE, count).tolist())


def request(prompt_ids: tuple[int, ...], max_tokens: int = 20, seed: int = 1, **kwargs: Any) -> Request:
    sampling = SamplingParams(temperature=0.8, top_p=0.9, frequency_penalty=0.2, seed=seed)
    return replace(Request(prompt_ids, max_tokens, sampling), **kwargs)


PROMPT = ids(1, 200)  # three full pages


def test_a_repeated_prompt_gives_the_same_bits_and_computes_its_last_page_only() -> None:
    bench = PrefixBench()
    first, second = bench.generate(request(PROMPT)), bench.generate(request(PROMPT))
    assert first == second == slow_tokens(request(PROMPT))
    assert bench.logprobs(0) == bench.logprobs(1)
    assert bench.num_computed[0] - bench.num_computed[1] == 192
    assert (bench.num_cached(0), bench.num_cached(1)) == (0, 192)
    assert bench.scheduler.counts().num_cached_prompt_tokens == 192


@pytest.mark.parametrize(("num_prompt", "num_cached"), [(1, 0), (64, 0), (65, 64), (128, 64), (129, 128)])
def test_the_last_prompt_token_is_always_computed(num_prompt: int, num_cached: int) -> None:
    bench = PrefixBench()
    one = request(ids(2, num_prompt), 5)
    assert bench.generate(one) == bench.generate(one) == slow_tokens(one)
    assert bench.num_cached(1) == num_cached


def test_a_prompt_may_leave_a_cached_one_anywhere() -> None:
    bench = PrefixBench()
    bench.generate(request(PROMPT))
    for length in (1, 63, 64, 65, 127, 128, 150, 199):
        other = request(PROMPT[:length] + ids(3, 90), 10)
        assert bench.generate(other) == slow_tokens(other)
        assert bench.num_cached(len(bench.events) - 1) == length // 64 * 64


def test_the_same_page_after_another_one_is_another_page() -> None:
    bench = PrefixBench()
    page = ids(4, 64)
    bench.generate(request(page + page + ids(5, 10)))
    other = request(ids(6, 64) + page + ids(5, 10))
    assert bench.generate(other) == slow_tokens(other)
    assert bench.num_cached(1) == 0


def test_answers_can_be_found_too() -> None:
    bench = PrefixBench()
    answer = bench.generate(request(PROMPT, 100))
    following = request((*PROMPT, *answer, *ids(7, 30)))
    assert bench.generate(following) == slow_tokens(following)
    assert bench.num_cached(1) == 299 // 64 * 64  # the newest token of the answer was not computed


def test_equal_hashes_never_give_a_wrong_text() -> None:
    def collide(parent: bytes, token_ids: Sequence[int]) -> PageKey:
        return key_of_page(parent, token_ids)._replace(chain=b"same")

    bench = PrefixBench(key_of_page=collide)
    for seed in (1, 2, 1, 3):
        one = request(ids(seed, 200))
        assert bench.generate(one) == slow_tokens(one)


def test_sequences_share_the_pages_they_run_on() -> None:
    bench = PrefixBench(num_pages=8)  # alone each needs 5
    bench.generate(request(PROMPT, 1))
    bench.submit(*(request(PROMPT, 70, seed) for seed in range(3)))
    bench.run_pass()
    assert bench.scheduler.counts().num_running == 3
    bench.run()
    assert [bench.tokens(i) for i in (1, 2, 3)] == [slow_tokens(request(PROMPT, 70, seed)) for seed in range(3)]


@pytest.mark.parametrize("max_tokens_per_pass", [1, 7, 64, 100, 256])
def test_prompts_that_arrive_together_are_computed_once(max_tokens_per_pass: int) -> None:
    bench = PrefixBench()
    together = [request(PROMPT, 3, seed) for seed in range(4)]
    bench.submit(*together)
    bench.run(Limits(1, max_tokens_per_pass))
    assert [bench.tokens(i) for i in range(4)] == [slow_tokens(one) for one in together]
    assert sum(bench.num_computed.values()) <= 200 + 3 * (8 + 64) + 4 * 3


def test_two_that_computed_the_same_page_end_up_with_one() -> None:
    bench = PrefixBench()
    bench.submit(request(PROMPT, 1, score_prompt=True), request(PROMPT, 1, score_prompt=True))
    bench.run()
    assert bench.cache.num_cached == 3


def test_scoring_takes_nothing_and_leaves_its_pages() -> None:
    bench = PrefixBench()
    scored = request(PROMPT, 2, score_prompt=True)
    bench.generate(scored)
    bench.generate(scored)
    assert bench.num_computed[0] == bench.num_computed[1]
    assert bench.events[0][-1].token == bench.events[1][-1].token
    bench.generate(request(PROMPT))
    assert bench.num_cached(2) == 192


def test_idle_pages_give_way_before_anybody_is_refused_or_pre_empted() -> None:
    bench = PrefixBench(num_pages=6)
    bench.generate(request(PROMPT, 100))
    other = request(ids(8, 300), 60)  # 6 pages
    bench.submit(other)
    bench.run_pass()
    bench.run()
    assert bench.tokens(1) == slow_tokens(other)
    assert bench.scheduler.counts().num_preemptions == 0


def test_the_least_recently_used_chain_goes_first_and_its_end_before_its_beginning() -> None:
    bench = PrefixBench(num_pages=8)
    old, new = ids(1, 200), ids(2, 200)
    bench.generate(request(old, 1))
    bench.generate(request(new, 1))
    bench.generate(request(old, 1))
    bench.generate(request(ids(3, 200), 1))  # 4 pages, 2 are free: the last two of `new` go
    bench.submit(request(old, 1), request(new, 1))
    bench.run()
    assert [bench.num_cached(i) for i in (4, 5)] == [192, 64]


def test_a_pre_empted_sequence_finds_its_pages_again() -> None:
    requests = [request(ids(seed, 60), 130) for seed in range(4)]
    bench = PrefixBench(num_pages=5)
    bench.submit(*requests)
    bench.run()
    assert bench.scheduler.counts().num_preemptions > 0
    assert [bench.tokens(i) for i in range(4)] == [slow_tokens(one) for one in requests]
    assert all(bench.num_cached(i) == 0 for i in range(4))  # what it computed itself is no gift


@pytest.mark.parametrize("when", ["reading", "decoding"])
def test_cancelling_leaves_whole_pages_behind_and_leaks_none(when: str) -> None:
    bench = PrefixBench()
    bench.submit(request(PROMPT))
    bench.run_pass(Limits(1, max_tokens_per_pass=100 if when == "reading" else 256))
    bench.scheduler.cancel(0)
    bench.check_nothing_leaked()
    assert bench.generate(request(PROMPT)) == slow_tokens(request(PROMPT))
    assert bench.num_cached(1) == (64 if when == "reading" else 192)


def test_switched_off_nothing_is_kept() -> None:
    bench = PrefixBench(enabled=False)
    bench.generate(request(PROMPT))
    bench.generate(request(PROMPT))
    assert bench.num_cached(1) == 0
    assert bench.pool.num_free == bench.pool.num_pages


# -- the archive -------------------------------------------------------------------------------------------------------

LONG = ids(9, 300)  # four full pages, the least that is worth a write


def test_another_engine_goes_on_from_what_was_stored() -> None:
    store = DictStore()
    before, after = PrefixBench(store=store), PrefixBench(store=store)
    expected = before.generate(request(LONG))
    assert before.archive is not None
    before.archive.finish()
    assert after.generate(request(LONG)) == expected == slow_tokens(request(LONG))
    assert before.logprobs(0) == after.logprobs(0)
    assert after.num_cached(0) == 256


def test_stored_pages_continue_cached_ones() -> None:
    store = DictStore()
    before, after = PrefixBench(store=store), PrefixBench(store=store)
    before.generate(request(LONG))
    assert before.archive is not None
    before.archive.finish()
    after.generate(request(LONG[:150]))
    assert after.num_cached(0) == 128
    assert after.generate(request(LONG)) == slow_tokens(request(LONG))
    assert after.num_cached(1) == 256


def test_short_prompts_and_scored_ones_are_not_stored() -> None:
    store = DictStore()
    bench = PrefixBench(store=store)
    bench.generate(request(PROMPT))
    bench.generate(request(LONG, score_prompt=True))
    assert bench.archive is not None
    assert not bench.archive.has_work


def test_what_is_not_to_be_kept_is_found_in_memory_and_not_on_disk() -> None:
    bench = PrefixBench(store=DictStore())
    private = request(LONG, keep_on_disk=False)
    assert bench.generate(private) == bench.generate(private) == slow_tokens(private)
    assert bench.num_cached(1) > 0
    assert bench.archive is not None
    assert not bench.archive.has_work


def test_only_the_prompt_is_stored() -> None:
    store = DictStore()
    bench = PrefixBench(store=store)
    bench.generate(request(LONG, 200))
    assert bench.archive is not None
    bench.archive.finish()
    assert len(store.pages) == 4


def test_pages_given_up_meanwhile_are_left_out() -> None:
    store = DictStore()
    bench = PrefixBench(num_pages=6, store=store)
    bench.generate(request(LONG, 1))
    bench.generate(request(ids(10, 230), 1))  # takes the end of the first chain
    assert bench.archive is not None
    bench.archive.finish()
    later = PrefixBench(store=store)
    assert later.generate(request(LONG)) == slow_tokens(request(LONG))
    assert 0 < later.num_cached(0) < 256


def test_a_full_store_ends_a_chain() -> None:
    store = DictStore()
    store.full = True
    bench = PrefixBench(store=store)
    bench.generate(request(LONG))
    assert bench.archive is not None
    bench.archive.step()
    assert not bench.archive.has_work


@pytest.mark.parametrize(("score_from", "num_cached"), [(0, 0), (1, 0), (64, 0), (65, 64), (190, 128), (199, 192)])
def test_what_is_before_the_scored_tokens_is_found_again_and_the_scores_are_the_same(
    score_from: int, num_cached: int
) -> None:
    bench = PrefixBench()
    bench.generate(request(PROMPT, 0, score_prompt=True))
    bench.generate(request(PROMPT, 0, score_prompt=True, score_from=score_from))
    whole, part = (bench.events[index][-1].token.prompt_logprobs for index in (0, 1))
    assert whole is not None
    assert part == whole[max(0, score_from - 1) :]
    assert bench.num_cached(1) == num_cached
