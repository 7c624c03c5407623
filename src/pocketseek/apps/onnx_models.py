"""Models for ONNX Runtime, as apps see them: which engine computes, and exports of installed models made when needed.

An installed model's export lies in the data directory's cache under the hash of its manifest, so that it is made once
and serves until the model changes. What is there of models that are not installed any more goes when another is made,
or a model is removed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pocketseek.apps.energy import ModelWork
from pocketseek.convert.export_package import export_package, require_libraries
from pocketseek.errors import BusyError, NativeCoreError, UsageError
from pocketseek.kernels.choose import supported_sets
from pocketseek.package.install import remove_tree, sweep
from pocketseek.package.lock import destination_lock
from pocketseek.package.manifest import read_manifest
from pocketseek.package.paths import neighbour_owner
from pocketseek.package.sealing.seal_record import read_record
from pocketseek.package.storage import storage_errors
from pocketseek.package.store import ModelStore
from pocketseek.runtime.onnx.model_files import OnnxModel, is_onnx_model, read_model
from pocketseek.runtime.onnx.opening import cached_export, exports_folder, prepared_folder, refuse_sealed
from pocketseek.runtime.onnx.prepared import sweep as sweep_copies
from pocketseek.runtime.onnx_executor import library_version
from pocketseek.settings import Settings
from pocketseek.types import EngineKind

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class EngineChoice:
    """reason: "asked for" (here or in the environment), "model" (it is an ONNX model), "no core" (the compiled core
    cannot be loaded, and ONNX Runtime can), "usual"."""

    kind: EngineKind
    reason: Literal["asked for", "model", "no core", "usual"]


def choose_engine(path: Path, settings: Settings, asked: EngineKind | None = None) -> EngineChoice:
    """For a package or an ONNX model. Raises UsageError if the native core is asked for an ONNX model."""
    if is_onnx_model(path):
        if asked == "native":
            raise UsageError(f"{path} is an ONNX model, which the native core does not run; leave out --engine native")
        return EngineChoice("onnx", "model")
    wanted = asked or settings.engine
    if wanted is not None:
        return EngineChoice(wanted, "asked for")
    if settings.kernels is None and not _has_core() and library_version() is not None:
        return EngineChoice("onnx", "no core")
    return EngineChoice("native", "usual")


def ensure_export(path: Path, settings: Settings, progress: Progress | None = None) -> Path:
    """An ONNX model for this package: the one in the cache, made now if need be; an ONNX model is its own.

    progress(done_layers, total_layers). Raises what `export_package` raises.
    """
    if is_onnx_model(path):
        return path
    refuse_sealed(path)
    export = cached_export(settings, read_manifest(path))
    if is_onnx_model(export):
        return export
    require_libraries("--engine onnx makes an export of the package first, and that")
    with storage_errors(export.parent):
        export.parent.mkdir(parents=True, exist_ok=True)
    sweep_cache(settings)
    return export_package(
        path, export, progress=lambda _stage, done, total: progress(done, total) if progress is not None else None
    )


def sweep_cache(settings: Settings) -> int:
    """Remove exports of models that are not installed (any more, or as they were) or are sealed, finished or not, and
    prepared copies of what is gone; those that are being made stay. Returns the bytes freed. Raises StorageError."""
    folder = exports_folder(settings)
    installed = ModelStore(settings.models_dir).list()
    wanted = {cached_export(settings, model.manifest) for model in installed if read_record(model.path) is None}
    with storage_errors(folder):
        paths = list(folder.iterdir()) if folder.is_dir() else []
        owners = {neighbour_owner(path) or path for path in paths}
        freed_bytes = sum(_sweep(owner, keep=owner in wanted) for owner in sorted(owners))
        return freed_bytes + sweep_copies(prepared_folder(settings))


def onnx_work(path: Path) -> ModelWork:
    """What a token costs, about: files hold the embedding, too, and weights are what a pass multiplies with."""
    model = read_model(path)
    return ModelWork(weight_bytes=model.num_bytes, multiply_adds=_num_weights(model))


def _num_weights(model: OnnxModel) -> int:
    config = model.config
    heads = (2 * config.num_heads + 2 * config.num_kv_heads) * config.head_dim
    layer = config.hidden_size * (heads + 3 * config.intermediate_size)
    return config.num_layers * layer + config.vocab_size * config.hidden_size


def _has_core() -> bool:
    try:
        supported_sets()
    except NativeCoreError:
        return False
    return True


def _sweep(export: Path, *, keep: bool) -> int:
    try:
        with destination_lock(export):
            freed_bytes = sweep(export)
            return freed_bytes if keep or not export.exists() else freed_bytes + remove_tree(export)
    except BusyError:
        return 0
