"""Which model is meant (the name of an installed package, a path to one, `demo`, or nothing said), and what is known of
it before it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pocketseek.apps.demo_model import DEMO_NAME
from pocketseek.apps.model_pool import ServedModel
from pocketseek.errors import NotFoundError, UsageError
from pocketseek.package.manifest import read_manifest
from pocketseek.package.sealing.seal_record import read_record
from pocketseek.package.store import ModelStore
from pocketseek.package.verify import read_checked_file
from pocketseek.runtime.onnx.model_files import is_onnx_model, read_model
from pocketseek.runtime.onnx.text_files import read_recommended, read_template
from pocketseek.text.sampling_file import parse_recommended
from pocketseek.types import SamplingParams


def locate(store: ModelStore, model: str, install_demo: Callable[[], Path] | None = None) -> Path:
    """The package that `model` names. The demo model is installed with `install_demo` when first asked for.

    Raises NotFoundError if there is no such model, and what install_demo raises.
    """
    try:
        return store.resolve(model)
    except NotFoundError:
        if model != DEMO_NAME or install_demo is None:
            raise
    return install_demo()


def default_model(store: ModelStore) -> str | None:
    """The one model that is installed; None if there is none. Raises UsageError if there is a choice to make."""
    names = [installed.name for installed in store.list()]
    if len(names) > 1:
        raise UsageError(f"several models are installed ({', '.join(sorted(names))}); name the one to use")
    return names[0] if names else None


def has_chat_template(package_dir: Path) -> bool:
    """Whether the model was made for conversations; without a template it only continues texts."""
    if is_onnx_model(package_dir):
        return read_template(_folder(package_dir)) is not None
    return "chat_template.jinja" in read_manifest(package_dir).files


def recommended_sampling(package_dir: Path) -> SamplingParams:
    """What the model's makers recommend, where they do and it can be read before the model is opened (not of a sealed
    one); otherwise pocketseek's own defaults."""
    if is_onnx_model(package_dir):
        return read_recommended(_folder(package_dir))
    name = "sampling.json"
    entry = read_manifest(package_dir).files.get(name)
    return (
        SamplingParams()
        if entry is None or read_record(package_dir) is not None
        else parse_recommended(read_checked_file(package_dir, name, entry))
    )


def served_model(name: str, package_dir: Path) -> ServedModel:
    """What the server has to know of it before it is opened."""
    if is_onnx_model(package_dir):
        return ServedModel(name, package_dir, read_model(package_dir).num_bytes, int(package_dir.stat().st_mtime))
    manifest = read_manifest(package_dir)
    return ServedModel(name, package_dir, manifest.num_bytes, int(package_dir.stat().st_mtime))


def _folder(onnx_model: Path) -> Path:
    """Where the texts beside it are."""
    return read_model(onnx_model).folder
