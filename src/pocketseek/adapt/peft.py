"""A LoRA adapter in PEFT's format: `adapter_config.json` and `adapter_model.safetensors`, checked against a base model.

Nothing is executed and nothing is unpickled. Opening reads the header; A and B are read one at a time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pocketseek.adapt.peft_config import CONFIG_NAME, PeftConfig, read_peft_config
from pocketseek.convert.families.names import canonical_name
from pocketseek.convert.families.sparse_names import layer_source_name, sparse_layer_part
from pocketseek.convert.sources.base import SourceTensor
from pocketseek.convert.sources.byte_file import ByteFile, quoted
from pocketseek.convert.sources.safetensors_header import read_safetensors_header
from pocketseek.convert.sources.stored import StoredSource
from pocketseek.errors import FormatError, NotFoundError, UnsupportedError, UsageError
from pocketseek.package.adapter_layout import ADAPTER_TARGETS, adapter_targets
from pocketseek.types import ModelConfig

WEIGHTS_NAME = "adapter_model.safetensors"
_PICKLE_NAME = "adapter_model.bin"
_TYPES = frozenset({"F32", "F16", "BF16"})
_PREFIX = "base_model.model."
_PART = re.compile(r"(?P<module>.+)\.lora_(?P<part>[AB])(?:\.default)?\.weight")

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class AdapterPair:
    """A and B of one matrix. outputs += scale * B (A inputs); names: of the tensors in the file."""

    layer: int
    target: str
    rank: int
    scale: float
    a_name: str
    b_name: str


class PeftAdapter:
    """An open adapter whose every pair fits the base. Close it, or use it in `with`."""

    def __init__(
        self,
        path: Path,
        config: PeftConfig,
        source: StoredSource,
        pairs: tuple[AdapterPair, ...],
        base: ModelConfig,
        has_rotary_pairs: bool,
    ) -> None:
        self.path = path
        self.config = config
        self.pairs = pairs
        self._source = source
        self._base = base
        self._has_rotary_pairs = has_rotary_pairs

    @classmethod
    def open(cls, path: Path, base: ModelConfig, has_rotary_pairs: bool = True) -> Self:
        """has_rotary_pairs: of a base with latent attention, see convert/provenance.py.

        Raises NotFoundError, FormatError (damaged), UnsupportedError (not done here), UsageError (for another model)
        or StorageError."""
        config_path, weights_path = path / CONFIG_NAME, path / WEIGHTS_NAME
        if not os.path.exists(config_path):
            raise NotFoundError(f"{path} has no {CONFIG_NAME}; give the folder that PEFT's save_pretrained wrote")
        config = read_peft_config(config_path)
        if not os.path.exists(weights_path) and os.path.exists(path / _PICKLE_NAME):
            raise UnsupportedError(
                f"{path} has its weights as a pickle ({_PICKLE_NAME}), which can run programs; "
                "save it again with save_pretrained(folder, safe_serialization=True)"
            )
        file = ByteFile(weights_path)
        try:
            placements = read_safetensors_header(file)
            source = StoredSource("safetensors", weights_path, {}, {}, placements, [file])
            return cls(path, config, source, _pairs(weights_path, config, source.tensors, base), base, has_rotary_pairs)
        except BaseException:  # also Ctrl-C: the file is closed, and it is raised again
            file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._source.close()

    def a(self, pair: AdapterPair) -> Floats:
        """(rank, inputs). Raises FormatError for values that are not finite."""
        return self._values(pair.a_name)

    def b(self, pair: AdapterPair) -> Floats:
        """(outputs, rank), outputs in the order of packages: rotary partners, which DeepSeek's checkpoints have side by
        side, half of the rotated values apart."""
        values, mla = self._values(pair.b_name), self._base.mla
        if mla is None or not self._has_rotary_pairs or pair.target not in ("q", "q_b", "kv_a"):
            return values
        height = mla.latent_dim if pair.target == "kv_a" else self._base.head_dim
        heads = values.reshape(-1, height, pair.rank)
        pairs = heads[:, height - mla.rope_dim :].reshape(-1, mla.rope_dim // 2, 2, pair.rank)
        halves = pairs.swapaxes(1, 2).reshape(-1, mla.rope_dim, pair.rank)
        return np.concatenate([heads[:, : height - mla.rope_dim], halves], axis=1).reshape(values.shape)

    def _values(self, name: str) -> Floats:
        values = self._source.read_rows(name, 0, self._source.tensors[name].num_rows)
        if not bool(np.isfinite(values).all()):
            raise FormatError(
                f"{self._source.path}: tensor {quoted(name)} holds values that are not finite numbers; "
                "its training failed, or get an undamaged adapter"
            )
        return values


def _pairs(
    path: Path, config: PeftConfig, tensors: Mapping[str, SourceTensor], base: ModelConfig
) -> tuple[AdapterPair, ...]:
    """In the order of layers and targets."""
    found: dict[tuple[int, str], dict[str, SourceTensor]] = {}
    for name, tensor in tensors.items():
        layer, target, part = _place_of(path, name, base)
        if part in found.setdefault((layer, target), {}):
            raise FormatError(f"{path}: layer.{layer}.{target} is there twice; get an undamaged adapter")
        found[layer, target][part] = tensor
    if not found:
        raise FormatError(f"{path} holds no tensors; get an undamaged adapter")
    order = sorted(found, key=lambda place: (place[0], ADAPTER_TARGETS.index(place[1])))
    return tuple(_pair(path, config, place, found[place], base) for place in order)


def _place_of(path: Path, name: str, base: ModelConfig) -> tuple[int, str, str]:
    """Layer, target, and "A" or "B"."""
    if "lora_magnitude" in name:
        raise UnsupportedError(f"{path}: DoRA scales the columns of the weights themselves; train without use_dora")
    parts = _PART.fullmatch(name.removeprefix(_PREFIX))
    if parts is None:
        what = "its embedding or head" if "embed" in name or "lm_head" in name else f"{quoted(name)}"
        raise UnsupportedError(f"{path}: it trains {what}; only LoRA of the matrices of layers can be used")
    module = parts["module"]
    if ".mlp.experts." in module or module.endswith(".mlp.gate"):
        raise UnsupportedError(
            f"{path}: it trains {quoted(module)}; experts and what chooses them cannot be changed: "
            "train attention and shared experts only"
        )
    layer, target = _matrix_of(path, module)
    if layer >= base.num_layers:
        raise UsageError(f"{path} is for a model of more than {base.num_layers} layers; name the model it was made for")
    if target not in adapter_targets(base, layer):
        raise UsageError(
            f"{path}: it trains {quoted(module)}, which this model does not have; name the model it was made for"
        )
    return layer, target, parts["part"]


def _matrix_of(path: Path, module: str) -> tuple[int, str]:
    """Layer and target."""
    canonical = canonical_name(f"{module}.weight", "safetensors")
    place = canonical.split(".") if canonical is not None else []
    if len(place) == 3 and place[0] == "layer" and place[2] in ADAPTER_TARGETS:
        return int(place[1]) if len(place[1]) < 7 else MAX_LAYER, place[2]
    sparse = sparse_layer_part(f"{module}.weight", "safetensors")
    if sparse is None or sparse[1] not in ADAPTER_TARGETS:
        allowed = "attention, MLP and shared experts"
        raise UnsupportedError(f"{path}: it trains {quoted(module)}; adapters can train {allowed} of layers")
    return sparse


MAX_LAYER = 10**6  # what nobody has


def _pair(
    path: Path, config: PeftConfig, place: tuple[int, str], parts: Mapping[str, SourceTensor], base: ModelConfig
) -> AdapterPair:
    layer, target = place
    where = f"{path}: layer.{layer}.{target}"
    if len(parts) != 2:
        raise FormatError(f"{where} has only one of A and B; get an undamaged adapter")
    a, b = parts["A"], parts["B"]
    for tensor in (a, b):
        if tensor.type not in _TYPES:
            raise UnsupportedError(f"{where} is stored as {tensor.type}; save it as F32, F16 or BF16")
    module = layer_source_name(layer, target, "safetensors").removesuffix(".weight")
    rank, (outputs, inputs) = config.rank_of(module), adapter_targets(base, layer)[target]
    if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[0] != b.shape[1] or a.shape[0] != rank:
        raise FormatError(
            f"{where}: A {a.shape} and B {b.shape} are not of rank {rank}, as {CONFIG_NAME} says; "
            "get an undamaged adapter"
        )
    if (b.shape[0], a.shape[1]) != (outputs, inputs):
        raise UsageError(
            f"{where} is {b.shape[0]} x {a.shape[1]}, and that of the model {outputs} x {inputs}; "
            "name the model it was made for"
        )
    return AdapterPair(layer, target, rank, config.scale_of(module), a.name, b.name)
