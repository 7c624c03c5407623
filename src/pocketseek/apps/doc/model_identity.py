"""What tells two models apart whose answers could differ, without opening them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pocketseek.package.paths import MANIFEST_NAME
from pocketseek.package.storage import storage_errors


def model_identity(path: Path, engine: str, setting: str) -> str:
    """A package is what its manifest says, which has the hash of every byte. An ONNX model is known by the names, sizes
    and times of its files. engine, setting: who computes, and with what (format of K and V, provider)."""
    with storage_errors(path):
        manifest = path / MANIFEST_NAME
        if manifest.is_file():
            model = hashlib.sha256(manifest.read_bytes()).hexdigest()
        else:
            folder = path if path.is_dir() else path.parent
            files = sorted(file for file in folder.iterdir() if file.is_file())
            model = repr([(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files])
    return hashlib.sha256(json.dumps([model, engine, setting]).encode()).hexdigest()
