"""What an implementation of the kernels offers to the executor, and the values that pass between them.

All implementations compute the same function. The compiled ones agree to the bit, whatever the batch, the
cut of a prompt and the number of threads; the numpy reference agrees with them within rounding (reference.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from pocketseek.formats import num_tile_rows
from pocketseek.kernels.kv_memory import KvMemory
from pocketseek.types import ModelConfig

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]

LAYER_MATRICES = ("q", "k", "v", "o", "gate", "up", "down")
LAYER_NORMS = ("attn_norm", "mlp_norm")
LAYER_OPTIONAL_VECTORS = ("q_bias", "k_bias", "v_bias", "q_norm", "k_norm", "q_a_norm", "kv_a_norm", "router_bias")

LayerStep = Literal["qkv", "o", "gate", "up", "down"]
LAYER_STEPS: tuple[LayerStep, ...] = get_args(LayerStep)


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
class LowRank:
    """What an adapter does with one matrix: outputs += B (scale * (A inputs)).

    a: (rank, inputs), b: (rank, outputs), f16 as formats.py lays them out; used before the call returns, not in place.
    """

    a: TensorData
    b: TensorData
    scale: float

    @property
    def rank(self) -> int:
        return self.a.shape[0]


@dataclass(frozen=True)
class RowSpan:
    """Consecutive rows of a pass that belong to one sequence. pages: ids of its KV pages, from position 0 on.

    adapter: what `load_adapter` gave, for all its rows; None: without.
    """

    first_position: int
    num_rows: int
    pages: tuple[int, ...]
    adapter: object | None = None


@dataclass(frozen=True)
class LayerPart:
    """Some tile rows of one step of a layer.

    They are counted through q, k and v in "qkv", and through the matrix in the other steps. Steps come in the order of
    LAYER_STEPS, the parts of a step in ascending order without gaps: tile 0 begins the step and its last tile ends it.
    """

    step: LayerStep
    first_tile: int
    num_tiles: int


def step_tiles(config: ModelConfig, step: LayerStep) -> int:
    """How many tile rows a step has."""
    if step == "qkv":
        query, key = (num_tile_rows(heads * config.head_dim) for heads in (config.num_heads, config.num_kv_heads))
        return query + 2 * key
    return num_tile_rows(config.intermediate_size if step in ("gate", "up") else config.hidden_size)


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

    @property
    def can_stream(self) -> bool:
        """Whether there are layer_part and head_part; without, both raise UsageError."""
        ...

    def load_matrix(self, tensor: TensorData) -> object:
        """Parts may lie anywhere in memory and be cut between any two tile rows; they are used in place."""
        ...

    def load_layer(self, tensors: Mapping[str, TensorData]) -> object:
        """tensors: by the last part of their names ("q", "attn_norm", ...); of expert 7 "7.gate", "7.up", "7.down".

        Without its experts a layer that has some is for `attend_and_route`, with them for `layers`.
        """
        ...

    def load_adapter(self, layers: Sequence[Mapping[str, LowRank]]) -> object:
        """An adapter, by layers and the names of package/adapter_layout.py. Any number may be in use."""
        ...

    def begin(self, spans: Sequence[RowSpan], inv_freq: Floats, memory: KvMemory) -> object:
        """Prepare the rows of a pass: rope tables, page addresses and whose adapter is whose."""
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

    def load_expert(self, tensors: Mapping[str, TensorData]) -> object:
        """tensors: "gate", "up" and "down" of one expert; used in place, and of use as long as its bytes stay there."""
        ...

    # A layer with experts in steps, so that they may be read from storage while others are computed. All of it gives
    # the bits of `layers`, in whatever order and groups experts come. Whatever else runs on these kernels in between
    # (embed, layers, layer_part, head, head_part, attend_and_route) ends the layer. Each raises ValueError, with
    # nothing done, for what does not follow.

    def attend_and_route(self, layer: object, index: int, rows: object, hidden: Floats) -> NDArray[np.int32]:
        """Begin layer `index`, which was loaded without its experts: attention, and whom the rows choose.

        Returns the experts (rows, experts_per_token), ascending in each row. Writes K and V of the rows.
        """
        ...

    def shared_experts(self, layer: object) -> None:
        """Compute those of the layer that was begun, once; a layer that has none may be asked for them."""
        ...

    def experts(self, ready: Mapping[int, object]) -> None:
        """Compute these experts, by number, for all rows that chose them; each once, and none that nobody chose."""
        ...

    def end_layer(self, hidden: Floats) -> None:
        """Add to `hidden`, which is the array that the layer began with, what was computed of its experts, all there.

        After a ValueError for one that is missing the layer can go on.
        """
        ...

    def layer_part(self, layer: object, index: int, part: LayerPart, rows: object, hidden: Floats) -> None:
        """Run a part of layer `index`. All parts together give the bits of `layers`.

        Reads the weights of the part's tile rows only, and norms and biases; elsewhere anything may lie. Raises
        ValueError, with nothing done, for a part that is not the first of a layer and does not follow the one before
        it. Whatever else runs on these kernels in between (embed, layers, head, head_part) ends the layer; so do the
        rows of another pass, which begin a layer anew.
        """
        ...

    def head_part(
        self,
        norm: Floats,
        table: object,
        hidden: Floats,
        chosen: NDArray[np.int32],
        logits: Floats,
        first_tile: int,
        num_tiles: int,
    ) -> None:
        """Write the columns of these tile rows of the head into `logits` (chosen rows, vocabulary); the bits of `head`.

        Parts may come in any order. Only the part's tile rows are read.
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
