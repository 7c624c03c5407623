"""An installed line of two models, and a process that is said to take 8 MiB, so that a few MB decide what fits."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import tiny_model, write_hf

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.runtime import speed_plan
from pocketseek.runtime.memory_use import MemoryUse
from pocketseek.runtime.residency.read_mode import ReadMode, keep_read_mode

BASE_BYTES = 8 << 20
SCARCE_BYTES = BASE_BYTES + 13_000_000  # "large" has 12.5 MB of weights and needs 7 MB to stream them
SMALL_BYTES = BASE_BYTES + 3_000_000  # enough for "small" alone
STORAGE_BYTES_PER_S = 1e6


def convert_line(folder: Path) -> Path:
    """A directory of models: "large", "small", and a smaller "stranger" of another family."""
    shape = {"hidden": 256, "intermediate": 1024, "num_heads": 8, "num_kv_heads": 4, "context": 4096}
    models = {
        "large": tiny_model("qwen2", num_layers=24, **shape),
        "small": tiny_model("qwen2", num_layers=3, **shape),
        "stranger": tiny_model("llama", num_layers=1),
    }
    for name, model in models.items():
        source = write_hf(folder / "sources" / name, model)
        convert_checkpoint(source, name=name, models_dir=folder / "models", quant="q4-pure")
    return folder / "models"


def install_line(home: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Links to the converted ones in a data directory, where storage is known to be slow."""
    (home / "models").mkdir(parents=True)
    packages = {path.name: home / "models" / path.name for path in models_dir.iterdir()}
    for name, path in packages.items():
        path.symlink_to(models_dir / name)
    keep_read_mode(ReadMode(False, 1, 1 << 20, STORAGE_BYTES_PER_S), home, packages["large"])
    monkeypatch.setattr(speed_plan, "expected_base_bytes", lambda manifest: BASE_BYTES)
    monkeypatch.setattr(MemoryUse, "_base_bytes", lambda use, num_tokens: BASE_BYTES)
    return packages
