"""The accountant against Google's dp-accounting 0.6.0 (its values are written down here), and its own logic."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.adapt.federated.accountant import NoisyRound, epsilon, renyi_divergence

# (rate, multiplier, rounds, delta, epsilon by dp-accounting's RdpAccountant)
DP_ACCOUNTING = (
    (1.0, 1.0, 1, 1e-5, 4.728507),
    (1.0, 2.0, 10, 1e-5, 8.079406),
    (1.0, 0.5, 5, 1e-5, 30.126631),
    (0.01, 1.0, 1000, 1e-5, 2.101367),
    (250 / 60000, 1.3, 3600, 1e-5, 0.942200),
    (256 / 60000, 1.1, 14062, 1e-5, 2.596556),
    (0.1, 1.0, 100, 1e-6, 8.921392),
    (0.5, 3.0, 50, 1e-5, 6.119068),
    (0.001, 0.7, 10000, 1e-7, 2.915845),
)


@pytest.mark.parametrize(("rate", "multiplier", "rounds", "delta", "published"), DP_ACCOUNTING)
def test_epsilon_is_that_of_dp_accounting_or_a_little_more(
    rate: float, multiplier: float, rounds: int, delta: float, published: float
) -> None:
    found = epsilon([NoisyRound(multiplier, rate)] * rounds, delta)
    assert 0.999 * published <= found <= 1.03 * published  # more: its orders between whole ones are exact


def test_of_a_gaussian_the_divergence_has_a_closed_form() -> None:
    assert renyi_divergence(8.0, NoisyRound(2.0)) == 1.0
    assert renyi_divergence(8.0, NoisyRound(2.0, 1 - 1e-12)) == pytest.approx(1.0, rel=1e-6)


@given(st.floats(0.3, 10), st.floats(0.01, 0.99), st.floats(1.05, 60))
def test_who_is_asked_less_often_or_hidden_better_pays_less(multiplier: float, rate: float, order: float) -> None:
    spent = renyi_divergence(order, NoisyRound(multiplier, rate))
    assert 0 <= spent <= renyi_divergence(order, NoisyRound(multiplier)) * (1 + 1e-9)
    assert renyi_divergence(order, NoisyRound(2 * multiplier, rate)) <= spent * (1 + 1e-9) + 1e-12


def test_rounds_add_up_and_no_noise_is_no_privacy() -> None:
    one = NoisyRound(2.0, 0.1)
    assert epsilon([], 1e-5) == 0.0
    assert epsilon([one], 1e-5) < epsilon([one] * 10, 1e-5) < 10 * epsilon([one], 1e-5)
    assert math.isinf(epsilon([one, NoisyRound(0.0, 0.1)], 1e-5))
