"""The contract of a family: look at an open checkpoint, say exactly what will be written, or refuse.

A family is a module with `plan(source) -> ModelPlan`. Whatever can be wrong with a checkpoint short of its weights'
values is found there, before anything is written: unknown settings (UnsupportedError), impossible ones, missing tensors
and wrong shapes (FormatError). Messages name the checkpoint's own keys and tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.sources.base import Source
from pocketseek.types import ModelConfig


@dataclass(frozen=True)
class TensorPlan:
    """One tensor of the package and where its values come from.

    interleaved_head_dim: the source stores the rows of each head of that many rows as pairs (0, h/2), (1, h/2 + 1), ...
    (rotary partners side by side, as llama GGUFs do); 0 if rows are in the order the package wants.
    """

    name: str
    stage: str
    source_name: str
    shape: tuple[int, ...]
    interleaved_head_dim: int = 0


@dataclass(frozen=True)
class ModelPlan:
    """tensors: all of them but rope.inv_freq, in the order they are written, stage by stage."""

    model: ModelConfig
    inv_freq: NDArray[np.float32]
    tensors: tuple[TensorPlan, ...]


# What a family module offers, as its function `plan`.
Planner: TypeAlias = Callable[[Source], ModelPlan]
