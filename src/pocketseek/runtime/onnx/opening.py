"""Which ONNX model is meant, and its parts opened for an engine."""

from __future__ import annotations

import hashlib
import os
from functools import partial
from pathlib import Path

from pocketseek import __version__
from pocketseek.device.execution_provider import ExecutionProvider
from pocketseek.device.probe import DeviceFacts
from pocketseek.errors import UnsupportedError, UsageError
from pocketseek.package.manifest import Manifest, parse_manifest_of, read_manifest_bytes, render_manifest
from pocketseek.package.sealing.seal_record import read_record
from pocketseek.package.store import ModelStore
from pocketseek.package.trust.gatekeeper import Gatekeeper
from pocketseek.runtime.cost_file import CostFile
from pocketseek.runtime.onnx.file_hashes import Progress, check_files
from pocketseek.runtime.onnx.model_files import OnnxModel, is_onnx_model, read_model
from pocketseek.runtime.onnx.prepared import PreparedCopies
from pocketseek.runtime.onnx.text_files import read_text_parts
from pocketseek.runtime.onnx_executor import OnnxExecutor, library_version
from pocketseek.runtime.prefix.owners import onnx_owner
from pocketseek.runtime.prefix.store import identity_of
from pocketseek.runtime.start import OpenedModel
from pocketseek.settings import Settings
from pocketseek.types import EngineKind

_EXPORT_REVISION = b"2"  # graphs of `export_package`: 2 joins what is multiplied by the same input
_ONLY_CPU = ExecutionProvider("CPU", "no npu")


def find_onnx_model(
    model: str, settings: Settings, engine: EngineKind | None, gate: Gatekeeper | None = None
) -> Path | None:
    """The ONNX model that is to be run; None: the package `model` runs with the native core.

    gate: asked about the package that was exported, or about an ONNX model by path, which nobody can sign.

    An installed name wins over a path, as everywhere. Raises UsageError if a path that is an ONNX model shall run with
    the native core, UnsupportedError if an installed model has not been exported, and what `ModelStore.resolve` raises.
    """
    store = ModelStore(settings.models_dir)
    path = Path(os.path.expanduser(model))
    if not store.is_installed(model) and is_onnx_model(path):
        if engine == "native":
            raise UsageError(f"{model} is an ONNX model, which the native core does not run; leave out --engine native")
        if gate is not None:
            gate.admit_unsigned(model)
        return path
    if (engine or settings.engine) != "onnx":
        return None
    package = store.resolve(model)
    refuse_sealed(package)
    data = read_manifest_bytes(package)
    manifest = parse_manifest_of(package, data)
    if gate is not None:
        gate.admit(package, data, manifest)
    export = cached_export(settings, manifest)
    if not is_onnx_model(export):
        raise UnsupportedError(
            f"{model} is not exported for ONNX Runtime yet; "
            f"run `pocketseek export {model} DIR --format onnx --quant int4`, and then use DIR as the model"
        )
    return export


def refuse_sealed(package: Path) -> None:
    """Raises UnsupportedError: an export of a sealed model would lie there in the clear."""
    if read_record(package) is not None:
        raise UnsupportedError(
            f"{package} is sealed, and ONNX Runtime reads no sealed models; "
            "use --engine native, or `pocketseek unseal` it"
        )


def cached_export(settings: Settings, manifest: Manifest) -> Path:
    """Where the export of an installed model lies, or would lie: it serves this very package and no other, and is made
    anew where what an export is has changed."""
    name = hashlib.sha256(_EXPORT_REVISION + render_manifest(manifest)).hexdigest()[:32]
    return exports_folder(settings) / name


def exports_folder(settings: Settings) -> Path:
    return settings.home / "cache" / "onnx-exports"


def prepared_folder(settings: Settings) -> Path:
    return settings.home / "cache" / "onnx"


def refuse_native_options(*, kernels: str | None, kv: str | None, min_speed: float | None) -> None:
    """Raises UsageError for what only the native core does."""
    for name, value in (("--kernels", kernels), ("--kv", kv), ("--min-speed", min_speed)):
        if value is not None:
            raise UsageError(f"{name} is for the native core; leave it out, or use --engine native")


def open_onnx_model(
    path: Path,
    settings: Settings,
    facts: DeviceFacts,
    *,
    num_threads: int,
    provider: str | None,
    progress: Progress | None = None,
) -> OpenedModel:
    """progress(done_bytes, total_bytes) is called while files are hashed, before their first use.

    Raises NotFoundError, FormatError, IntegrityError, UnsupportedError, StorageError, MemoryLimitError.
    """
    model = read_model(path)
    check_files(model, progress)
    text = read_text_parts(model.folder)
    processor = f"{facts.cpu_model or facts.architecture} {' '.join(facts.instruction_sets or ())}"
    version = library_version() or ""
    executor = OnnxExecutor(
        model,
        num_threads=num_threads,
        device=facts.execution_provider or _ONLY_CPU,
        provider=provider or settings.provider,
        is_intel="Intel" in (facts.cpu_model or ""),
        copies=PreparedCopies(prepared_folder(settings), library_version=version, processor=processor),
    )
    chosen = executor.provider.name
    identity = {
        "onnx": _files_identity(model),
        "onnxruntime": version,
        "provider": chosen,
        "processor": processor,
        "pocketseek": __version__,
    }
    device = {"processor": processor, "kernels": f"onnxruntime {version} {chosen}", "kv": "onnx"}
    return OpenedModel(
        executor,
        model.config,
        text.tokenizer,
        text.template,
        text.sampling,
        identity=identity_of(identity),
        used_page_bytes=executor.used_page_bytes,
        cost_file=CostFile(settings.home, _files_identity(model), device, lambda: executor.provider.name == chosen),
        gives_states=False,
        provider=lambda: executor.provider,
        pages_owner=onnx_owner(model.folder),
        is_current=partial(os.path.lexists, model.folder),  # the export of a model goes when that is sealed
    )


def _files_identity(model: OnnxModel) -> str:
    """Another file, or one that was written to since, is another model."""
    digest = hashlib.sha256()
    for path in model.weight_files:
        status = path.stat()
        digest.update(f"{path.resolve()}\n{status.st_size}\n{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
