"""The device's side of a round: may it take part, then training on its own data, and the change shortened and noised.

What leaves the device is the change of the adapter, its weight, the number of tokens and the loss before training;
never the data, never the model. With noise or secure aggregation, number and loss stay at home too: nothing hides them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pocketseek.adapt.data_file import Example
from pocketseek.adapt.federated.aggregate import fault_of
from pocketseek.adapt.federated.plan import FederatedPlan
from pocketseek.adapt.federated.terms import ClientTerms, DeviceFacts, DevicePolicy, Refusal
from pocketseek.adapt.federated.vector import clipped, num_values, to_tensors, to_vector, with_noise
from pocketseek.adapt.train_tensors import Floats, adapter_shapes
from pocketseek.errors import FormatError, ModelOutputError, UnsupportedError
from pocketseek.package.manifest import read_manifest, read_manifest_bytes, version_id


@dataclass(frozen=True)
class Change:
    """values: what is sent. weight: what the mean takes it with. num_tokens 0, loss NaN: not told."""

    values: Floats
    weight: float
    num_tokens: int
    loss: float


class Phone:
    """One device with its data. facts: read when asked; may take seconds."""

    def __init__(
        self,
        package: Path,
        examples: Sequence[Example],
        *,
        policy: DevicePolicy | None = None,
        terms: ClientTerms | None = None,
        facts: Callable[[], DeviceFacts] = DeviceFacts,
        num_threads: int | None = None,
    ) -> None:
        self._package = package
        self._examples = examples
        self._policy = policy or DevicePolicy()
        self._terms = terms or ClientTerms()
        self._facts = facts
        self._num_threads = num_threads
        self._version = version_id(read_manifest_bytes(package))
        self._model = read_manifest(package).model

    def refusal(self, plan: FederatedPlan) -> Refusal | None:
        """None: it takes part."""
        if plan.model != self._version:
            return "other-model"
        if not self._examples:
            return "no-data"
        return self._terms.refusal(plan) or self._policy.refusal(self._facts())

    def train(self, vector: Floats, plan: FederatedPlan, round_number: int) -> Change:
        """Raises UnsupportedError (does not take part), FormatError (no adapter of this plan), and as train_adapter."""
        from pocketseek.adapt.train import train_adapter  # and with it torch, which a server does without

        if reason := self.refusal(plan):
            raise UnsupportedError(f"this device does not take part now ({reason}); ask again later")
        settings = plan.settings(round_number, self._num_threads)
        shapes = adapter_shapes(self._model, plan.rank, plan.targets)
        if fault := fault_of(vector, math.inf, num_values(shapes)):
            raise FormatError(f"the adapter that was sent is none of this plan ({fault}); see that server and plan fit")
        start = to_tensors(vector.astype(np.float32), shapes)
        trained = train_adapter(self._package, self._examples, settings, start, plan.proximal_mu)
        change = to_vector(trained.tensors, shapes) - vector.astype(np.float32)
        if not bool(np.isfinite(change).all()):
            raise ModelOutputError("training gave values that are no numbers; use a lower learning rate")
        told = Change(change, 1.0, trained.num_tokens, trained.losses[0])
        return protected(told, plan)


def protected(change: Change, plan: FederatedPlan) -> Change:
    """As it may be seen by others."""
    values = with_noise(clipped(change.values, plan.clip_norm), plan.client_noise)
    if plan.noise or plan.secure:
        return Change(values, 1.0, 0, math.nan)
    weight = float(min(change.num_tokens, plan.most_weight)) if plan.weigh == "tokens" else 1.0
    return replace(change, values=values, weight=weight)
