"""Which adapters there are for a model: looked up often, so manifests are read again only when they have changed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from threading import Lock

from pocketseek.apps.model_pool import ServedModel
from pocketseek.errors import FormatError, NotFoundError, StorageError
from pocketseek.package.adapter_layout import is_for
from pocketseek.package.manifest import Manifest, read_manifest
from pocketseek.package.marker import stamp_of
from pocketseek.package.paths import MANIFEST_NAME, NAME_PATTERN


class InstalledAdapters:
    """Of a models directory. Any thread may ask."""

    def __init__(self, models_dir: Path) -> None:
        self._models_dir = models_dir
        self._lock = Lock()
        self._known: dict[Path, tuple[str, Manifest | None]] = {}  # None: damaged

    def of(self, model: ServedModel) -> list[ServedModel]:
        """The model with each adapter that can be used with it, by name; none for what is no package."""
        with self._lock:
            base = self._manifest(model.path)
            if base is None or base.adapter is not None:
                return []
            found = []
            for path in self._paths():
                manifest = self._manifest(path)
                if manifest is not None and manifest.adapter is not None and is_for(manifest, base):
                    found.append(_with_adapter(model, path))
            return found

    def _paths(self) -> list[Path]:
        try:
            entries = [entry.name for entry in os.scandir(self._models_dir) if NAME_PATTERN.fullmatch(entry.name)]
        except OSError:
            return []
        return [self._models_dir / name for name in sorted(entries)]

    def _manifest(self, path: Path) -> Manifest | None:
        try:
            stamp = stamp_of(os.stat(path / MANIFEST_NAME))
        except OSError:
            self._known.pop(path, None)
            return None
        known = self._known.get(path)
        if known is None or known[0] != stamp:
            try:
                known = (stamp, read_manifest(path))
            except (FormatError, NotFoundError, StorageError):
                known = (stamp, None)
            self._known[path] = known
        return known[1]


def _with_adapter(model: ServedModel, path: Path) -> ServedModel:
    return replace(model, name=f"{model.name}:{path.name}", adapter=path.name, adapter_path=path)
