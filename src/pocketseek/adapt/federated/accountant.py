"""How much privacy rounds of noised sums have cost so far: epsilon at a given delta, by Rényi differential privacy.

A round publishes a sum of clients' updates, each of norm C at most, with Gaussian noise of standard deviation
`multiplier` * C; neighbouring federations differ in the presence of one client. Sampled: each client takes part with
probability `rate`, by a coin of its own, unknown to who looks at the result. Mironov, "Rényi Differential Privacy"
(2017); Mironov, Talwar, Zhang, "Rényi Differential Privacy of the Sampled Gaussian Mechanism" (2019), the formula for
whole orders; between them the logarithm of the moment is convex, so a chord bounds it. The conversion to epsilon is
that of Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy" (2020), Proposition 12.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_WHOLE = (*range(2, 65), *range(72, 257, 8), 320, 384, 512, 768, 1024)
_ORDERS = tuple(sorted({*(1 + step / 20 for step in range(1, 100)), *map(float, _WHOLE)}))


@dataclass(frozen=True)
class NoisyRound:
    """multiplier: standard deviation of the noise in the sum, over the norm that updates are clipped to. rate: the
    probability with which a client took part."""

    multiplier: float
    rate: float = 1.0


def epsilon(rounds: Iterable[NoisyRound], delta: float) -> float:
    """Of all rounds together; infinite if one of them had no noise."""
    rounds = list(rounds)
    if not rounds:
        return 0.0
    if not 0.0 < delta < 1.0:
        raise ValueError(f"delta is {delta}")
    best = math.inf
    counts: dict[NoisyRound, int] = {}
    for one in rounds:
        counts[one] = counts.get(one, 0) + 1
    for order in _ORDERS:
        spent = sum(count * renyi_divergence(order, one) for one, count in counts.items())
        converted = spent + math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)
        best = min(best, converted)
    return max(0.0, best)


def renyi_divergence(order: float, one: NoisyRound) -> float:
    """At most; nats. order: above 1."""
    if one.multiplier <= 0.0:
        return math.inf
    if one.rate <= 0.0:
        return 0.0
    unsampled = order / (2 * one.multiplier**2)
    if one.rate >= 1.0:
        return unsampled
    below = math.floor(order)
    log_moment = _log_moment(below, one)
    if share := order - below:
        log_moment = (1 - share) * log_moment + share * _log_moment(below + 1, one)
    return min(log_moment / (order - 1), unsampled)


def _log_moment(order: int, one: NoisyRound) -> float:
    """log E[(density / density without)^order] of the sampled mechanism; 0 for order 1."""
    if order <= 1:
        return 0.0
    log_rate, log_rest = math.log(one.rate), math.log1p(-one.rate)
    terms = [
        math.lgamma(order + 1)
        - math.lgamma(k + 1)
        - math.lgamma(order - k + 1)
        + k * log_rate
        + (order - k) * log_rest
        + (k * k - k) / (2 * one.multiplier**2)
        for k in range(order + 1)
    ]
    largest = max(terms)
    return largest + math.log(math.fsum(math.exp(term - largest) for term in terms))
