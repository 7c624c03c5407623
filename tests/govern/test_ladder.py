"""The gentlest step that reaches the speed is taken, and no more than that."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.errors import UsageError
from pocketseek.govern.ladder import ModelFacts, Rung, SpeedChoice, SpeedWish, choose_rung

MB = 10**6
PAGE_TOKENS = 64


def model(name: str, weights_mb: int, **changes: object) -> ModelFacts:
    """Storage gives 1 GB/s, memory 20; the units are so small that every byte kept is a byte less to be read."""
    ring_bytes = 40 * MB
    facts = ModelFacts(
        name=name,
        base_bytes=100 * MB,
        weights_bytes=weights_mb * MB,
        ring_bytes=ring_bytes,
        context_length=8000,
        page_bytes=(("f16", 2 * MB), ("q8", MB)),
        streamed_bytes=lambda weight_bytes: weights_mb * MB - max(0, weight_bytes - ring_bytes),
        storage_bytes_per_s=1e9,
        memory_bytes_per_s=20e9,
    )
    return dataclasses.replace(facts, **changes)


LARGE, SMALL = model("large", 900), model("small", 200)


def wish(min_speed: float, budget_mb: int = 600, **changes: object) -> SpeedWish:
    return dataclasses.replace(SpeedWish(min_speed, budget_mb * MB, 500 * MB, PAGE_TOKENS), **changes)


@pytest.mark.parametrize(
    ("min_speed", "models", "steps", "meets"),
    [
        (1.5, [LARGE, SMALL], (), True),
        (1.7, [LARGE, SMALL], ("kv",), True),
        (2.0, [LARGE, SMALL], ("kv", "context"), True),
        (5.0, [LARGE, SMALL], ("model",), True),
        (5.0, [LARGE], ("kv", "context"), False),
        (1000.0, [LARGE, SMALL], ("model",), False),
    ],
)
def test_the_first_rung_that_is_fast_enough_is_taken_else_the_fastest(
    min_speed: float, models: list[ModelFacts], steps: tuple[str, ...], meets: bool
) -> None:
    choice = choose_rung(wish(min_speed), models)
    assert (choice.steps, choice.meets_floor) == (steps, meets)
    assert choice.is_news == (steps != () or not meets)
    assert choice.asked.tokens_per_s == pytest.approx(1 / 0.592)  # 152 MB of pages, 308 of weights beside the ring


def test_the_context_is_cut_no_further_than_needed() -> None:
    chosen = choose_rung(wish(2.0), [LARGE]).chosen
    assert chosen.tokens_per_s == pytest.approx(2.0)  # 500 MB are read
    assert chosen.num_pages == 60
    assert chosen.context_tokens == 60 * PAGE_TOKENS


def test_where_everything_fits_memory_is_no_reason_to_give_way() -> None:
    choice = choose_rung(wish(22.0, budget_mb=2000), [LARGE, SMALL])
    assert not choice.is_news
    assert choice.asked.streamed_bytes == 0
    assert not choice.asked.storage_bound


def test_where_computing_is_too_slow_only_another_model_helps() -> None:
    choice = choose_rung(wish(23.0, budget_mb=2000), [LARGE, SMALL])
    assert choice.steps == ("model",)
    alone = choose_rung(wish(23.0, budget_mb=2000), [LARGE])
    assert (alone.steps, alone.is_news) == ((), True)


def test_a_model_that_does_not_fit_gives_way_to_one_that_does() -> None:
    choice = choose_rung(wish(1.0, budget_mb=300), [model("huge", 9000, base_bytes=400 * MB), SMALL])
    assert not choice.asked.works
    assert choice.steps == ("model",)


def test_what_cannot_work_at_all_is_left_to_be_an_error() -> None:
    choice = choose_rung(wish(1.0, budget_mb=50), [LARGE, SMALL])
    assert choice.chosen == choice.asked
    assert not choice.is_news


def test_int8_makes_room_for_a_prompt_that_would_not_fit() -> None:
    need = wish(0.1, budget_mb=240, max_tokens=4000, least_tokens=4000)
    assert choose_rung(need, [LARGE]).steps == ("kv",)


def test_a_sibling_with_too_short_a_context_is_passed_over() -> None:
    short = dataclasses.replace(SMALL, name="short", context_length=2000)
    need = wish(5.0, max_tokens=4000, least_tokens=3000)
    assert choose_rung(need, [LARGE, short, SMALL]).chosen.model == "small"


def test_several_sequences_need_their_pages_together() -> None:
    alone = choose_rung(wish(0.1, max_tokens=4000), [LARGE]).asked
    four = choose_rung(wish(0.1, max_tokens=16_000, num_sequences=4), [LARGE]).asked
    assert four.context_tokens > 3 * alone.context_tokens
    assert four.tokens_per_s < alone.tokens_per_s


def test_who_has_int8_already_is_not_offered_it() -> None:
    q8 = dataclasses.replace(LARGE, page_bytes=LARGE.page_bytes[1:])
    assert choose_rung(wish(1.9), [q8]).steps == ("context",)


@pytest.mark.parametrize("speed", [0.0, -1.0, math.inf, math.nan])
def test_a_senseless_speed_is_refused(speed: float) -> None:
    with pytest.raises(UsageError, match="tokens per second above 0"):
        choose_rung(wish(speed), [LARGE])


@st.composite
def lines(draw: st.DrawFn) -> list[ModelFacts]:
    sizes = sorted(draw(st.sets(st.integers(10, 3000), min_size=1, max_size=3)), reverse=True)
    return [
        model(
            str(size),
            size,
            base_bytes=draw(st.integers(10, 200)) * MB,
            context_length=draw(st.integers(100, 20_000)),
            storage_bytes_per_s=draw(st.floats(1e8, 4e9)),
            memory_bytes_per_s=draw(st.floats(4e9, 40e9)),
        )
        for size in sizes
    ]


@st.composite
def wishes(draw: st.DrawFn) -> SpeedWish:
    return wish(
        draw(st.floats(0.01, 200)),
        draw(st.integers(50, 4000)),
        usual_kv_bytes=draw(st.integers(10, 1000)) * MB,
        max_tokens=draw(st.one_of(st.none(), st.integers(1, 10_000))),
        least_tokens=draw(st.integers(1, 5000)),
    )


def depth(choice: SpeedChoice, models: list[ModelFacts]) -> tuple[int, bool, bool, int]:
    """How far down the ladder."""
    chosen = choice.chosen
    index = [one.name for one in models].index(chosen.model)
    return index, chosen.kv != choice.asked.kv, chosen.is_cut, -chosen.context_tokens


def key(rung: Rung) -> tuple[str, str, int]:
    return rung.model, rung.kv, rung.num_pages


@given(wishes(), lines())
def test_who_is_fast_enough_keeps_what_he_asked_for(need: SpeedWish, models: list[ModelFacts]) -> None:
    choice = choose_rung(need, models)
    if choice.asked.tokens_per_s >= need.min_speed:
        assert choice.chosen == choice.asked
        assert not choice.is_news


@given(wishes(), lines())
def test_a_floor_that_the_model_alone_can_meet_is_met_with_it(need: SpeedWish, models: list[ModelFacts]) -> None:
    alone, choice = choose_rung(need, models[:1]), choose_rung(need, models)
    assert (choice.chosen == alone.chosen) or not alone.meets_floor
    assert choice.chosen.tokens_per_s * 1.06 >= alone.chosen.tokens_per_s


@given(wishes(), lines(), st.floats(1.0, 10.0))
def test_a_lower_floor_never_leads_further_down(need: SpeedWish, models: list[ModelFacts], factor: float) -> None:
    high = choose_rung(dataclasses.replace(need, min_speed=need.min_speed * factor), models)
    low = choose_rung(need, models)
    if high.meets_floor:
        assert low.meets_floor
        assert depth(low, models) <= depth(high, models)


@given(wishes(), lines())
def test_no_context_is_cut_below_the_least(need: SpeedWish, models: list[ModelFacts]) -> None:
    choice = choose_rung(need, models)
    if choice.chosen.works:
        full = models[0].context_length if need.max_tokens is None else min(need.max_tokens, models[0].context_length)
        assert choice.chosen.context_tokens >= min(need.least_tokens, full)


@given(wishes(), lines())
def test_one_page_more_would_be_too_slow(need: SpeedWish, models: list[ModelFacts]) -> None:
    """For a context that was cut and is fast enough: the same wish with one page more as the least is not so met."""
    choice = choose_rung(need, models)
    chosen = choice.chosen
    if not (chosen.is_cut and choice.meets_floor and chosen.model == choice.asked.model):
        return
    more = dataclasses.replace(need, least_tokens=(chosen.num_pages + 1) * PAGE_TOKENS)
    other = choose_rung(more, models[:1])
    assert key(other.chosen) != key(chosen)
    assert not (other.chosen.is_cut and other.meets_floor)
