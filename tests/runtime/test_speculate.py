"""Drafts come from where the last tokens stood before, chances from what came true, lengths from the cost."""

import itertools
import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.runtime.speculate import (
    MAX_DRAFT_TOKENS,
    Draft,
    NgramIndex,
    PromptLookup,
    draft_lengths,
    typical_pass_cost,
)

few_words = st.lists(st.integers(0, 3), min_size=1, max_size=80)
chances = st.lists(st.floats(0.0, 1.0), max_size=6)


def slow_find(tokens: Sequence[int], window: int) -> int | None:
    """Look at every position of the window, latest first, for the longest run that it follows."""
    end = len(tokens)
    for num in (4, 3, 2):
        for position in range(end - 1, max(num, end - window) - 1, -1):
            if end > num and tokens[position - num : position] == tokens[end - num :]:
                return position
    return None


def slow_draft(tokens: Sequence[int], max_tokens: int, window: int) -> list[int]:
    source, text = slow_find(tokens, window), list(tokens)
    if source is None:
        return []
    for index in range(max_tokens):
        text.append(text[source + index])
    return text[len(tokens) :]


@given(few_words, st.integers(1, 100))
def test_index_finds_what_looking_everywhere_finds(tokens: list[int], window: int) -> None:
    index = NgramIndex(window)
    for position in range(len(tokens)):
        index.add(tokens, position)
        assert index.find(tokens, position + 1) == slow_find(tokens[: position + 1], window)


def test_index_forgets_what_left_its_window() -> None:
    tokens, window = list(range(5000)), 100
    index = NgramIndex(window)
    for position in range(len(tokens)):
        index.add(tokens, position)
    assert all(len(followers) <= window for followers in index._followers.values())


@given(few_words, few_words, st.integers(1, 20), st.integers(2, 200))
def test_drafts_do_not_depend_on_how_often_one_asks(
    prompt: list[int], answer: list[int], max_tokens: int, window: int
) -> None:
    often, once = PromptLookup(window), PromptLookup(window)
    for end in range(len(answer) + 1):
        draft = often.draft([*prompt, *answer[:end]], max_tokens)
    assert list(draft.token_ids) == slow_draft([*prompt, *answer], max_tokens, window)
    assert list(once.draft([*prompt, *answer], max_tokens).token_ids) == list(draft.token_ids)
    assert len(draft.chances) == len(draft.token_ids)
    assert all(0.0 <= chance <= 1.0 for chance in draft.chances)


def test_the_longest_match_counts_and_of_equals_the_latest() -> None:
    assert PromptLookup().draft([1, 2, 3, 4, 50, 3, 4, 60, 2, 3, 4], 1).token_ids == [50]
    assert PromptLookup().draft([3, 4, 50, 7, 3, 4, 60, 7, 3, 4], 1).token_ids == [60]


def test_a_loop_is_copied_round_and_round() -> None:
    assert PromptLookup().draft([9, 1, 2, 3, 1, 2, 3], 8).token_ids == [1, 2, 3, 1, 2, 3, 1, 2]


def test_nothing_is_guessed_about_what_is_new() -> None:
    assert PromptLookup().draft([1, 2, 3, 4], 5) == Draft()
    assert PromptLookup().draft([1], 5) == Draft()


def chance_after(answer: Sequence[int], prompt: Sequence[int]) -> float:
    drafter = PromptLookup()
    for end in range(len(answer) + 1):
        draft = drafter.draft([*prompt, *answer[:end]], 1)
    return draft.chances[0]


def test_chances_sink_when_guesses_are_wrong_also_if_no_draft_was_run() -> None:
    prompt = [1, 2, 3]
    wrong = [token for new in range(100, 140) for token in (new, 1, 2)]  # after 1, 2 comes what never came before
    assert chance_after(wrong, prompt) < 0.02
    assert chance_after(wrong[:3], prompt) > 0.1


