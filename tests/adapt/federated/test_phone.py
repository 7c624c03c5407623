"""A device's round on a tiny model: what leaves it, and when it stays out."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from adapt.training_models import conversations, tiny_package

from pocketseek.adapt.federated.phone import Change, Phone, protected
from pocketseek.adapt.federated.plan import FederatedPlan
from pocketseek.adapt.federated.terms import ClientTerms, DeviceFacts
from pocketseek.adapt.federated.vector import norm, num_values, to_vector
from pocketseek.adapt.train import train_adapter
from pocketseek.adapt.train_tensors import adapter_shapes, initial_tensors
from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.package.manifest import read_manifest, read_manifest_bytes, version_id


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_package(tmp_path_factory.mktemp("packages"), "llama")


@pytest.fixture
def plan(package: Path) -> FederatedPlan:
    version = version_id(read_manifest_bytes(package))
    return FederatedPlan(
        version, rank=2, local_steps=3, batch=2, context=64, clip_norm=50.0, secure=False, min_clients=2
    )


def start_of(package: Path, plan: FederatedPlan) -> np.ndarray:
    model = read_manifest(package).model
    return to_vector(initial_tensors(model, plan.rank, plan.targets, 0), adapter_shapes(model, plan.rank, plan.targets))


def test_what_leaves_the_device_is_the_change_that_training_makes(package: Path, plan: FederatedPlan) -> None:
    start = start_of(package, plan)
    change = Phone(package, conversations()).train(start, plan, 1)
    model = read_manifest(package).model
    trained = train_adapter(
        package, conversations(), plan.settings(1), initial_tensors(model, plan.rank, plan.targets, 0)
    )
    shapes = adapter_shapes(model, plan.rank, plan.targets)
    assert change.values.tobytes() == (to_vector(trained.tensors, shapes) - start).tobytes()
    assert (change.weight, change.num_tokens, change.loss) == (1.0, trained.num_tokens, trained.losses[0])
    short = Phone(package, conversations()).train(start, replace(plan, clip_norm=1e-3), 1)
    assert norm(short.values) <= 1e-3


def test_a_device_stays_out_for_a_reason(package: Path, plan: FederatedPlan) -> None:
    start = start_of(package, plan)
    for phone, other, reason in (
        (Phone(package, conversations()), replace(plan, model="b" * 64), "other-model"),
        (Phone(package, []), plan, "no-data"),
        (Phone(package, conversations(), terms=ClientTerms(secure_only=True)), plan, "terms"),
        (Phone(package, conversations(), facts=lambda: DeviceFacts(charging=False)), plan, "not-charging"),
    ):
        assert phone.refusal(other) == reason
        with pytest.raises(UnsupportedError, match=reason):
            phone.train(start, other, 1)


@pytest.mark.parametrize("bad", [np.zeros(3, np.float32), np.zeros(0, np.float32), None])
def test_an_adapter_of_another_form_is_refused(package: Path, plan: FederatedPlan, bad: np.ndarray | None) -> None:
    shapes = adapter_shapes(read_manifest(package).model, plan.rank, plan.targets)
    sent = np.full(num_values(shapes), np.nan, np.float32) if bad is None else bad
    with pytest.raises(FormatError, match="plan"):
        Phone(package, conversations()).train(sent, plan, 1)


def test_with_noise_nothing_is_told_beside_the_noised_change(plan: FederatedPlan) -> None:
    change = Change(np.ones(100, np.float32), 1.0, 512, 3.5)
    hidden = protected(change, replace(plan, noise=1.0, clip_norm=1.0))
    assert (hidden.weight, hidden.num_tokens) == (1.0, 0)
    assert math.isnan(hidden.loss)
    assert 5.0 < norm(hidden.values) < 20.0  # 100 places of deviation 1
    assert protected(change, replace(plan, weigh="tokens")).weight == 512.0
