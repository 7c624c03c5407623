"""A package's tensors as torch tensors in float32, decoded when they are asked for; the package is mapped, not read."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from pocketseek.adapt.decode_tiles import decode_rows
from pocketseek.convert.package_weights import PackageWeights
from pocketseek.package.layer_tensors import layer_tensors
from pocketseek.package.reader import Package
from pocketseek.types import ModelConfig

LayerTensors = dict[str, torch.Tensor]


class TorchWeights:
    """Of an open package of a dense model. Layers that were pinned stay decoded; see `pin_layers`."""

    def __init__(self, package: Package, device: torch.device | None = None) -> None:
        self.model: ModelConfig = package.manifest.model
        self.device = device or torch.device("cpu")
        self._package = package
        self._weights = PackageWeights(package)
        self._pinned: dict[int, LayerTensors] = {}
        self._num_pinned = 0
        self._head: torch.Tensor | None = None
        self.inv_freq = self._moved(self._weights.inv_freq.copy())

    @property
    def embed_name(self) -> str:
        return "head.weight" if self.model.tied_embeddings else "embed.weight"

    def pin_layers(self, num_layers: int) -> None:
        """The first so many layers are decoded once and kept. Never the last used: a pass is a cyclic scan, for which
        that is the worst policy."""
        self._num_pinned = num_layers
        self._pinned = {index: layer for index, layer in self._pinned.items() if index < num_layers}

    def layer(self, index: int) -> LayerTensors:
        """By their short names; matrices (outputs, inputs)."""
        if index in self._pinned:
            return self._pinned[index]
        layer = {name: self.tensor(f"layer.{index}.{name}") for name in layer_tensors(self.model, index)}
        if index < self._num_pinned:
            self._pinned[index] = layer
        return layer

    def head_rows(self, first: int, end: int) -> torch.Tensor:
        """Of the head, decoded or as kept by `pin_head`; first is a multiple of 16."""
        if self._head is not None:
            return self._head[first:end]
        return self.matrix_rows("head.weight", first, end)

    def pin_head(self) -> None:
        """The head stays decoded."""
        self._head = self.matrix("head.weight")

    def tensor(self, name: str) -> torch.Tensor:
        return self.vector(name) if len(self._package.tensor(name).shape) == 1 else self.matrix(name)

    def vector(self, name: str) -> torch.Tensor:
        return self._moved(self._weights.vector(name).copy())

    def matrix(self, name: str) -> torch.Tensor:
        return self.matrix_rows(name, 0, self._package.tensor(name).shape[0])

    def matrix_rows(self, name: str, first: int, end: int) -> torch.Tensor:
        """The rows first..end-1; first is a multiple of 16."""
        return self._moved(decode_rows(self._package.tensor(name), first, end))

    def rows(self, name: str, ids: torch.Tensor) -> torch.Tensor:
        """Rows of a matrix by ids of any shape: (*ids.shape, columns)."""
        wanted, places = torch.unique(ids.cpu(), return_inverse=True)
        rows = torch.from_numpy(self._weights.rows(name, wanted.numpy().astype(np.int32)))
        return rows[places].to(self.device)

    def _moved(self, values: NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(values).to(self.device)


def to_numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    """A copy."""
    return np.array(tensor.detach().cpu().numpy(), np.float32)