def test_chances_rise_when_guesses_are_right_also_if_no_draft_was_run() -> None:
    prompt = list(range(100))
    assert chance_after([5, 6], prompt) < 0.5
    assert chance_after(prompt[5:80], prompt) > 0.95


def test_hit_rates_of_long_matches_survive_wrong_guesses_after_short_ones() -> None:
    prompt = list(range(100))
    wrong = [token for new in range(100, 140) for token in (new, 1, 2)]
    assert chance_after([*wrong, *range(40, 60)], prompt) > 0.9


def rate(draft: Sequence[float], length: int, num_tokens: int = 1) -> float:
    """Expected tokens over time."""
    expected = 1.0 + sum(math.prod(draft[: end + 1]) for end in range(length))
    return expected / typical_pass_cost(num_tokens + length)


def lengths(drafts: Sequence[Sequence[float]], room: int = 100, num_tokens: int | None = None) -> list[int]:
    num_tokens = len(drafts) if num_tokens is None else num_tokens
    return draft_lengths(
        [Draft([0] * len(draft), draft) for draft in drafts],
        room=room,
        num_tokens=num_tokens,
        num_sequences=len(drafts),
        pass_cost=typical_pass_cost,
    )


@given(st.lists(st.floats(0.0, 1.0), max_size=MAX_DRAFT_TOKENS))
def test_length_for_one_sequence_is_the_best_of_all(draft: list[float]) -> None:
    best = max(rate(draft, length) for length in range(len(draft) + 1))
    (length,) = lengths([draft])
    assert rate(draft, length) == pytest.approx(best if best > rate(draft, 0) * 1.05 else rate(draft, 0))


@given(st.lists(chances, max_size=5), st.integers(0, 10))
def test_lengths_keep_to_the_drafts_and_the_room(drafts: list[list[float]], room: int) -> None:
    chosen = lengths(drafts, room)
    assert sum(chosen) <= room
    assert all(length <= len(draft) for length, draft in zip(chosen, drafts, strict=True))


@given(st.lists(chances, min_size=2, max_size=3))
def test_lengths_for_several_are_never_worse_than_none(drafts: list[list[float]]) -> None:
    chosen = lengths(drafts)
    num_tokens = len(drafts) + sum(chosen)
    slower = typical_pass_cost(num_tokens) / typical_pass_cost(len(drafts))
    gains = [rate(d, n) * typical_pass_cost(1 + n) / slower for d, n in zip(drafts, chosen, strict=True)]
    assert math.prod(gains) >= 1.0


def test_sure_drafts_are_long_and_doubtful_ones_short_or_none() -> None:
    sure, fair, doubtful, hopeless = ([chance] * 15 for chance in (0.99, 0.8, 0.4, 0.03))
    (longest,), (long,), (short,), (none,) = (lengths([draft]) for draft in (sure, fair, doubtful, hopeless))
    assert longest == 15 > long > short > none == 0


def test_equals_share_scarce_room_equally() -> None:
    assert lengths([[0.9] * 15] * 4, room=6, num_tokens=4) in ([2, 2, 1, 1], [1, 1, 2, 2])


def test_others_in_the_pass_shorten_a_draft() -> None:
    alone = lengths([[0.95] * 15])
    with_others = lengths([[0.95] * 15, *([[]] * 7)])
    assert 0 <= with_others[0] < alone[0]


def test_a_long_prompt_in_the_pass_makes_drafts_cheap() -> None:
    assert lengths([[0.3] * 15], num_tokens=256)[0] > lengths([[0.3] * 15])[0]


def test_cost_is_what_was_measured_and_never_falls() -> None:
    assert [typical_pass_cost(num) for num in (1, 2, 4, 8, 16)] == [1.0, 1.02, 1.15, 1.7, 3.0]
    costs = [typical_pass_cost(num) for num in range(1, 400)]
    assert all(low < high for low, high in itertools.pairwise(costs))
