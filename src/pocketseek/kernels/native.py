"""The compiled core behind the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import MemoryLimitError, UsageError
from pocketseek.kernels import _native
from pocketseek.kernels.adapter_lanes import latent_lanes, output_lanes, rank_lanes
from pocketseek.kernels.contract import Floats, Indices, LayerPart, LowRank, RowSpan, TensorData
from pocketseek.kernels.kv_memory import KV_FORMATS, KvFormat, KvMemory
from pocketseek.types import ModelConfig


@dataclass(frozen=True)
class _Rows:
    batch: _native.Batch
    shape: _native.ModelShape


def _shape(config: ModelConfig, kv_format: KvFormat) -> _native.ModelShape:
    return _native.ModelShape(
        config.hidden_size,
        config.intermediate_size,
        config.num_heads,
        config.num_kv_heads,
        config.head_dim,
        config.rms_norm_eps,
        kv_format,
        _latents(config),
        _experts(config),
    )


def _latents(config: ModelConfig) -> _native.LatentShape | None:
    mla = config.mla
    if mla is None:
        return None
    return _native.LatentShape(mla.rank, mla.nope_dim, mla.rope_dim, mla.value_dim, mla.q_rank, mla.score_factor)


def _experts(config: ModelConfig) -> _native.MoeShape | None:
    moe = config.moe
    if moe is None:
        return None
    return _native.MoeShape(
        moe.num_experts,
        moe.experts_per_token,
        moe.expert_size,
        moe.shared_size,
        moe.score,
        moe.num_groups,
        moe.groups_per_token,
        moe.group_score,
        moe.normalised,
        moe.weight_factor,
    )


@dataclass(frozen=True)
class NativeLogits:
    """LogitsMath of one instruction set; every set gives the same bits."""

    instruction_set: str

    def exp_weights(self, values: Floats, best: np.float32, divisor: np.float32) -> Floats:
        values = np.ascontiguousarray(values)
        weights = np.empty_like(values)
        _native.exp_weights(self.instruction_set, values, float(best), float(divisor), weights)
        return weights

    def exp_mass(self, values: Floats, best: np.float32, divisor: np.float32) -> float:
        return _native.exp_mass(self.instruction_set, np.ascontiguousarray(values), float(best), float(divisor))

    def at_least(self, values: Floats, threshold: float, most: int) -> Indices | None:
        room = np.empty(most, np.int32)
        count = _native.at_least(self.instruction_set, np.ascontiguousarray(values), threshold, room)
        return room[:count].astype(np.intp) if count <= most else None


class NativeKernels:
    """One model's pass on one instruction set. Not for use from two threads at once."""

    def __init__(self, config: ModelConfig, instruction_set: str, num_threads: int) -> None:
        self._config = config
        try:
            self._core = _native.Core(instruction_set, num_threads)
        except RuntimeError as error:  # std::system_error
            raise _cannot_start(num_threads, error) from error
        self._shapes = {kv_format: _shape(config, kv_format) for kv_format in KV_FORMATS}
        self._begun: _Rows | None = None

    @property
    def name(self) -> str:
        return str(self._core.name)

    @property
    def logits_math(self) -> NativeLogits:
        return NativeLogits(self.name)

    @property
    def workspace_bytes(self) -> int:
        return int(self._core.workspace_bytes)

    @property
    def can_stream(self) -> bool:
        return not self._config.is_sparse

    def load_matrix(self, tensor: TensorData) -> object:
        rows, cols = tensor.shape
        return _native.Matrix(tensor.format, rows, cols, list(tensor.parts))

    def load_layer(self, tensors: Mapping[str, TensorData]) -> object:
        entries = {
            name: self.load_matrix(tensor) if len(tensor.shape) == 2 else tensor.vector()
            for name, tensor in tensors.items()
        }
        return _native.Layer(self._shapes["f16"], entries)

    def load_expert(self, tensors: Mapping[str, TensorData]) -> object:
        entries = {name: self.load_matrix(tensor) for name, tensor in tensors.items()}
        return _native.Expert(self._shapes["f16"], entries)

    def load_adapter(self, layers: Sequence[Mapping[str, LowRank]]) -> object:
        entries = [
            {name: entry for target, part in layer.items() for name, entry in self._low_rank(target, part).items()}
            for layer in layers
        ]
        return _native.Adapter(self._shapes["f16"], entries)

    def _low_rank(
        self, target: str, part: LowRank
    ) -> dict[str, tuple[int, float, NDArray[np.uint16], NDArray[np.uint16]]]:
        mla = self._config.mla
        if target != "kv_b" or mla is None:
            return {target: (part.rank, part.scale, rank_lanes(part.a), output_lanes(part.b))}
        halves = latent_lanes(part.a, part.b, self._config.num_heads, mla.nope_dim)
        return {name: (part.rank, part.scale, a, b) for name, (a, b) in halves.items()}

    def attend_and_route(self, layer: object, index: int, rows: object, hidden: Floats) -> NDArray[np.int32]:
        moe = self._config.moe
        if moe is None or not self._config.has_experts(index):
            raise ValueError(f"layer {index} has no experts")
        pass_rows = _rows(rows)
        chosen = np.empty((len(hidden), moe.experts_per_token), np.int32)
        self._core.attend_and_route(pass_rows.shape, layer, index, pass_rows.batch, hidden, chosen)
        self._begun = pass_rows  # its adapters are read again by shared_experts
        return chosen

    def shared_experts(self, layer: object) -> None:
        self._core.shared_experts(layer)

    def experts(self, ready: Mapping[int, object]) -> None:
        self._core.experts(list(ready.items()))

    def end_layer(self, hidden: Floats) -> None:
        self._core.end_layer(hidden)
        self._begun = None

    def begin(self, spans: Sequence[RowSpan], inv_freq: Floats, memory: KvMemory) -> object:
        rows = [(span.first_position, span.num_rows, span.pages) for span in spans]
        adapters = [span.adapter for span in spans] if any(span.adapter is not None for span in spans) else []
        factor = self._config.rope_scaling.attention_factor
        batch = _native.Batch(rows, memory.addresses, memory.page_bytes, inv_freq, factor, adapters)
        return _Rows(batch, self._shapes[memory.kv_format])

    def embed(self, table: object, token_ids: NDArray[np.int32], hidden: Floats) -> None:
        self._core.embed(table, token_ids, hidden)

    def layers(self, weights: Sequence[object], first: int, rows: object, hidden: Floats) -> None:
        pass_rows = _rows(rows)
        self._core.layers(pass_rows.shape, weights, first, pass_rows.batch, hidden)

    def layer_part(self, layer: object, index: int, part: LayerPart, rows: object, hidden: Floats) -> None:
        self._expect_parts()
        pass_rows = _rows(rows)
        self._core.layer_part(
            pass_rows.shape, layer, index, part.step, part.first_tile, part.num_tiles, pass_rows.batch, hidden
        )

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
        self._expect_parts()
        self._core.head_part(self._shapes["f16"], norm, table, hidden, chosen, logits, first_tile, num_tiles)

    def head(self, norm: Floats, table: object, hidden: Floats, chosen: NDArray[np.int32], logits: Floats) -> None:
        self._core.head(self._shapes["f16"], norm, table, hidden, chosen, logits)

    def _expect_parts(self) -> None:
        if not self.can_stream:
            raise UsageError(
                "layers with experts or latent attention are computed whole only; keep this model's layers in memory"
            )

    def set_num_threads(self, num_threads: int) -> None:
        try:
            self._core.set_num_threads(num_threads)
        except RuntimeError as error:
            raise _cannot_start(num_threads, error) from error

    def set_cores(self, cores: tuple[int, ...]) -> None:
        """Workers move at once, the thread that runs passes with its next one; it gets its own mask back at the end."""
        try:
            self._core.set_cores(cores)
        except ValueError as error:
            raise UsageError(str(error)) from error

    def set_spin(self, spin_s: float) -> None:
        """How long idle workers look for the next loop before they sleep; 0 to 1 second."""
        self._core.set_spin(spin_s)

    def tasks_done(self) -> list[int]:
        """Tasks (tile rows, rows, heads) that each thread has done since it was started; the caller's come first."""
        return self._core.tasks_done


def _rows(rows: object) -> _Rows:
    if not isinstance(rows, _Rows):
        raise TypeError(f"expected the rows of a pass from begin(), got {type(rows).__name__}")
    return rows


def _cannot_start(num_threads: int, error: RuntimeError) -> MemoryLimitError:
    return MemoryLimitError(
        f"{num_threads} compute threads cannot be started ({error}); set POCKETSEEK_THREADS to fewer"
    )
