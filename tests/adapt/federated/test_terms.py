from __future__ import annotations

import pytest

from pocketseek.adapt.federated.plan import FederatedPlan
from pocketseek.adapt.federated.terms import ClientTerms, DeviceFacts, DevicePolicy

PLAN = FederatedPlan("a" * 64)
GOOD = DeviceFacts(charging=True, battery_level=0.9, saver=False, metered="no", skin_c=30.0, is_idle=True)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({}, None),
        ({"charging": False}, "not-charging"),
        ({"saver": True}, "battery-low"),
        ({"metered": "yes"}, "metered"),
        ({"skin_c": 41.0}, "hot"),
        ({"is_idle": False}, "in-use"),
    ],
)
def test_a_device_takes_part_only_when_nobody_misses_it(facts: dict[str, object], reason: str | None) -> None:
    assert DevicePolicy().refusal(DeviceFacts(**{**GOOD.__dict__, **facts})) == reason


def test_what_is_not_known_is_fine_unless_the_policy_is_strict() -> None:
    assert DevicePolicy().refusal(DeviceFacts()) is None
    assert DevicePolicy(strict=True).refusal(DeviceFacts()) == "not-charging"
    assert DevicePolicy(strict=True).refusal(GOOD) is None


def test_a_policy_can_be_relaxed() -> None:
    relaxed = DevicePolicy(charging=False, unmetered=False, most_c=None, idle=False, strict=True)
    assert relaxed.refusal(DeviceFacts(charging=False, metered="yes", skin_c=60.0, is_idle=False)) is None


@pytest.mark.parametrize(
    ("terms", "agrees"),
    [
        (ClientTerms(), True),
        (ClientTerms(most_steps=5), False),
        (ClientTerms(least_noise=0.5), False),
        (ClientTerms(most_clip_norm=0.5), False),
        (ClientTerms(least_clients=10), False),
        (ClientTerms(secure_only=True), True),
    ],
)
def test_a_device_has_terms_of_its_own(terms: ClientTerms, agrees: bool) -> None:
    assert (terms.refusal(PLAN) is None) is agrees


def test_who_wants_secure_aggregation_gets_nothing_less() -> None:
    assert ClientTerms(secure_only=True).refusal(FederatedPlan("a" * 64, secure=False)) == "terms"
