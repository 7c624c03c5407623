"""A model as ONNX Runtime's CPU kernels want it, kept in the data directory: optimised, and its weights packed.

Opening a model, ONNX Runtime packs most matrices for this processor into memory of its own: as much again as the model,
and nothing that the system could drop. Written to a file once, the packed weights are mapped like all others and
opening takes a fraction of the time. The file has the original weights, too, so it takes 2 to 3 times the model's disk
space; nothing of that is in memory unless it is used. What is here may be deleted at any time.

A copy serves as long as the model's files, ONNX Runtime and the processor are what they were.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from pocketseek.package.storage import tree_bytes

_SPACE_FACTOR = 4  # times the model: what has to be free on the disk before a copy is made
_READY = "ready.json"


class PreparedCopies:
    """folder: of all copies. Whatever fails here, the model is used as it is."""

    def __init__(self, folder: Path, *, library_version: str, processor: str) -> None:
        self._folder = folder
        self._library_version = library_version
        self._processor = processor

    def find_or_make(self, sources: Iterable[Path], make: Callable[[Path], None]) -> Path | None:
        """The folder with the copy of a model; made now by make(empty folder) if there is none.

        sources: every file of the model, the first being what it is known by. None: no copy can be made.
        """
        files = list(sources)
        place = self._place(files)
        if (place / _READY).is_file():
            return place
        try:
            return self._make(files, place, make)
        except OSError:
            return None

    def _make(self, files: list[Path], place: Path, make: Callable[[Path], None]) -> Path | None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sweep(files[0])
        model_bytes = sum(file.stat().st_size for file in files)
        if shutil.disk_usage(self._folder).free < _SPACE_FACTOR * model_bytes:
            return None
        temporary = self._folder / f".{place.name}.{os.getpid()}"
        temporary.mkdir()
        try:
            make(temporary)
            source = {"source": str(files[0]), "num_bytes": tree_bytes(temporary)}
            (temporary / _READY).write_text(json.dumps(source), encoding="utf-8")
            if not place.exists():  # else somebody else was faster
                temporary.rename(place)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return place

    def _sweep(self, source: Path) -> None:
        """Copies of this model as it was, and what dead processes left."""
        for folder in self._folder.iterdir():
            is_left = folder.name.startswith(".") and not _is_alive(folder.name.rpartition(".")[2])
            if is_left or _source_of(folder) == str(source):
                shutil.rmtree(folder, ignore_errors=True)

    def _place(self, files: list[Path]) -> Path:
        facts = [self._library_version, self._processor]
        for file in files:
            status = file.stat()
            facts += [str(file.resolve()), str(status.st_size), str(status.st_mtime_ns), str(status.st_ino)]
        return self._folder / hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]


def _source_of(folder: Path) -> str | None:
    try:
        found = json.loads((folder / _READY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found.get("source") if isinstance(found, dict) else None


def _is_alive(pid: str) -> bool:
    return pid.isdigit() and os.path.exists(f"/proc/{pid}")
