"""The model in torch is the package's, and only one layer of it is decoded at a time."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from adapt.training_models import FAMILIES, tiny_package

from pocketseek.adapt.torch_model import LoraModel
from pocketseek.adapt.torch_weights import LayerTensors, TorchWeights
from pocketseek.adapt.train_settings import TARGETS
from pocketseek.adapt.train_tensors import initial_tensors
from pocketseek.convert.layer_math import Attention
from pocketseek.convert.layer_walk import Layer
from pocketseek.convert.package_weights import PackageWeights
from pocketseek.package.reader import Package


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_are_those_of_the_float_walk(tmp_path: Path, family: str) -> None:
    ids = np.random.default_rng(0).integers(0, 300, (3, 40))
    with Package.open(tiny_package(tmp_path, family)) as package:
        slow = PackageWeights(package)
        attention = Attention(slow.model, slow.inv_freq, 40)
        name = "head.weight" if slow.model.tied_embeddings else "embed.weight"
        hidden = slow.rows(name, ids.reshape(-1).astype(np.int32))
        for index in range(slow.model.num_layers):
            hidden = Layer.of(slow, index, attention).run(hidden, 40)
        model = LoraModel(TorchWeights(package), initial_tensors(slow.model, 2, tuple(TARGETS), 0), 2.0)
        found = model.hidden(torch.from_numpy(ids)).detach().numpy().reshape(hidden.shape)
    np.testing.assert_allclose(found, hidden, atol=2e-4, rtol=1e-3)


class _CountedWeights(TorchWeights):
    """Counts how many layers are alive."""

    def __init__(self, package: Package) -> None:
        super().__init__(package)
        self.alive: list[weakref.ref[torch.Tensor]] = []
        self.most = 0
        self.decoded = 0

    def layer(self, index: int) -> LayerTensors:
        gc.collect()
        layer = super().layer(index)
        self.alive = [one for one in self.alive if one() is not None] + [weakref.ref(layer["gate"])]
        self.most = max(self.most, len(self.alive))
        self.decoded += 1
        return layer


def test_one_layer_is_decoded_at_a_time(tmp_path: Path) -> None:
    with Package.open(tiny_package(tmp_path, num_layers=6)) as package:
        weights = _CountedWeights(package)
        model = LoraModel(weights, initial_tensors(weights.model, 2, tuple(TARGETS), 0), 2.0)
        ids = torch.randint(300, (2, 20))
        model.cost(ids, torch.ones(2, 20, dtype=torch.bool)).backward()
        assert weights.decoded == 12  # once forward, once back
        assert weights.most <= 2  # one, and the one before that is just let go


def test_pinned_layers_are_decoded_once(tmp_path: Path) -> None:
    with Package.open(tiny_package(tmp_path)) as package:
        weights = TorchWeights(package)
        weights.pin_layers(1)
        assert weights.layer(0) is weights.layer(0)
        assert weights.layer(1) is not weights.layer(1)
