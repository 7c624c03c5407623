"""What an implementation of the kernels offers to the executor, and the values that pass between them.

All implementations compute the same function. The compiled ones agree to the bit, whatever the batch, the
cut of a prompt and the number of threads; the numpy reference agrees with them within rounding (reference.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pocketseek.kernels.kv_memory import KvMemory

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]

LAYER_MATRICES = ("q", "k", "v", "o", "gate", "up", "down")
LAYER_NORMS = ("attn_norm", "mlp_norm")
LAYER_OPTIONAL_VECTORS = ("q_bias", "k_bias", "v_bias", "q_norm", "k_norm")


@dataclass(frozen=True)
class TensorData:
    """A tensor's bytes as formats.py lays them out. parts: (index of the first tile row, its bytes), in order."""

    format: str
    shape: tuple[int, ...]
    parts: tuple[tuple[int, NDArray[np.uint8]], ...]

    def vector(self) -> Floats:
        """The values of a vector tensor."""
        return self.parts[0][1].view(np.float32)


@dataclass(frozen=True)
class RowSpan:
    """Consecutive rows of a pass that belong to one sequence. pages: ids of its KV pages, from position 0 on."""

    first_position: int
    num_rows: int
    pages: tuple[int, ...]


LayerStep = Literal["qkv", "o", "gate_up", "down"]


@dataclass(frozen=True)
class LayerPart:
    """Some tile rows of one step of a layer; of qkv they are counted through q, k and v, of gate_up both are meant."""

    step: LayerStep
    first_tile: int
    num_tiles: int


class LogitsMath(Protocol):
    """What sampling asks of a row of logits. Has no state; any thread may use it."""

    def exp_weights(self, values: Floats, best: np.float32, divisor: np.float32) -> Floats:
        """e^((value - best) / divisor), float32; 0 (numpy: next to it) where it would be below e^-87."""
        ...

    def exp_mass(self, values: Floats, best: np.float32, divisor: np.float32) -> float:
        """The sum of exp_weights, relative error below 1e-6."""
        ...

    def at_least(self, values: Floats, threshold: float, most: int) -> Indices | None:
        """Indices of the values that reach the threshold, ascending; None if there are more than `most`."""
        ...


class ModelKernels(Protocol):
    """The steps of one pass for one model. Opaque values (object) come from the same instance and go back to it."""

    @property
    def name(self) -> str: ...

    @property
    def logits_math(self) -> LogitsMath:
        """Of the same implementation and instruction set."""
        ...

    def load_matrix(self, tensor: TensorData) -> object: ...

    def load_layer(self, tensors: Mapping[str, TensorData]) -> object:
        """tensors: by the last part of their names ("q", "attn_norm", ...)."""
        ...

    def begin(self, spans: Sequence[RowSpan], inv_freq: Floats, memory: KvMemory) -> object:
        """Prepare the rows of a pass: rope tables and page addresses."""
        ...

    def embed(self, table: object, token_ids: NDArray[np.int32], hidden: Floats) -> None:
        """Write the embeddings into `hidden` (tokens, hidden size)."""
        ...

    def layers(self, weights: Sequence[object], first: int, rows: object, hidden: Floats) -> None:
        """Run the layers first, first + 1, ... on `hidden` (rows, hidden size) in place, with these weights.

        Writes K and V of the rows into their pages. Running one by one gives the same as running all at once, which
        costs less.
        """
        ...

    def head(self, norm: Floats, table: object, hidden: Floats, chosen: NDArray[np.int32], logits: Floats) -> None:
        """Write `logits` (chosen rows, vocabulary)."""
        ...

    def set_num_threads(self, num_threads: int) -> None: ...

    def set_cores(self, cores: tuple[int, ...]) -> None:
        """Keep to these cores from the next pass on; empty: to none in particular.

        Raises UsageError, and changes nothing, for a core that is offline or forbidden.
        """
        ...
