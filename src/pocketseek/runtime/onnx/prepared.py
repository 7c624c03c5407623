"""A model as ONNX Runtime's CPU kernels want it, kept in the data directory: optimised, and its weights packed.

Opening a model, ONNX Runtime packs most matrices for this processor into memory of its own: as much again as the model,
and nothing that the system could drop. Written to a file once, the packed weights are mapped like all others and
opening takes a fraction of the time. The file has the original weights, too, so it takes 2 to 3 times the model's disk
space, and more than 4 times that of float16 weights, of which the CPU makes float32; nothing of that is in memory
unless it is used. What is here may be deleted at any time.

A copy serves as long as the model's files, ONNX Runtime and the processor are what they were. When one is made, those
go whose model is another by now, or is gone (`sweep`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.package.install import remove_tree
from pocketseek.package.storage import tree_bytes

_SPACE_FACTOR = 5  # times the model: what has to be free on the disk before a copy is made; 4.2 were seen with float16
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
        except (OSError, FormatError, UnsupportedError):  # a full disk is told by ONNX Runtime, in its own words
            return None

    def drop(self, place: Path) -> None:
        """One that turned out to be damaged."""
        shutil.rmtree(place, ignore_errors=True)

    def _make(self, files: list[Path], place: Path, make: Callable[[Path], None]) -> Path | None:
        self._folder.mkdir(parents=True, exist_ok=True)
        sweep(self._folder, replaced=files[0])
        model_bytes = sum(file.stat().st_size for file in files)
        if shutil.disk_usage(self._folder).free < _SPACE_FACTOR * model_bytes:
            return None
        temporary = self._folder / f".{place.name}.{os.getpid()}"
        temporary.mkdir()
        try:
            make(temporary)
            source = {"source": str(files[0].resolve()), "num_bytes": tree_bytes(temporary)}
            (temporary / _READY).write_text(json.dumps(source), encoding="utf-8")
            if not place.exists():  # else somebody else was faster
                temporary.rename(place)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return place

    def _place(self, files: list[Path]) -> Path:
        facts = [self._library_version, self._processor]
        for file in files:
            status = file.stat()
            facts += [str(file.resolve()), str(status.st_size), str(status.st_mtime_ns), str(status.st_ino)]
        return self._folder / hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]


def sweep(copies: Path, *, replaced: Path | None = None) -> int:
    """Remove copies of models that are gone, of `replaced` (a model's first file) as it was, and what dead processes
    left. Returns the bytes freed. Raises OSError."""
    if not copies.is_dir():
        return 0
    old = None if replaced is None else replaced.resolve()
    return sum(remove_tree(folder) for folder in copies.iterdir() if _is_over(folder, old))


def _is_over(folder: Path, replaced: Path | None) -> bool:
    if folder.name.startswith("."):
        return not _is_alive(folder.name.rpartition(".")[2])
    source = _source_of(folder)
    return source is None or source == replaced or not source.is_file()


def _source_of(folder: Path) -> Path | None:
    """Absolute; None if it cannot be known, of copies made before that was written down, too."""
    try:
        found = json.loads((folder / _READY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    source = found.get("source") if isinstance(found, dict) else None
    return Path(source) if isinstance(source, str) and os.path.isabs(source) else None


def _is_alive(pid: str) -> bool:
    return pid.isdigit() and os.path.exists(f"/proc/{pid}")
