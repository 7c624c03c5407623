from __future__ import annotations

import json

import pytest

from pocketseek.adapt.federated.plan import FederatedPlan, parse_plan
from pocketseek.errors import FormatError, UsageError

MODEL = "a" * 64


def test_a_plan_travels_as_it_is() -> None:
    plan = FederatedPlan(MODEL, targets=("q_proj", "v_proj"), noise=1.5, alpha=3.0, proximal_mu=0.1)
    assert parse_plan(plan.to_json()) == plan


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "x"},
        {"rounds": 0},
        {"min_clients": 2},
        {"min_clients": 513},
        {"secure": False, "min_clients": 0},
        {"sample_rate": 0.0},
        {"sample_rate": 1.1},
        {"clip_norm": 0.0},
        {"clip_norm": float("nan")},
        {"noise": -1.0},
        {"delta": 0.0},
        {"proximal_mu": float("inf")},
        {"weigh": "loudly"},
        {"weigh": "tokens", "secure": True},
        {"weigh": "tokens", "secure": False, "noise": 1.0},
        {"local_steps": 0},
        {"targets": ("embed",)},
    ],
)
def test_impossible_plans_are_refused_here_and_from_others(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r";|use"):
        FederatedPlan(**{"model": MODEL, **wrong})  # type: ignore[arg-type]
    text = json.dumps({**json.loads(FederatedPlan(MODEL).to_json()), **wrong})
    with pytest.raises((UsageError, FormatError)):
        parse_plan(text)


@pytest.mark.parametrize(
    "change",
    [
        {"rounds": True},
        {"rounds": 1.5},
        {"secure": 1},
        {"targets": "q_proj"},
        {"targets": [1]},
        {"alpha": "2"},
        {"x": 1},
    ],
)
def test_a_plan_of_another_form_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(FormatError, match="same version"):
        parse_plan(json.dumps({**json.loads(FederatedPlan(MODEL).to_json()), **change}))


def test_hostile_text_is_refused() -> None:
    for text in ("", "[]", "{", '{"rounds": 1}', "[" * 100_000, '{"a":' * 10_000):
        with pytest.raises(FormatError):
            parse_plan(text)


def test_clients_share_the_noise_of_the_sum() -> None:
    plan = FederatedPlan(MODEL, noise=2.0, clip_norm=3.0, min_clients=4)
    assert plan.client_noise * 4**0.5 == pytest.approx(2.0 * 3.0)
    assert plan.noise_multiplier(4) == 2.0
    assert plan.noise_multiplier(16) == 4.0


def test_every_round_has_other_batches() -> None:
    plan = FederatedPlan(MODEL, seed=7)
    assert plan.settings(1).seed != plan.settings(2).seed
    assert plan.settings(1).warm_up == 0
