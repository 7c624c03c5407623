"""Are the files of an export what its maker wrote? Every byte is hashed once, before the first use and after a change.

As in packages, a marker in the folder (`verified.json`, package/marker.py) vouches for a file while its inode, size and
mtime are those that were recorded; where it cannot be written, files are hashed each time. Of other tools' models no
hashes are known, and nothing is checked.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pocketseek.errors import IntegrityError, UnsupportedError
from pocketseek.package.marker import is_settled, read_marker, stamp_of, write_marker
from pocketseek.package.storage import storage_errors
from pocketseek.runtime.onnx.model_files import OnnxModel

Progress = Callable[[int, int], None]
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class FilesReport:
    """What was found good. num_bytes: of all files. full: they were hashed, otherwise only their sizes are right."""

    full: bool
    num_files: int
    num_bytes: int
    duration_s: float


def check_files(model: OnnxModel, progress: Progress | None = None, *, full: bool = False) -> None:
    """Hash what the marker does not vouch for, or everything (full). progress(done_bytes, total_bytes).

    Raises IntegrityError, NotFoundError, StorageError.
    """
    known = {} if full else read_marker(model.folder)
    stamps = {path: _stamp(path) for path in model.sha256}
    doubtful = {path: sha256 for path, sha256 in model.sha256.items() if known.get(sha256) != stamps[path]}
    if not doubtful:
        return
    began_ns = time.time_ns()
    try:
        _hash_all(doubtful, progress)
    except IntegrityError:
        write_marker(model.folder, {})
        raise
    held = {sha256: stamps[path] for path, sha256 in model.sha256.items() if _holds(path, stamps[path], began_ns)}
    write_marker(model.folder, held)


def verify_export(model: OnnxModel, progress: Progress | None = None, *, full: bool) -> FilesReport:
    """Raises what `check_files` does; UnsupportedError for a model of which no hashes are known."""
    if not model.sha256:
        raise UnsupportedError(
            f"{model.folder} was made by another tool, which wrote down no hashes; compare it with where it came from"
        )
    started_s = time.perf_counter()
    if full:
        check_files(model, progress, full=True)
    num_bytes = sum(path.stat().st_size for path in model.sha256)
    return FilesReport(full, len(model.sha256), num_bytes, time.perf_counter() - started_s)


def _hash_all(files: Mapping[Path, str], progress: Progress | None) -> None:
    total_bytes = sum(path.stat().st_size for path in files)
    done_bytes = 0
    for path, expected in files.items():
        digest = hashlib.sha256()
        with storage_errors(path), path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
                done_bytes += len(piece)
                if progress is not None:
                    progress(done_bytes, total_bytes)
        if digest.hexdigest() != expected:
            raise IntegrityError(f"{path} is damaged; export the model again")


def _stamp(path: Path) -> str:
    with storage_errors(path):
        return stamp_of(os.stat(path))


def _holds(path: Path, stamp: str, began_ns: int) -> bool:
    """Nobody wrote to it meanwhile, and whoever writes from now on changes its mtime."""
    with storage_errors(path):
        status = os.stat(path)
    return stamp_of(status) == stamp and is_settled(status, began_ns)
