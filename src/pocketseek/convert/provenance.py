"""Where a package came from: its default name, and the `provenance` of its manifest.

No absolute paths (a package may be passed on) and nothing that changes from run to run but the day.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pocketseek
from pocketseek.convert.sources.base import Source
from pocketseek.convert.sources.byte_file import read_small
from pocketseek.errors import StorageError
from pocketseek.package.manifest import JsonValue

_MAX_NAME_CHARS = 100
_MAX_TEXT_CHARS = 200
_SMALL_FILE_BYTES = 4 << 20
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
_GGUF_TEXTS = ("general.name", "general.license", "general.source.url")


def default_name(source: Source) -> str:
    """From `general.name`, else from the file or directory, made fit for a directory name; else "model"."""
    said = source.metadata.get("general.name")
    path = source.path.resolve()
    candidates = [said if source.kind == "gguf" and isinstance(said, str) else "", _name_of_path(path)]
    return next((name for candidate in candidates if (name := sanitised(candidate))), "model")


def sanitised(text: str) -> str:
    """Letters, digits, dots, dashes and underscores, beginning with a letter or digit; "" if nothing is left."""
    name = _NOT_IN_NAMES.sub("-", text.strip()).lstrip("._-")
    return name[:_MAX_NAME_CHARS].rstrip("._-")


def describe_provenance(source: Source, converted_on: date) -> dict[str, JsonValue]:
    """The manifest's `provenance`. Raises StorageError if the checkpoint's files cannot be looked at."""
    types = Counter(tensor.type for tensor in source.tensors.values())
    described: dict[str, JsonValue] = {
        "kind": source.kind,
        "files": _describe_files(source),
        "tensor_types": dict(sorted(types.items())),
    }
    if source.kind == "safetensors" and source.metadata.get("rope_interleave") is False:
        described["rope_interleave"] = False  # which an adapter for it follows (rotary_pairs)
    for key in _GGUF_TEXTS:
        value = source.metadata.get(key)
        if source.kind == "gguf" and isinstance(value, str):
            described[key] = value[:_MAX_TEXT_CHARS]
    return {
        "converter": f"pocketseek {pocketseek.__version__}",
        "date": converted_on.isoformat(),
        "source": described,
    }


def rotary_pairs(provenance: Mapping[str, object]) -> bool:
    """Whether the checkpoint of a model with latent attention had rotary partners side by side, as DeepSeek's have, so
    that its adapters have, too. (Packages never do.)"""
    source = provenance.get("source")
    while isinstance(source, dict) and isinstance(base := source.get("base"), dict):  # of a merged model
        inner = base.get("provenance")
        source = inner.get("source") if isinstance(inner, dict) else None
    return not isinstance(source, dict) or source.get("rope_interleave") is not False


def _name_of_path(path: Path) -> str:
    if path.is_file():
        return path.stem if path.suffix == ".gguf" else path.parent.name
    if path.parent.name == "snapshots":  # a download cache: models--owner--name/snapshots/<commit>
        return path.parent.parent.name.rpartition("--")[2]
    return path.name


def describe_weights(source: Source) -> list[JsonValue]:
    """The files with weights as they are here and now, to see later whether they are still the same: not for a
    manifest. Raises StorageError."""
    directory, names = _weight_files(source)
    statuses = {name: _status(directory / name) for name in names}
    return [
        {"name": name, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns} for name, status in statuses.items()
    ]


def _weight_files(source: Source) -> tuple[Path, list[str]]:
    if source.path.is_file():
        return source.path.parent, [source.path.name]
    return source.path, sorted(path.name for path in source.path.glob("*.safetensors"))


def _describe_files(source: Source) -> list[JsonValue]:
    directory, weights = _weight_files(source)
    texts = sorted({*source.files, "config.json"}) if source.kind == "safetensors" else []
    described: list[JsonValue] = [{"name": name, "bytes": _status(directory / name).st_size} for name in weights]
    for name in texts:
        data = source.files[name] if name in source.files else read_small(directory / name, _SMALL_FILE_BYTES)
        described.append({"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    return described


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise StorageError(f"{path}: cannot be looked at ({error.strerror}); check the storage") from error
