"""The tensors of an adapter in PEFT's form: names, shapes, and how they begin. numpy; nothing here needs torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pocketseek.adapt.train_settings import TARGETS
from pocketseek.errors import FormatError
from pocketseek.package.layer_tensors import layer_tensors
from pocketseek.types import ModelConfig

Floats = NDArray[np.float32]
AdapterTensors = dict[str, Floats]

_MODULES = {
    "q_proj": "self_attn",
    "k_proj": "self_attn",
    "v_proj": "self_attn",
    "o_proj": "self_attn",
    "gate_proj": "mlp",
    "up_proj": "mlp",
    "down_proj": "mlp",
}


def tensor_name(layer: int, target: str, part: str) -> str:
    """part: "A" or "B"."""
    return f"base_model.model.model.layers.{layer}.{_MODULES[target]}.{target}.lora_{part}.weight"


def adapter_shapes(model: ModelConfig, rank: int, targets: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Of A: (rank, inputs), of B: (outputs, rank); layer by layer, in the order of the layer's matrices."""
    shapes = {}
    for layer in range(model.num_layers):
        matrices = layer_tensors(model, layer)
        for target in (name for name in TARGETS if name in targets):
            outputs, inputs = matrices[TARGETS[target]]
            shapes[tensor_name(layer, target, "A")] = (rank, inputs)
            shapes[tensor_name(layer, target, "B")] = (outputs, rank)
    return shapes


def initial_tensors(model: ModelConfig, rank: int, targets: Sequence[str], seed: int) -> AdapterTensors:
    """As PEFT begins: A uniform within 1 / sqrt(inputs), B zero, so that the adapter changes nothing yet."""
    tensors = {}
    for index, (name, shape) in enumerate(adapter_shapes(model, rank, targets).items()):
        if ".lora_B." in name:
            tensors[name] = np.zeros(shape, np.float32)
        else:
            bound = 1 / math.sqrt(shape[1])
            values = np.random.default_rng([seed, index]).uniform(-bound, bound, shape)
            tensors[name] = values.astype(np.float32)
    return tensors


def check_tensors(tensors: Mapping[str, Floats], shapes: Mapping[str, tuple[int, int]]) -> None:
    """Raises FormatError unless these are the tensors of such an adapter, all of them finite numbers."""
    if tensors.keys() != shapes.keys():
        odd = min(tensors.keys() ^ shapes.keys())
        problem = "is not one of this model's" if odd in tensors else "is missing"
        raise FormatError(
            f"the adapter's tensor {odd[:120]!r} {problem}; use an adapter of this model, rank and targets"
        )
    for name, shape in shapes.items():
        values = tensors[name]
        if values.shape != shape or values.dtype != np.float32:
            raise FormatError(
                f"the adapter's tensor {name} is {values.dtype} {values.shape} and has to be float32 {shape}; "
                "use an adapter of this model and rank"
            )
        if not bool(np.isfinite(values).all()):
            raise FormatError(f"the adapter's tensor {name} holds values that are not finite; train it again")
