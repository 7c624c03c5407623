"""The curve follows what was observed, is in order, and its inverse is one."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.runtime.cost_model import MAX_TOKENS, CostModel, PassCosts, PassTimes
from pocketseek.types import Limits

passes = st.lists(st.tuples(st.integers(1, 2000), st.floats(1e-5, 100)), max_size=40)


def linear(num_tokens: int) -> float:
    return 0.03 + 0.003 * num_tokens


def learnt(observed: list[tuple[int, float]]) -> CostModel:
    model = CostModel()
    for num_tokens, seconds in observed:
        model.observe(num_tokens, seconds)
    return model


def test_nothing_known_costs_nothing_and_bounds_nothing() -> None:
    assert CostModel().seconds(100) == 0.0
    assert CostModel().tokens_within(0.0) == MAX_TOKENS


@given(passes)
def test_more_tokens_never_take_less_time_nor_more_than_in_proportion(observed: list[tuple[int, float]]) -> None:
    model = learnt(observed)
    previous = model.seconds(1)
    for num_tokens in range(2, 600, 7):
        seconds = model.seconds(num_tokens)
        assert seconds >= previous
        previous = seconds
    for num_tokens in (1, 3, 50, 300, 1000):
        assert model.seconds(2 * num_tokens) <= 2 * model.seconds(num_tokens) * (1 + 1e-9)


@given(passes, st.integers(1, 5000))
def test_the_inverse_gives_back_at_least_the_tokens_and_no_more_time(
    observed: list[tuple[int, float]], num_tokens: int
) -> None:
    model = learnt(observed)
    seconds = model.seconds(num_tokens)
    tokens = model.tokens_within(seconds * (1 + 1e-9))
    assert tokens >= num_tokens
    if observed and tokens < MAX_TOKENS:
        assert model.seconds(tokens) <= seconds * (1 + 1e-6)


@given(passes.filter(bool))
def test_less_time_than_the_cheapest_pass_holds_nothing(observed: list[tuple[int, float]]) -> None:
    model = learnt(observed)
    assert model.tokens_within(model.seconds(1) * 0.5) == 0


def test_a_prompt_and_a_few_rows_are_enough_for_a_good_curve() -> None:
    model = learnt([(200, linear(200))] + [(1, linear(1))] * 3)
    for num_tokens in (1, 16, 64, 128, 256):
        assert model.seconds(num_tokens) == pytest.approx(linear(num_tokens), rel=0.15)


def test_a_change_of_speed_is_followed_within_a_dozen_passes() -> None:
    model = learnt([(8, linear(8))] * 50 + [(8, 2 * linear(8))] * 12)
    assert model.seconds(8) == pytest.approx(2 * linear(8), rel=0.05)


def test_one_slow_pass_is_soon_forgotten() -> None:
    model = learnt([(8, linear(8))] * 5 + [(8, 1.0)] + [(8, linear(8))] * 6)
    assert model.seconds(8) == pytest.approx(linear(8), rel=0.15)


def test_a_size_that_was_measured_cold_is_tried_again() -> None:
    model = learnt([(100, 5.0), (40, linear(40))])
    assert model.tokens_within(linear(100)) > 60


def test_noise_keeps_the_estimate_near_the_truth() -> None:
    random = Random(1)
    model = learnt([(n, linear(n) * random.uniform(1.0, 1.3)) for _ in range(300) for n in (1, 12, 200)])
    for num_tokens in (1, 12, 60, 200):
        assert linear(num_tokens) * 0.99 <= model.seconds(num_tokens) <= linear(num_tokens) * 1.25


def test_every_choice_of_threads_and_cores_has_a_curve_of_its_own() -> None:
    costs = PassCosts()
    costs.observe(Limits(1), 1, 9.0)  # the first pass of all counts for nothing
    costs.observe(Limits(1), 1, 0.4)
    costs.observe(Limits(2), 1, 0.2)
    costs.observe(Limits(2, cores=(4, 5)), 1, 0.1)
    found = [costs.of(one).seconds(1) for one in (Limits(1), Limits(2), Limits(2, cores=(4, 5)), Limits(4))]
    assert found == [0.4, 0.2, 0.1, 0.0]


def test_impossible_observations_are_left_out() -> None:
    assert learnt([(0, 1.0), (5, 0.0), (5, -1.0)]).points == ()


def test_a_pass_that_was_frozen_is_not_believed_until_it_happens_again_and_again() -> None:
    model = CostModel()
    for _ in range(5):
        model.observe(4, 0.030)
        model.observe(200, 0.800)
    model.observe(4, 5.0)  # the system had stopped the process
    assert model.seconds(4) == pytest.approx(0.030)
    for _ in range(12):
        model.observe(4, 0.200)
    assert model.seconds(4) > 0.15


def test_a_pass_takes_as_long_as_storage_or_computing_whichever_is_longer() -> None:
    computing = learnt([(1, 0.1), (128, 0.9), (256, 1.7)])
    times = PassTimes(computing, storage_s=0.9)
    assert [times.seconds(number) for number in (1, 100, 128, 256)] == [0.9, 0.9, 0.9, computing.seconds(256)]
    assert times.num_free == 128
    assert times.tokens_within(0.8) == 0
    assert times.tokens_within(1.7) == computing.tokens_within(1.7)
    assert times.paced_by_storage


def test_storage_that_is_quicker_than_one_token_sets_no_pace() -> None:
    computing = learnt([(1, 0.1), (128, 0.9)])
    times = PassTimes(computing, storage_s=0.05)
    assert not times.paced_by_storage
    assert times.num_free == computing.tokens_within(0.1) == 1


def test_storage_alone_is_known_before_any_pass() -> None:
    times = PassTimes(CostModel(), storage_s=2.0)
    assert (times.seconds(1), times.seconds(1000)) == (2.0, 2.0)
    assert (times.tokens_within(1.9), times.tokens_within(2.0)) == (0, MAX_TOKENS)


def test_what_storage_takes_changes_the_expectation_at_once_and_the_curve_never() -> None:
    costs, limits = PassCosts(), Limits(1)
    for _ in range(3):
        costs.observe(limits, 1, 0.1)
    costs.storage_s = 3.0
    assert costs.of(limits).seconds(1) == 3.0
    costs.storage_s = 0.0
    assert costs.of(limits).seconds(1) == pytest.approx(0.1)
    assert [point.seconds for point in costs.models["1"].points] == [pytest.approx(0.1)]


def test_passes_that_waited_for_something_else_teach_nothing() -> None:
    costs, limits = PassCosts(), Limits(1)
    for _ in range(5):
        costs.observe(limits, 1, 1.0, is_typical=False)
    assert costs.of(limits).computing.points == ()
    costs.observe(limits, 1, 0.25)
    assert costs.of(limits).computing.seconds(1) == 0.25
