"""Adapters as PEFT writes them, for the tiny models of tiny_models.py, byte for byte under the test's control."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from checkpoints import write_safetensors
from tiny_models import TinyModel, tiny_model

ALL = ("q", "k", "v", "o", "gate", "up", "down")
Tensors = dict[str, tuple[str, np.ndarray]]


def module_name(layer: int, target: str) -> str:
    part = "mlp" if target in ("gate", "up", "down") else "self_attn"
    return f"model.layers.{layer}.{part}.{target}_proj"


def peft_tensors(
    model: TinyModel,
    *,
    rank: int = 4,
    targets: Sequence[str] = ALL,
    seed: int = 0,
    size: float = 0.3,
    dtype: str = "F32",
) -> Tensors:
    rng = np.random.default_rng(seed)
    layers = model.config["num_hidden_layers"]
    assert isinstance(layers, int)
    tensors: Tensors = {}
    for layer in range(layers):
        for target in targets:
            module = module_name(layer, target)
            outputs, inputs = model.weights[f"{module}.weight"].shape
            for part, shape in (("A", (rank, inputs)), ("B", (outputs, rank))):
                values = rng.normal(0, size, shape).astype(np.float32)
                tensors[f"base_model.model.{module}.lora_{part}.weight"] = (dtype, values)
    return tensors


def peft_config(**changes: object) -> dict[str, object]:
    config: dict[str, object] = {
        "peft_type": "LORA",
        "base_model_name_or_path": "tiny",
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": 8,
        "lora_dropout": 0.05,
        "modules_to_save": None,
        "r": 4,
        "rank_pattern": {},
        "alpha_pattern": {},
        "target_modules": ["q_proj", "v_proj"],
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": False,
    }
    return config | changes


def write_peft(
    folder: Path,
    family: str = "llama",
    *,
    config: Mapping[str, object] | None = None,
    tensors: Tensors | None = None,
    **wishes: object,
) -> Path:
    """wishes: of peft_tensors."""
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps(peft_config() if config is None else config))
    if tensors is None:
        tensors = peft_tensors(tiny_model(family), **wishes)  # type: ignore[arg-type]
    write_safetensors(folder / "adapter_model.safetensors", tensors, {"format": "pt"})
    return folder
