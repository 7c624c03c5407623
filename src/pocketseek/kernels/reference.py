"""The arithmetic of a pass in plain numpy: slow, obvious, and the text to read first.

It does what the compiled core does: int8 activations for quantised matrices, exact integer sums per block of 32, blocks
added in ascending order; f32 for f16 and f32 matrices; K and V rounded to f16 or int8. It does not promise the same
bits: numpy has no fused multiply-add and its own exp. `tests/kernels/test_native.py` states how close the two are.
Its own bits depend neither on the batch nor on where a prompt is cut.

Matrices are in reference_math.py, attention in reference_attention.py and, over latents, in reference_latent.py,
experts in reference_moe.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import UsageError
from pocketseek.kernels.contract import Floats, LayerPart, LowRank, RowSpan, TensorData
from pocketseek.kernels.kv_memory import KvMemory
from pocketseek.kernels.logits import NumpyLogits
from pocketseek.kernels.reference_adapter import raised, unpack_adapter
from pocketseek.kernels.reference_attention import LayerWeights, PassRows, attention
from pocketseek.kernels.reference_attention import read_kv as read_kv
from pocketseek.kernels.reference_attention import write_kv as write_kv
from pocketseek.kernels.reference_latent import latent_attention
from pocketseek.kernels.reference_math import UnpackedMatrices, choose_rows
from pocketseek.kernels.reference_math import UnpackedMatrix as UnpackedMatrix
from pocketseek.kernels.reference_math import dequantise as dequantise
from pocketseek.kernels.reference_math import multiply as multiply
from pocketseek.kernels.reference_math import rms_norm as rms_norm
from pocketseek.kernels.reference_math import rotate as rotate
from pocketseek.kernels.reference_math import silu as silu
from pocketseek.kernels.reference_math import unpack_matrix as unpack_matrix
from pocketseek.kernels.reference_moe import ExpertWeights, MixtureSteps, gated_mlp, mixture
from pocketseek.types import ModelConfig

_Kind = TypeVar("_Kind")


class ReferenceKernels:
    """The contract in numpy. Unpacked matrices take four bytes a weight: for small models and tests. Of experts one
    matrix at a time is unpacked: the rest of DeepSeek-V2-Lite takes some 5.5 GB (by arithmetic, unmeasured).
    """

    name = "reference"
    logits_math = NumpyLogits()
    can_stream = False

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self._begun: MixtureSteps | None = None

    def set_num_threads(self, num_threads: int) -> None:
        """numpy decides for itself."""

    def set_cores(self, cores: tuple[int, ...]) -> None:
        """Nor about cores is numpy asked."""

    def load_matrix(self, tensor: TensorData) -> object:
        return unpack_matrix(tensor)

    def load_layer(self, tensors: Mapping[str, TensorData]) -> object:
        stored = {name: tensor for name, tensor in tensors.items() if len(tensor.shape) == 2}
        matrices = UnpackedMatrices(stored, kept=lambda name: not name[0].isdigit())  # experts are not
        vectors = {name: tensor.vector() for name, tensor in tensors.items() if len(tensor.shape) == 1}
        return LayerWeights(matrices, vectors)

    def load_expert(self, tensors: Mapping[str, TensorData]) -> object:
        return ExpertWeights(UnpackedMatrices(tensors, kept=lambda name: False))

    def load_adapter(self, layers: Sequence[Mapping[str, LowRank]]) -> object:
        return unpack_adapter(layers)

    def begin(self, spans: Sequence[RowSpan], inv_freq: Floats, memory: KvMemory) -> object:
        ranges = [np.arange(span.first_position, span.first_position + span.num_rows) for span in spans]
        angles = np.concatenate(ranges).astype(np.float32)[:, None] * inv_freq[None, :]
        factor = np.float32(self._config.rope_scaling.attention_factor)
        return PassRows(spans, np.cos(angles) * factor, np.sin(angles) * factor, memory)

    def embed(self, table: object, token_ids: NDArray[np.int32], hidden: Floats) -> None:
        self._begun = None
        matrix = _expect(table, UnpackedMatrix)
        hidden[:] = dequantise(choose_rows(matrix, token_ids), self._config.hidden_size)

    def layers(self, weights: Sequence[object], first: int, rows: object, hidden: Floats) -> None:
        self._begun = None
        for index, layer in enumerate(weights, first):
            self._layer(_expect(layer, LayerWeights), index, _expect(rows, PassRows), hidden)

    def _layer(self, layer: LayerWeights, index: int, batch: PassRows, hidden: Floats) -> None:
        x = self._attend(layer, index, batch, hidden)
        moe = self._config.moe if self._config.has_experts(index) else None
        raise_outputs = partial(raised, batch.spans, index)
        if moe is None:
            hidden += gated_mlp(layer.matrices, "", x, raise_outputs)
        else:
            hidden += mixture(moe, layer, x, raise_outputs)

    def _attend(self, layer: LayerWeights, index: int, batch: PassRows, hidden: Floats) -> Floats:
        """The first half of a layer; returns the normed rows for the second."""
        eps = self._config.rms_norm_eps
        x = rms_norm(hidden, layer.vectors["attn_norm"], eps)
        attend = attention if self._config.mla is None else latent_attention
        mixed = attend(self._config, layer, index, batch, x)
        hidden += raised(batch.spans, index, "o", mixed, multiply(layer.matrices["o"], mixed))
        return rms_norm(hidden, layer.vectors["mlp_norm"], eps)

    def attend_and_route(self, layer: object, index: int, rows: object, hidden: Floats) -> NDArray[np.int32]:
        self._begun = None
        moe = self._config.moe
        if moe is None or not self._config.has_experts(index):
            raise ValueError(f"layer {index} has no experts")
        weights, batch = _expect(layer, LayerWeights), _expect(rows, PassRows)
        x = self._attend(weights, index, batch, hidden)
        self._begun = MixtureSteps(moe, weights, x, partial(raised, batch.spans, index))
        return self._begun.chosen.astype(np.int32)

    def shared_experts(self, layer: object) -> None:
        steps = self._steps()
        if not steps.is_of(_expect(layer, LayerWeights)):
            raise ValueError("another layer was begun")
        steps.share()

    def experts(self, ready: Mapping[int, object]) -> None:
        self._steps().compute({expert: _expect(weights, ExpertWeights) for expert, weights in ready.items()})

    def end_layer(self, hidden: Floats) -> None:
        hidden += self._steps().total()
        self._begun = None

    def _steps(self) -> MixtureSteps:
        if self._begun is None:
            raise ValueError("no layer with experts was begun, or something else ran since")
        return self._begun

    def head(self, norm: Floats, table: object, hidden: Floats, chosen: NDArray[np.int32], logits: Floats) -> None:
        self._begun = None
        x = rms_norm(hidden[chosen], norm, self._config.rms_norm_eps)
        logits[:] = multiply(_expect(table, UnpackedMatrix), x)

    def layer_part(self, layer: object, index: int, part: LayerPart, rows: object, hidden: Floats) -> None:
        raise _no_parts()

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
        raise _no_parts()


def _no_parts() -> UsageError:
    return UsageError("the reference kernels compute whole layers only; choose compiled ones with POCKETSEEK_KERNELS")


def _expect(value: object, kind: type[_Kind]) -> _Kind:
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__} from these kernels, got {type(value).__name__}")
    return value
