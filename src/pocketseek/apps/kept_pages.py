"""Computed pages of prompts on disk, which go with the model or the conversation that they are of.

Pages of a plain model hold texts in the clear, and so they go when it is sealed; those of a sealed one are worth
nothing without its key, and go with that. Whoever has a conversation deletes it with `PageEraser`.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from pocketseek.errors import FormatError, NotFoundError, StorageError, UnsupportedError
from pocketseek.package.manifest import Manifest, read_manifest
from pocketseek.package.sealing.seal_record import SealRecord, read_record
from pocketseek.runtime.onnx.opening import cached_export
from pocketseek.runtime.prefix.forgotten import forget_model, forget_text
from pocketseek.runtime.prefix.owners import manifest_id, onnx_owner, plain_owner, sealed_owner
from pocketseek.settings import Settings

_UNKNOWN = ""  # whose pages older versions of the program wrote is not known


@dataclass(frozen=True)
class PageEraser:
    """Called with the id of a conversation whose text, or some of it, is to be gone. Raises StorageError."""

    folder: Path

    def __call__(self, conversation_id: str) -> None:
        forget_text(self.folder, conversation_id)


def owners_of(package_dir: Path, settings: Settings) -> Set[str] | None:
    """Whose pages those of a package are, sealed or not; None: it is broken, and so nobody knows."""
    try:
        manifest, record = read_manifest(package_dir), read_record(package_dir)
    except (FormatError, NotFoundError, StorageError, UnsupportedError):
        return None
    return _plain_owners(manifest, settings) | ({sealed_owner(record.sealing)} if record is not None else set())


def forget_plain_pages(manifest: Manifest, settings: Settings) -> None:
    """The package is sealed now. Raises StorageError."""
    forget_model(settings.prefix_dir, {_UNKNOWN, *_plain_owners(manifest, settings)})


def forget_sealed_pages(record: SealRecord, settings: Settings) -> None:
    """The package is plain again. Raises StorageError."""
    forget_model(settings.prefix_dir, {sealed_owner(record.sealing)})


def _plain_owners(manifest: Manifest, settings: Settings) -> set[str]:
    if manifest.part is not None:
        return set()
    return {plain_owner(manifest_id(manifest)), onnx_owner(cached_export(settings, manifest))}
