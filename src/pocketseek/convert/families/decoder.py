"""Planning shared by the llama-like families: settings to ModelConfig, tensors matched by name, shape and type.

What a family differs in is said by `DecoderTraits`. Decided by looking at the tensors, not only at the settings: tied
embeddings (said so, or no output tensor), q/k/v biases where they are optional. A bias that the kernels do not add (o,
gate, up, down) is accepted only if all its values are 0; then it is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.families.base import ModelPlan, RowPick, TensorPlan
from pocketseek.convert.families.fields import Fields
from pocketseek.convert.families.gguf_config import gguf_fields, read_gguf_config
from pocketseek.convert.families.hf_config import DecoderSettings, read_hf_config
from pocketseek.convert.families.names import LAYER_PARTS, canonical_name, source_name, unused_bias_names
from pocketseek.convert.sources.base import Source, SourceTensor
from pocketseek.convert.sources.byte_file import quoted
from pocketseek.convert.sources.ggml_types import QUANTISED_TYPES, READABLE_TYPES
from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.package.model_fields import expected_tensors, parse_model, render_model, stage_names, stage_of_tensor
from pocketseek.types import ModelConfig

_ROPE_DIVISORS = "rope_freqs.weight"
_ROPE_BUFFER = re.compile(r"(model\.layers\.\d+\.self_attn|model)\.rotary_emb\.inv_freq")
_MAX_NAMED = 3
_COMPARED_VALUES = 1 << 20


@dataclass(frozen=True)
class DecoderTraits:
    """How a family differs. gguf_interleaves_heads: its GGUF files hold the rows of q and k in rotary pairs."""

    name: str
    qkv_bias: Literal["never", "always", "optional"]
    qk_norm: bool
    gguf_interleaves_heads: bool = False


def plan_decoder(source: Source, traits: DecoderTraits) -> ModelPlan:
    """What a family's `plan` does, see `base`."""
    settings = _read_settings(source, traits)
    if settings.model.num_layers > len(source.tensors):
        raise FormatError(
            f"{source.path}: {settings.model.num_layers} layers but only {len(source.tensors)} tensors; "
            "get the complete checkpoint"
        )
    model = replace(
        settings.model,
        tied_embeddings=is_tied(source, settings.says_tied),
        qkv_bias=_has_qkv_bias(source, traits),
    )
    check_limits(source, model)
    plans = tuple(_tensor_plans(source, model, traits))
    _check_tensors(source, model, plans)
    return ModelPlan(model, settings.inv_freq, plans)


def _read_settings(source: Source, traits: DecoderTraits) -> DecoderSettings:
    if source.kind == "safetensors":
        config = Fields(f"{source.path}: config.json", source.metadata)
        return read_hf_config(config, traits.name, qk_norm=traits.qk_norm)
    keys = gguf_fields(str(source.path), source.metadata, traits.name)
    embedding = source.tensors.get(source_name("embed.weight", "gguf"))
    if embedding is None:
        raise missing_tensors(source, [source_name("embed.weight", "gguf")])
    divisors = _read_divisors(source) if traits.gguf_interleaves_heads else None
    return read_gguf_config(keys, traits.name, qk_norm=traits.qk_norm, vocab_size=embedding.num_rows, divisors=divisors)


def _read_divisors(source: Source) -> NDArray[np.float32] | None:
    tensor = source.tensors.get(_ROPE_DIVISORS)
    if tensor is None:
        return None
    if not tensor.is_vector or tensor.type != "F32" or tensor.num_rows > _COMPARED_VALUES:
        raise FormatError(f"{source.path}: {_ROPE_DIVISORS} is not a vector of F32; get an undamaged checkpoint")
    return source.read_rows(_ROPE_DIVISORS, 0, tensor.num_rows)


def is_tied(source: Source, says_tied: bool) -> bool:
    """Some files say tied and store the output matrix all the same; then it counts only if it is a different one.

    GGUF has no flag: there a missing output matrix means tied. A safetensors checkpoint must say so.
    """
    embedding = source.tensors.get(source_name("embed.weight", source.kind))
    output = source.tensors.get(source_name("head.weight", source.kind))
    if output is None:
        return says_tied or source.kind == "gguf"
    return says_tied and embedding is not None and _is_same(source, embedding, output)


