"""Where the bytes of a tensor lie during a pass, for the kernels: in the package's map, in the ring, or part here, part
there. Knows nothing of threads: whoever computes sees to it that the bytes are there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import IntegrityError
from pocketseek.kernels.contract import LAYER_MATRICES, TensorData
from pocketseek.package.layer_tensors import EXPERT_MATRICES, layer_tensors
from pocketseek.package.reader import Package
from pocketseek.runtime.residency.plan import Plan
from pocketseek.runtime.residency.units import Piece, Unit
from pocketseek.types import ModelConfig


class TensorPlaces:
    """Of one open package."""

    def __init__(self, package: Package) -> None:
        self._package = package
        self._entries = {entry.name: entry for entry in package.manifest.tensors}

    def mapped(self, name: str) -> TensorData:
        """All of it as the package maps it. Raises IntegrityError if the package has no such tensor."""
        if name not in self._entries:
            raise lacking(name)
        stored = self._package.tensor(name)
        return TensorData(stored.format, stored.shape, tuple((part.first_tile, part.data) for part in stored.parts))

    def assembled(self, name: str, units: Sequence[Unit], plan: Plan, ring: NDArray[np.uint8]) -> TensorData:
        """Of these units' pieces, each where it is during a pass."""
        entry = self._entries[name]
        pieces = [(unit, piece) for unit in units for piece in unit.pieces if piece.tensor == name]
        pieces.sort(key=lambda pair: pair[1].first_tile)
        parts = tuple((piece.first_tile, self._bytes_of(unit, piece, plan, ring)) for unit, piece in pieces)
        return TensorData(entry.format, entry.shape, parts)

    def _bytes_of(self, unit: Unit, piece: Piece, plan: Plan, ring: NDArray[np.uint8]) -> NDArray[np.uint8]:
        slot = plan.slot_of.get(unit.index)
        if slot is None:
            return self._package.chunk(piece.chunk)[piece.offset : piece.offset + piece.num_bytes]
        position = slot.position_of(piece)
        return ring[position : position + piece.num_bytes]


def matrices_of_layer(config: ModelConfig, index: int, *, with_experts: bool = True) -> list[tuple[str, str]]:
    """What the kernels call a layer's matrices, its experts' too, and what the package does."""
    if not config.is_sparse:
        return [(name, f"layer.{index}.{name}") for name in LAYER_MATRICES]
    shapes = layer_tensors(config, index)
    names = [(name, f"layer.{index}.{name}") for name, shape in shapes.items() if len(shape) == 2]
    if with_experts and config.moe is not None and config.has_experts(index):
        experts = (f"{expert}.{name}" for expert in range(config.moe.num_experts) for name in EXPERT_MATRICES)
        names += [(name, f"experts.{index}.{name}") for name in experts]
    return names


def lacking(name: str) -> IntegrityError:
    return IntegrityError(f"the package lacks the tensor {name}; convert or install the model again")
