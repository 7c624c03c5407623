"""What decayed frequency, the usual policy, drops, and what it remembers."""

import json
import os
from random import Random

import pytest

from pocketseek.errors import FormatError, UsageError
from pocketseek.runtime.residency.expert_policies import DEFAULT_POLICY, DecayedFrequency, make_policy

LAYERS = [1, 2, 4]


def test_what_was_used_least_goes_first_and_nothing_that_is_pinned() -> None:
    policy = make_policy(DEFAULT_POLICY, LAYERS, 4)
    for _ in range(3):
        policy.used(1, [0, 1])
        policy.used(2, [3])
        policy.end_pass()
    policy.used(2, [2])
    held = {(1, 0), (1, 1), (2, 2), (2, 3), (4, 0)}
    assert policy.victim(held, {(2, 2)}) == (4, 0)
    held.discard((4, 0))
    assert policy.victim(held, {(2, 2)}) == (1, 0)
    held.discard((1, 0))
    assert policy.victim(held, held) is None
    assert policy.victim(held, ()) == (2, 2)


def test_old_uses_count_less() -> None:
    policy = DecayedFrequency(LAYERS, 4, half_life_passes=2)
    for _ in range(3):
        policy.used(1, [0])
        policy.end_pass()
    for _ in range(8):
        policy.used(1, [1] if _ == 7 else [2])
        policy.end_pass()
    assert policy.victim({(1, 0), (1, 1)}, ()) == (1, 0)


def test_victims_are_always_held_and_the_lowest_of_these() -> None:
    seed = int.from_bytes(os.urandom(4))
    random = Random(seed)
    policy = DecayedFrequency(LAYERS, 8, half_life_passes=0.05)  # so that scores are brought back now and then
    held: set[tuple[int, int]] = set()
    for _ in range(300):
        for layer in LAYERS:
            experts = sorted(random.sample(range(8), 3))
            policy.used(layer, experts)
            pinned = {(layer, expert) for expert in experts}
            for key in pinned:
                while key not in held and len(held) >= 5:
                    victim = policy.victim(held, pinned)
                    assert victim is not None, f"seed {seed}"
                    assert victim in held - pinned, f"seed {seed}"
                    scores = policy.state()["scores"]
                    assert isinstance(scores, list)
                    rest = [scores[LAYERS.index(one)][expert] for one, expert in held - pinned]
                    assert scores[LAYERS.index(victim[0])][victim[1]] <= min(rest) + 1e-5, f"seed {seed}"
                    held.discard(victim)
                held.add(key)
        policy.end_pass()
        if random.random() < 0.2:
            held.add((random.choice(LAYERS), random.randrange(8)))  # in the background


def test_who_was_used_most_is_ranked_first_and_layers_take_turns_where_nothing_is_known() -> None:
    policy = make_policy(DEFAULT_POLICY, LAYERS, 2)
    assert list(policy.ranked()) == [(1, 0), (2, 0), (4, 0), (1, 1), (2, 1), (4, 1)]
    policy.used(4, [1])
    assert next(policy.ranked()) == (4, 1)


def test_what_was_learnt_goes_on_after_a_start() -> None:
    policy = make_policy(DEFAULT_POLICY, LAYERS, 4)
    for number in range(5):
        policy.used(1, [number % 3])
        policy.end_pass()
    state = json.loads(json.dumps(policy.state()))
    other = make_policy(DEFAULT_POLICY, LAYERS, 4)
    other.restore(state)
    assert list(other.ranked()) == list(policy.ranked())
    assert other.victim({(1, 0), (1, 2)}, ()) == (1, 2)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"scores": []},
        {"scores": [[0.0] * 4] * 2},
        {"scores": [[0.0] * 3] * 3},
        {"scores": [[0.0] * 4, [0.0] * 4, [0.0, 0.0, 0.0, -1.0]]},
        {"scores": [[0.0] * 4, [0.0] * 4, [0.0, 0.0, 0.0, True]]},
        {"scores": [[0.0] * 4, [0.0] * 4, [0.0, 0.0, 0.0, "1"]]},
        {"scores": [[0.0] * 4] * 3, "more": 1},
        {"scores": {"1": 2}},
    ],
)
def test_what_is_no_state_is_refused_and_changes_nothing(state: dict[str, object]) -> None:
    policy = make_policy(DEFAULT_POLICY, LAYERS, 4)
    policy.used(2, [3])
    before = policy.state()
    with pytest.raises(FormatError):
        policy.restore(state)  # type: ignore[arg-type]
    assert policy.state() == before


def test_an_unknown_policy_is_one_clear_line() -> None:
    with pytest.raises(UsageError, match="there is no expert policy 'best'; use"):
        make_policy("best", LAYERS, 4)