def _is_same(source: Source, one: SourceTensor, other: SourceTensor) -> bool:
    if (one.type, one.shape) != (other.type, other.shape):
        return False
    require_readable(source, one)
    step = max(1, _COMPARED_VALUES // one.num_cols)
    return all(
        np.array_equal(
            source.read_raw(one.name, start, min(start + step, one.num_rows)),
            source.read_raw(other.name, start, min(start + step, one.num_rows)),
        )
        for start in range(0, one.num_rows, step)
    )


def _has_qkv_bias(source: Source, traits: DecoderTraits) -> bool:
    present = any(
        source_name(f"layer.0.{part}", source.kind) in source.tensors for part in ("q_bias", "k_bias", "v_bias")
    )
    return traits.qkv_bias == "always" or (traits.qkv_bias == "optional" and present)


def check_limits(source: Source, model: ModelConfig) -> None:
    try:
        parse_model(render_model(model))
    except FormatError as error:  # whose place and remedy are those of a manifest
        problem = str(error).removeprefix("manifest.json: ").rpartition("; ")[0]
        raise UnsupportedError(
            f"{source.path}: the model is outside what a package can hold ({problem}); get an undamaged checkpoint, "
            "or another model"
        ) from error


def _tensor_plans(source: Source, model: ModelConfig, traits: DecoderTraits) -> Iterable[TensorPlan]:
    """In the order they are written. The package room's table says which there are and how large."""
    shapes = expected_tensors(model) or {}
    interleaved = traits.gguf_interleaves_heads and source.kind == "gguf"
    paired = RowPick(model.head_dim, model.head_dim, paired=model.head_dim)
    tied = {"head.weight": "embed.weight"} if model.tied_embeddings else {}
    for name in _write_order(model):
        if name in shapes:
            yield TensorPlan(
                name=name,
                stage=stage_of_tensor(name),
                source_name=source_name(tied.get(name, name), source.kind),
                shape=shapes[name],
                picks=paired if interleaved and _is_rotated(name) else None,
            )


def _write_order(model: ModelConfig) -> Iterable[str]:
    for stage in stage_names(model):
        parts = {"embed": ("weight",), "head": ("norm", "weight")}.get(stage, LAYER_PARTS)
        yield from (f"{stage}.{part}" for part in parts)


def _is_rotated(name: str) -> bool:
    return name.rpartition(".")[2] in ("q", "k", "q_bias", "k_bias")


def _check_tensors(source: Source, model: ModelConfig, plans: tuple[TensorPlan, ...]) -> None:
    missing = [plan.source_name for plan in plans if plan.source_name not in source.tensors]
    if missing:
        raise missing_tensors(source, missing)
    for plan in plans:
        tensor = source.tensors[plan.source_name]
        if tensor.shape != plan.shape:
            raise FormatError(
                f"{source.path}: tensor {quoted(tensor.name)} has shape {tensor.shape} instead of {plan.shape}; "
                "get an undamaged checkpoint"
            )
        require_readable(source, tensor)
    unused = set(unused_bias_names(model.num_layers, source.kind)) & source.tensors.keys()
    for name in sorted(unused):
        _require_zero(source, source.tensors[name])
    planned = {plan.name for plan in plans} | {"embed.weight", "head.weight"}
    unknown = [
        name
        for name in source.tensors
        if canonical_name(name, source.kind) not in planned and name not in unused and not _is_rope(name, source, model)
    ]
    if unknown:
        raise UnsupportedError(
            f"{source.path}: tensors that a {model.family} model does not have: {listed(unknown)}; "
            "use a plain checkpoint of the model"
        )


def _is_rope(name: str, source: Source, model: ModelConfig) -> bool:
    """Rotary tensors: the divisors that the settings were read with, and the buffer of old Hugging Face files."""
    if source.kind == "gguf":
        return name == _ROPE_DIVISORS and model.rope_scaling.kind == "llama3"
    return _ROPE_BUFFER.fullmatch(name) is not None


def require_readable(source: Source, tensor: SourceTensor) -> None:
    if tensor.type not in READABLE_TYPES or (tensor.is_vector and tensor.type in QUANTISED_TYPES):
        known = " ".join(sorted(READABLE_TYPES - QUANTISED_TYPES if tensor.is_vector else READABLE_TYPES))
        raise UnsupportedError(
            f"{source.path}: tensor {quoted(tensor.name)} has type {tensor.type}; use a checkpoint with {known}"
        )


def _require_zero(source: Source, tensor: SourceTensor) -> None:
    require_readable(source, tensor)
    if (
        not tensor.is_vector
        or tensor.num_rows > _COMPARED_VALUES
        or source.read_rows(tensor.name, 0, tensor.num_rows).any()
    ):
        raise UnsupportedError(
            f"{source.path}: bias {quoted(tensor.name)} is not supported; use a model with biases on q, k and v only"
        )


def missing_tensors(source: Source, names: list[str]) -> FormatError:
    return FormatError(f"{source.path}: missing tensors: {listed(names)}; get the complete checkpoint")


def listed(names: list[str]) -> str:
    shown = ", ".join(quoted(name) for name in sorted(names)[:_MAX_NAMED])
    return shown if len(names) <= _MAX_NAMED else f"{shown} and {len(names) - _MAX_NAMED} more"
