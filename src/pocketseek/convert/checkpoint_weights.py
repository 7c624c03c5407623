"""A checkpoint's tensors as float32, whole, by the package's names: for what computes with them on the way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.families.base import ModelPlan
from pocketseek.convert.layer_math import Floats
from pocketseek.convert.slabs import pick_rows, read_matrix, read_vector
from pocketseek.convert.sources.base import Source
from pocketseek.types import ModelConfig


class CheckpointWeights:
    """Reads anew each time; keeps nothing."""

    def __init__(self, source: Source, plan: ModelPlan) -> None:
        self._source = source
        self._plan = plan
        self._tensors = {tensor.name: tensor for tensor in plan.tensors}

    @property
    def model(self) -> ModelConfig:
        return self._plan.model

    @property
    def inv_freq(self) -> Floats:
        return self._plan.inv_freq

    def has(self, name: str) -> bool:
        return name in self._tensors

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name].shape

    def matrix(self, name: str) -> Floats:
        """(outputs, inputs)."""
        return read_matrix(self._source, self._tensors[name])

    def vector(self, name: str) -> Floats:
        return read_vector(self._source, self._tensors[name])

    def rows(self, name: str, ids: NDArray[np.int32]) -> Floats:
        """Those rows of a matrix, a slab at a time."""
        return pick_rows(self._source, self._tensors[name], ids)
