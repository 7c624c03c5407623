"""Planning shared by the families with experts or latent attention: tensors matched by name, shape and type.

What a family reads from its settings is a `SparseSettings`. In place of what a checkpoint stores, packages hold rotary
rows in rotate-half order, kv_b split into k_b (transposed) and v_b, and experts one by one (package/layer_tensors.py).
Tensors of layers after the last are left out: DeepSeek-V3 has them for predicting a second token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.families.base import ModelPlan, RowPick, TensorPlan
from pocketseek.convert.families.decoder import check_limits, is_tied, listed, missing_tensors, require_readable
from pocketseek.convert.families.names import LAYER_PREFIX, source_name
from pocketseek.convert.families.sparse_names import expert_source_name, layer_source_name
from pocketseek.convert.sources.base import Source, SourceTensor
from pocketseek.convert.sources.byte_file import quoted
from pocketseek.convert.sources.fp8 import FP8_TYPE, SCALE_SUFFIX, scale_shape
from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.package.model_fields import Shape, expected_tensors, stage_of_tensor
from pocketseek.shapes import MlaShape
from pocketseek.types import ModelConfig

_ROPE_BUFFER = re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq")


@dataclass(frozen=True)
class SparseSettings:
    """What the settings of a checkpoint say.

    paired: rotary partners lie side by side, as DeepSeek stores them. num_extra_layers: behind the last one, unused.
    """

    model: ModelConfig
    inv_freq: NDArray[np.float32]
    says_tied: bool = False
    paired: bool = False
    num_extra_layers: int = 0


def plan_sparse(source: Source, settings: SparseSettings) -> ModelPlan:
    """What a family's `plan` does, see `base`."""
    model = replace(settings.model, tied_embeddings=is_tied(source, settings.says_tied))
    check_limits(source, model)
    planner = _Planner(source, model, settings.paired)
    plans = tuple(planner.plan(name, shape) for name, shape in planner.shapes() if name != "rope.inv_freq")
    planner.check(plans, settings.num_extra_layers)
    return ModelPlan(model, settings.inv_freq, tuple(planner.with_scales(plan) for plan in plans))


class _Planner:
    def __init__(self, source: Source, model: ModelConfig, paired: bool) -> None:
        self._source = source
        self._model = model
        self._paired = paired

    def shapes(self) -> Iterator[tuple[str, Shape]]:
        yield from (expected_tensors(self._model) or {}).items()

    def plan(self, name: str, shape: Shape) -> TensorPlan:
        stage = stage_of_tensor(name)
        if stage.startswith("experts."):
            return self._expert(name, stage, shape)
        if stage.startswith("layer."):
            return self._layer_part(name, stage, shape)
        stored_as = "embed.weight" if name == "head.weight" and self._model.tied_embeddings else name
        return TensorPlan(name, stage, source_name(stored_as, self._source.kind), shape)

    def _expert(self, name: str, stage: str, shape: Shape) -> TensorPlan:
        _, layer, expert, part = name.split(".")
        stored_as = expert_source_name(int(layer), int(expert), part, self._source.kind)
        if self._source.kind == "safetensors" or self._model.moe is None:
            return TensorPlan(name, stage, stored_as, shape)
        picks = RowPick(shape[0], shape[0], first=int(expert) * shape[0])
        return TensorPlan(name, stage, stored_as, shape, picks, (self._model.moe.num_experts, *shape))

    def _layer_part(self, name: str, stage: str, shape: Shape) -> TensorPlan:
        _, layer, part = name.split(".")
        mla = self._model.mla
        if mla is not None and part in ("k_b", "v_b"):
            return self._latent_part(name, stage, shape, mla)
        picks = None
        if mla is not None and self._paired and part in ("q", "q_b", "kv_a"):
            height = mla.latent_dim if part == "kv_a" else self._model.head_dim
            picks = RowPick(height, height, paired=mla.rope_dim)
        return TensorPlan(name, stage, layer_source_name(int(layer), part, self._source.kind), shape, picks)

    def _latent_part(self, name: str, stage: str, shape: Shape, mla: MlaShape) -> TensorPlan:
        _, layer, part = name.split(".")
        heads = self._model.num_heads
        own = layer_source_name(int(layer), part, self._source.kind)
        if own in self._source.tensors:
            return TensorPlan(name, stage, own, shape, source_shape=(heads, shape[0] // heads, shape[1]))
        stored_as = layer_source_name(int(layer), "kv_b", self._source.kind)
        block = mla.nope_dim + mla.value_dim
        picks = RowPick(block, mla.nope_dim, transposed=True)
        if part == "v_b":
            picks = RowPick(block, mla.value_dim, start=mla.nope_dim)
        return TensorPlan(name, stage, stored_as, shape, picks, (heads * block, mla.rank))

    def with_scales(self, plan: TensorPlan) -> TensorPlan:
        """FP8 weights with their scales, which have been checked."""
        if self._source.tensors[plan.source_name].type != FP8_TYPE:
            return plan
        return replace(plan, scales_name=plan.source_name + SCALE_SUFFIX)

    def check(self, plans: tuple[TensorPlan, ...], num_extra_layers: int) -> None:
        """Everything is there in shape and type, and nothing is that the model would lack."""
        tensors = self._source.tensors
        missing = {plan.source_name for plan in plans if plan.source_name not in tensors}
        if missing:
            raise missing_tensors(self._source, list(missing))
        for plan in plans:
            tensor = tensors[plan.source_name]
            if tensor.shape != (plan.source_shape or plan.shape):
                raise self._wrong_shape(tensor, plan.source_shape or plan.shape)
            self._check_type(tensor)
        self._refuse_unknown({plan.source_name for plan in plans}, num_extra_layers)

    def _check_type(self, tensor: SourceTensor) -> None:
        if tensor.type != FP8_TYPE:
            require_readable(self._source, tensor)
            return
        scales = self._source.tensors.get(tensor.name + SCALE_SUFFIX)
        if scales is None:
            raise missing_tensors(self._source, [tensor.name + SCALE_SUFFIX])
        if len(tensor.shape) != 2 or scales.shape != scale_shape(tensor.shape):
            raise self._wrong_shape(scales, scale_shape(tensor.shape) if len(tensor.shape) == 2 else ())
        require_readable(self._source, scales)

    def _wrong_shape(self, tensor: SourceTensor, wanted: Shape) -> FormatError:
        return FormatError(
            f"{self._source.path}: tensor {quoted(tensor.name)} has shape {tensor.shape} instead of {wanted}; "
            "get an undamaged checkpoint"
        )

    def _refuse_unknown(self, used: set[str], num_extra_layers: int) -> None:
        model, kind = self._model, self._source.kind
        extra = tuple(f"{LAYER_PREFIX[kind]}{model.num_layers + index}." for index in range(num_extra_layers))
        spare = {layer_source_name(layer, "kv_b", kind) for layer in range(model.num_layers)} if model.mla else set()
        known = used | spare | {source_name(name, kind) for name in ("embed.weight", "head.weight")}
        unknown = [
            name
            for name in self._source.tensors
            if name.removesuffix(SCALE_SUFFIX) not in known
            and not name.startswith(extra)
            and not _ROPE_BUFFER.fullmatch(name)
        ]
        if unknown:
            raise UnsupportedError(
                f"{self._source.path}: tensors that a {model.family} model does not have: {listed(unknown)}; "
                "use a plain checkpoint of the model"
            )
