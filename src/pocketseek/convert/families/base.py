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
class RowPick:
    """Which rows of the source are the tensor's: from row `first` on, of every `block` rows `taken` from `start`.

    paired: the last so many of those are stored as rotary partners side by side, (0, h/2), (1, h/2 + 1), ..., and are
    wanted in rotate-half order. transposed: the taken rows of a block, (taken, inputs), become (inputs, taken).
    """

    block: int
    taken: int
    first: int = 0
    start: int = 0
    paired: int = 0
    transposed: bool = False

    @property
    def is_run(self) -> bool:
        """Whether rows can be read as they stand there."""
        return self.block == self.taken and not self.paired and not self.transposed


@dataclass(frozen=True)
class TensorPlan:
    """One tensor of the package and where its values come from.

    picks: how its rows follow from the source's; None: they are those, in the order the package wants.
    source_shape: of the source's tensor; empty: as shape. scales_name: of FP8 weights the tensor with one scale for
    each square of fp8.SCALE_BLOCK.
    """

    name: str
    stage: str
    source_name: str
    shape: tuple[int, ...]
    picks: RowPick | None = None
    source_shape: tuple[int, ...] = ()
    scales_name: str = ""


@dataclass(frozen=True)
class ModelPlan:
    """tensors: all of them but rope.inv_freq, in the order they are written, stage by stage."""

    model: ModelConfig
    inv_freq: NDArray[np.float32]
    tensors: tuple[TensorPlan, ...]


# What a family module offers, as its function `plan`.
Planner: TypeAlias = Callable[[Source], ModelPlan]
