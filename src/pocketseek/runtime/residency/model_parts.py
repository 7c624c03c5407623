"""The parts of a model as the kernels hold them: layers, embedding, head. Made once, of what a package maps; a layer
can be made again of bytes that lie elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pocketseek.kernels.contract import LAYER_NORMS, LAYER_OPTIONAL_VECTORS, Floats, ModelKernels, TensorData
from pocketseek.package.manifest import TensorEntry
from pocketseek.package.reader import Package
from pocketseek.runtime.residency.tensor_places import TensorPlaces, lacking, matrices_of_layer
from pocketseek.runtime.residency.units import HEAD
from pocketseek.runtime.residency.weight_files import WeightFiles

EMBED = "embed.weight"


class ModelParts:
    """Of one open package. Vectors are copied, being small and used in every pass; matrices are used in place."""

    def __init__(self, package: Package, kernels: ModelKernels, files: WeightFiles) -> None:
        self._kernels = kernels
        self._files = files
        self._config = package.manifest.model
        self.entries = {entry.name: entry for entry in package.manifest.tensors}
        self.tensors = TensorPlaces(package)
        self._vectors = {
            name: self._read_vector(entry) for name, entry in self.entries.items() if len(entry.shape) == 1
        }
        self.head = kernels.load_matrix(self.tensors.mapped(HEAD))
        self.embed = self.head if self._config.tied_embeddings else kernels.load_matrix(self.tensors.mapped(EMBED))
        self.head_norm = self._vectors["head.norm"]
        self.inv_freq = self._vectors["rope.inv_freq"]

    @property
    def table(self) -> TensorEntry:
        """From which rows are embedded."""
        return self.entries[HEAD if self._config.tied_embeddings else EMBED]

    def layer(
        self, index: int, matrix: Callable[[str], TensorData] | None = None, *, with_experts: bool = True
    ) -> object:
        """matrix: of this name in the package; None: as it is mapped."""
        matrix = matrix or self.tensors.mapped
        names = matrices_of_layer(self._config, index, with_experts=with_experts)
        tensors = {name: matrix(full) for name, full in names}
        for name in (*LAYER_NORMS, *LAYER_OPTIONAL_VECTORS):
            vector = self._vectors.get(f"layer.{index}.{name}")
            if vector is not None:
                tensors[name] = TensorData("f32", vector.shape, ((0, vector.view(np.uint8)),))
            elif name in LAYER_NORMS:
                raise lacking(f"layer.{index}.{name}")
        return self._kernels.load_layer(tensors)

    def _read_vector(self, entry: TensorEntry) -> Floats:
        """A copy: small, used in every pass, and not worth a page of the map each."""
        (extent,) = entry.extents
        return np.frombuffer(self._files.bytes_at(extent.chunk, extent.offset, extent.num_bytes), np.float32)

    def close(self) -> None:
        """Of no use afterwards."""
        self.embed = self.head = None
