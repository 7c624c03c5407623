"""Expert policies: whom they keep, that they never name somebody they must not, and that they remember."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.errors import FormatError, UsageError
from pocketseek.runtime.residency.expert_policies import (
    POLICIES,
    Blend,
    DecayedFrequency,
    ExpertPolicy,
    Key,
    LeastRecent,
    make_policy,
)

LAYERS, NUM_EXPERTS = (1, 3), 8


def run(policy: ExpertPolicy, passes: Sequence[tuple[Sequence[int], Sequence[int]]]) -> None:
    for first, second in passes:
        policy.used(LAYERS[0], first)
        policy.used(LAYERS[1], second)
        policy.end_pass()


def dropped_in_turn(policy: ExpertPolicy, held: set[Key]) -> list[Key]:
    order = []
    while (victim := policy.victim(held, ())) is not None:
        held.remove(victim)
        order.append(victim)
    return order


def test_least_recent_drops_in_the_order_of_last_use() -> None:
    policy = LeastRecent(LAYERS, NUM_EXPERTS)
    run(policy, [([0], [1]), ([2], [3]), ([0], [4])])
    held = {(1, 0), (1, 2), (3, 1), (3, 3), (3, 4)}
    assert dropped_in_turn(policy, held) == [(3, 1), (1, 2), (3, 3), (1, 0), (3, 4)]


def test_decayed_frequency_drops_the_rarest() -> None:
    policy = DecayedFrequency(LAYERS, NUM_EXPERTS)
    run(policy, [([0, 1, 2], [0]), ([0, 1], [0]), ([0], [5])])
    held = {(1, 0), (1, 1), (1, 2), (3, 0), (3, 5)}
    assert dropped_in_turn(policy, held) == [(1, 2), (3, 5), (1, 1), (3, 0), (1, 0)]


def test_what_was_frequent_long_ago_is_dropped_some_time() -> None:
    policy = DecayedFrequency(LAYERS, NUM_EXPERTS, half_life_passes=4)
    run(policy, [([0], [0])] * 10 + [([1], [0])] * 10)
    assert policy.victim({(1, 0), (1, 1)}, ()) == (1, 0)


def test_the_blend_knows_both() -> None:
    """Expert 0 often, not lately; 1 rarely, but just now; 2 rarely and long ago."""
    run(policy := Blend(LAYERS, NUM_EXPERTS), [([2], [0])] + [([0], [0])] * 40 + [([3], [0])] * 12 + [([1], [0])])
    assert dropped_in_turn(policy, {(1, 0), (1, 1), (1, 2)})[0] == (1, 2)


@pytest.mark.parametrize("name", POLICIES)
def test_scores_stay_finite_over_a_million_passes_worth_of_weight(name: str) -> None:
    policy = make_policy(name, LAYERS, NUM_EXPERTS)
    for _ in range(20_000):
        policy.end_pass()
    run(policy, [([0], [1])])
    json.dumps(policy.state(), allow_nan=False)
    assert policy.victim({(1, 0), (1, 1)}, ()) == (1, 1)


EXPERTS = st.lists(st.integers(0, NUM_EXPERTS - 1), min_size=1, max_size=4, unique=True).map(sorted)


@pytest.mark.parametrize("name", POLICIES)
@given(passes=st.lists(st.tuples(EXPERTS, EXPERTS), max_size=20), num_slots=st.integers(4, 12))
def test_a_cache_of_any_size_works(name: str, passes: list[tuple[list[int], list[int]]], num_slots: int) -> None:
    policy, held = make_policy(name, LAYERS, NUM_EXPERTS), set[Key]()
    for one in passes:
        for layer, experts in zip(LAYERS, one, strict=True):
            policy.used(layer, experts)
            pinned = {(layer, expert) for expert in experts}
            for key in sorted(pinned - held):
                if len(held) == num_slots:
                    victim = policy.victim(held, pinned)
                    assert victim is not None
                    assert victim in held - pinned
                    held.remove(victim)
                held.add(key)
            assert policy.victim(held, held) is None
        policy.end_pass()


@pytest.mark.parametrize("name", POLICIES)
def test_who_came_without_being_used_can_be_dropped_at_once(name: str) -> None:
    policy = make_policy(name, LAYERS, NUM_EXPERTS)
    policy.used(LAYERS[0], [0])
    assert policy.victim({(1, 0)}, {(1, 0)}) is None
    assert policy.victim({(1, 0), (3, 5)}, {(1, 0)}) == (3, 5)


@pytest.mark.parametrize("name", POLICIES)
def test_what_was_learnt_survives_a_restart(name: str) -> None:
    policy, again = (make_policy(name, LAYERS, NUM_EXPERTS) for _ in range(2))
    run(policy, [([0, 1], [5]), ([0], [5, 6]), ([7], [5])])
    again.restore(json.loads(json.dumps(policy.state())))
    assert list(again.ranked()) == list(policy.ranked())
    held = {(1, 0), (1, 1), (1, 7), (3, 5), (3, 6)}
    run(policy, [([1], [6])])
    run(again, [([1], [6])])
    assert dropped_in_turn(again, set(held)) == dropped_in_turn(policy, set(held))


@pytest.mark.parametrize("name", POLICIES)
def test_ranked_names_everybody_the_busiest_first(name: str) -> None:
    policy = make_policy(name, LAYERS, NUM_EXPERTS)
    run(policy, [([0], [5]), ([4], [5])])
    ranked = list(policy.ranked())
    assert ranked[0] == (3, 5)
    assert set(ranked[:3]) == {(3, 5), (1, 4), (1, 0)}
    assert len(set(ranked)) == len(ranked) == len(LAYERS) * NUM_EXPERTS


@pytest.mark.parametrize("name", POLICIES)
def test_foreign_statistics_are_refused_and_change_nothing(name: str) -> None:
    policy = make_policy(name, LAYERS, NUM_EXPERTS)
    run(policy, [([0], [5])])
    before = policy.state()
    key = next(iter(before))
    table = before[key]
    assert isinstance(table, list)
    for wrong in (None, [], table[:1], [[1.0] * 7] * 2, [[-1.0] * 8] * 2, [["a"] * 8] * 2, [[float("nan")] * 8] * 2):
        with pytest.raises(FormatError):
            policy.restore({**before, key: wrong})
    with pytest.raises(FormatError):
        policy.restore({**before, "more": []})
    assert policy.state() == before


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UsageError, match="least-recent, decayed-frequency, blend"):
        make_policy("magic", LAYERS, NUM_EXPERTS)
