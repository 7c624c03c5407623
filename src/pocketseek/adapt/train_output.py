"""An adapter as PEFT has it on disk: adapter_config.json and adapter_model.safetensors, and training.json beside them.

Written into a hidden folder beside and put in place by one rename; of the lock see package/lock.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pocketseek.adapt.train_settings import TrainSettings
from pocketseek.adapt.train_tensors import AdapterTensors
from pocketseek.errors import UsageError
from pocketseek.package.install import remove_tree
from pocketseek.package.manifest import JsonValue
from pocketseek.package.paths import partial_path, trash_path
from pocketseek.package.storage import own_dir, storage_errors, sync_dir, tree_bytes, write_file

CONFIG_NAME, TENSORS_NAME, RECORD_NAME = "adapter_config.json", "adapter_model.safetensors", "training.json"
_NAMES = {CONFIG_NAME, TENSORS_NAME, RECORD_NAME}


def check_output(output: Path, *, replace: bool, option: str = "--replace") -> None:
    """Raises UsageError if something is there that may not be replaced; only adapters ever are. option: that lets it be
    replaced."""
    if not output.name:
        raise UsageError(f"{output} cannot be an adapter; name a directory to create")
    if not os.path.lexists(output):
        return
    if not _is_trained_here(output):
        raise UsageError(f"{output} is there and is no adapter that was trained here; name another place")
    if not replace:
        raise UsageError(
            f"{output} is there already; install it with `pocketseek adapt add`, give {option} to train it anew, or "
            "choose another name"
        )


def remove_trained(folder: Path) -> int:
    """Delete what a training left in that place, if it is one's; the bytes freed. Raises StorageError."""
    if not _is_trained_here(folder):
        return 0
    with storage_errors(folder):
        freed_bytes = tree_bytes(folder)
        trash = trash_path(folder)
        _clear(trash)
        os.rename(folder, trash)
        _clear(trash)
        return freed_bytes


def _is_trained_here(output: Path) -> bool:
    is_adapter = output.is_dir() and not output.is_symlink() and (output / CONFIG_NAME).is_file()
    return is_adapter and {path.name for path in output.iterdir()} <= _NAMES


def write_adapter(
    output: Path, tensors: AdapterTensors, settings: TrainSettings, base: str, record: Mapping[str, JsonValue]
) -> None:
    """base: the name of the model that it was trained on. Raises StorageError, and leaves what was there."""
    from safetensors.numpy import save

    partial, trash = partial_path(output), trash_path(output)
    files = {
        CONFIG_NAME: _json(peft_config(settings, base)),
        TENSORS_NAME: save({name: np.ascontiguousarray(one) for name, one in tensors.items()}, {"format": "pt"}),
        RECORD_NAME: _json(record),
    }
    with storage_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        _clear(partial, trash)
        try:
            own_dir(partial)
            for name, data in files.items():
                write_file(partial / name, data)
            sync_dir(partial)
            if output.exists():
                os.rename(output, trash)
            os.rename(partial, output)
            sync_dir(output.parent)
        finally:
            _clear(partial, trash)


def peft_config(settings: TrainSettings, base: str) -> dict[str, JsonValue]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": settings.rank,
        "lora_alpha": settings.scaled_alpha,
        "lora_dropout": 0.0,
        "target_modules": list(settings.targets),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "modules_to_save": None,
        "use_dora": False,
        "use_rslora": False,
    }


def _clear(*paths: Path) -> None:
    for path in paths:
        if os.path.lexists(path):
            remove_tree(path)


def _json(value: Mapping[str, JsonValue]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()
