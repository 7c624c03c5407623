"""What came back from clients in a round, judged one by one, and its mean. The server's view without secure
aggregation; with it only the mean is there to be judged.

What cannot be seen here: a change within the norm that was trained on lies. Clipping bounds what it can do in a round.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pocketseek.adapt.federated.plan import FederatedPlan
from pocketseek.adapt.federated.vector import norm
from pocketseek.adapt.train_tensors import Floats

Fault = Literal["wrong-shape", "not-finite", "too-large", "wrong-weight"]
_SIGMAS = 6.0
_GRID = 2.0**-22  # of secure aggregation's range: values are rounded to it


@dataclass(frozen=True)
class Answer:
    """change: as it arrived, of any kind and shape. weight: what the mean takes it with."""

    client: str
    change: NDArray[np.generic]
    weight: float
    num_tokens: int = 0
    loss: float = math.nan


@dataclass(frozen=True)
class Rejected:
    client: str
    fault: Fault


@dataclass(frozen=True)
class Judged:
    accepted: tuple[Answer, ...]
    rejected: tuple[Rejected, ...]


def judge(answers: Sequence[Answer], plan: FederatedPlan, num_values: int) -> Judged:
    accepted, rejected = [], []
    for answer in answers:
        fault = fault_of(answer.change, largest_norm(plan, num_values, 1), num_values)
        if fault is None and not (math.isfinite(answer.weight) and 0 < answer.weight <= plan.most_weight):
            fault = "wrong-weight"
        if fault is None:
            accepted.append(answer)
        else:
            rejected.append(Rejected(answer.client, fault))
    return Judged(tuple(accepted), tuple(rejected))


def fault_of(change: NDArray[np.generic], most: float, num_values: int) -> Fault | None:
    if change.shape != (num_values,) or change.dtype.kind != "f":
        return "wrong-shape"
    if not bool(np.isfinite(change).all()):
        return "not-finite"
    return None if norm(change.astype(np.float64)) <= most else "too-large"


def largest_norm(plan: FederatedPlan, num_values: int, num_clients: int) -> float:
    """Of an honest mean of so many changes: what clipping leaves, and noise, which is longer than this once in 10^8."""
    deviation = plan.client_noise / math.sqrt(num_clients)
    grid = 2 * secure_range(plan) * _GRID * math.sqrt(num_values) if plan.secure else 0.0
    return (plan.clip_norm + deviation * (math.sqrt(num_values) + _SIGMAS) + grid) * (1 + 1e-5)


def secure_range(plan: FederatedPlan) -> float:
    """Within which (both signs) secure aggregation keeps every value of a client's change."""
    return plan.clip_norm + 2 * _SIGMAS * plan.client_noise


def weighted_mean(answers: Sequence[Answer]) -> Floats:
    """In float64 and in the order of clients' names, so that the order of arrival changes nothing."""
    total = sum(answer.weight for answer in answers)
    mean = np.zeros(len(answers[0].change), np.float64)
    for answer in sorted(answers, key=lambda one: one.client):
        mean += answer.change.astype(np.float64) * (answer.weight / total)
    return mean.astype(np.float32)
