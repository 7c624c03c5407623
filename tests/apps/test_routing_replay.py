"""Replaying traces: counts by hand, the optimum below every policy, times as the model says."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
import routing_traces

from pocketseek.apps.routing_optimum import OPTIMUM
from pocketseek.apps.routing_replay import misses, pass_s, replay_sizes, routing_statistics, slots_for, usual_sizes
from pocketseek.errors import MemoryLimitError
from pocketseek.runtime.residency.expert_policies import POLICIES
from pocketseek.runtime.residency.routing_trace import TraceHeader, TracePass

ONE_LAYER = routing_traces.header(layers=(0,), num_experts=4, experts_per_token=1)


def one_by_one(experts: list[int]) -> list[TracePass]:
    return [TracePass(np.array([[[expert]]], np.int32), 1, 0, 0.01, 0.0) for expert in experts]


def num_misses(header: TraceHeader, passes: list[TracePass], num_slots: int, policy: str) -> int:
    return sum(map(sum, misses(header, [list(one.distinct()) for one in passes], num_slots, policy)))


def test_least_recent_in_a_circle_never_hits() -> None:
    """Two slots begin with 0 and 1; the circle 0 1 2 finds those two at first, and nothing any more."""
    circle = one_by_one([0, 1, 2] * 4)
    assert num_misses(ONE_LAYER, circle, 2, "least-recent") == 12 - 2
    assert num_misses(ONE_LAYER, circle, 3, "least-recent") == 0
    assert num_misses(ONE_LAYER, circle, 2, OPTIMUM) == 5  # by hand: every other one of the ten


def test_the_optimum_is_no_worse_than_any_other_choice() -> None:
    """All ways to drop, tried out, on short sequences."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        experts = rng.integers(0, 4, 9).tolist()
        ideal = best_possible(experts, num_slots=2)
        assert num_misses(ONE_LAYER, one_by_one(experts), 2, OPTIMUM) == ideal


def best_possible(experts: list[int], num_slots: int) -> int:
    first = list(dict.fromkeys(experts))[:num_slots]
    states = {frozenset(first): 0}
    for expert in experts:
        following: dict[frozenset[int], int] = {}
        for held, count in states.items():
            options = [held] if expert in held else []
            if expert not in held:
                kept = (
                    [frozenset(some) for some in combinations(held, num_slots - 1)]
                    if len(held) == num_slots
                    else [held]
                )
                options = [some | {expert} for some in kept]
            for option in options:
                cost = count + (expert not in held)
                following[option] = min(cost, following.get(option, cost))
        states = following
    return min(states.values())


@pytest.mark.parametrize("rows", [1, 4])
def test_no_policy_beats_the_optimum_and_more_memory_never_hurts_it(rows: int) -> None:
    header, passes = routing_traces.header(), routing_traces.passes(60, rows=rows)
    sizes = usual_sizes(header)
    results = replay_sizes(header, passes, sizes, storage_bytes_per_s=1e6)
    for one in results:
        *policies, optimum = one.replays
        assert [policy.policy for policy in policies] == list(POLICIES)
        assert all(policy.hits <= optimum.hits for policy in policies)
        assert optimum.tokens == 60 * rows
        assert one.bound_tokens_per_s is not None
        assert all(policy.tokens_per_s <= one.bound_tokens_per_s * (1 + 1e-9) for policy in one.replays)  # type: ignore[operator]
    assert all(a.replays[-1].hits <= b.replays[-1].hits for a, b in pairwise(results))
    assert results[-1].replays[0].hits == results[-1].replays[0].lookups


def test_a_layer_that_needs_more_than_there_are_slots_goes_in_rounds() -> None:
    chosen = np.array([[[0], [1], [2], [3]]], np.int32)
    passes = [TracePass(chosen, 4, 0, 0.01, 0.0)] * 3
    for policy in (*POLICIES, OPTIMUM):
        assert 2 <= num_misses(ONE_LAYER, passes, 2, policy) <= 12


def test_time_is_computing_and_what_reading_takes_longer_than_what_is_computed_meanwhile() -> None:
    header = routing_traces.header()  # 5000 bytes always, of which 200 in each layer are shared; 900 an expert
    used = [3, 3, 3]
    assert pass_s(header, 0.0131, used, [0, 0, 0], 1e6) == pytest.approx(0.0131)
    per_byte_s = 0.0131 / (5000 + 9 * 900)
    wait_s = 2 * 900 / 1e6 - per_byte_s * (200 + 2 * 900)
    assert wait_s < 0
    assert pass_s(header, 0.0131, used, [2, 0, 0], 1e6) == pytest.approx(0.0131)
    wait_s = 2 * 900 / 1e5 - per_byte_s * (200 + 2 * 900)
    assert pass_s(header, 0.0131, used, [2, 0, 0], 1e5) == pytest.approx(0.0131 + wait_s)


def test_prompts_count_for_hits_and_not_for_the_rate_of_writing() -> None:
    header = routing_traces.header()
    prompt = [TracePass(one.chosen, 1, 0, 1.0, 0.0) for one in routing_traces.passes(1, rows=9)]
    (result,) = replay_sizes(header, [*prompt, *routing_traces.passes(10)], [10**9], storage_bytes_per_s=1e6)
    assert result.replays[0].tokens == 10
    assert result.replays[0].seconds == pytest.approx(0.1)
    assert result.replays[0].lookups > 10 * 9


def test_memory_is_told_in_slots_and_too_little_is_refused() -> None:
    header = routing_traces.header()
    assert slots_for(header, 20000 + 6000) == 6
    assert slots_for(header, 10**9) == header.num_keys
    with pytest.raises(MemoryLimitError, match="allow at least 1 MB"):
        slots_for(header, 20000 + 5999)


def test_statistics_tell_even_routing_from_uneven() -> None:
    header = routing_traces.header(layers=(0,), num_experts=8, experts_per_token=1)
    even = routing_statistics(header, one_by_one(list(range(8)) * 4))
    assert (even.busiest, even.unused, even.repeated, even.expected) == (0.125, 0, 0.0, 0.125)
    uneven = routing_statistics(header, one_by_one([5] * 9))
    assert (uneven.busiest, uneven.unused, uneven.repeated) == (1.0, 7, 1.0)
