"""One delta applied: a chunk or file of the next version out of those of the version in use.

The result is written under another name, hashed on the way, synced, and gets its name only if it is what the manifest
says, segments included. Memory: package/delta/apply.py.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pocketseek.apps.repository.update_step import Step
from pocketseek.errors import IntegrityError
from pocketseek.package.chunk_file import ChunkFile
from pocketseek.package.delta.apply import apply_delta
from pocketseek.package.delta.byte_parts import delta_error
from pocketseek.package.delta.delta_file import Blob
from pocketseek.package.delta.fit import DeltaFit
from pocketseek.package.paths import CHUNKS_NAME, FILES_NAME
from pocketseek.package.storage import storage_errors


def apply_step(package_dir: Path, step: Step, delta: Path, fit: DeltaFit) -> None:
    """Raises FormatError (the delta does not make it), IntegrityError (a chunk here is not as it should be),
    StorageError, UnsupportedError."""
    target = step.target(package_dir)
    expected = Blob(step.sha256, step.entry.num_bytes)
    with storage_errors(target):
        chunk = ChunkFile(target.parent, step.entry.stage)
    try:
        bases = _Bases(package_dir)
        apply_delta(delta, fit.check, bases.read, lambda piece: _write(chunk, piece, target), expected)
        with storage_errors(target):
            entry = chunk.finish()
    finally:
        chunk.abandon()
    if step.entry.segments and entry.segments != step.entry.segments:
        with storage_errors(target):
            target.unlink()
        raise delta_error("the segments of what it makes have other hashes")


def _write(chunk: ChunkFile, piece: memoryview, target: Path) -> None:
    with storage_errors(target):
        chunk.write(piece)


class _Bases:
    """Reads runs of the chunks and files of the version in use."""

    def __init__(self, package_dir: Path) -> None:
        self._package_dir = package_dir

    def read(self, base: Blob, offset: int, num_bytes: int) -> bytes:
        """Raises IntegrityError, StorageError."""
        for folder in (CHUNKS_NAME, FILES_NAME):
            path = self._package_dir / folder / base.sha256
            if path.is_file():
                return _run_of(path, base, offset, num_bytes)
        raise IntegrityError(f"{self._package_dir}: {base.sha256} is missing; fetch the chunks whole (--whole)")


def _run_of(path: Path, base: Blob, offset: int, num_bytes: int) -> bytes:
    with storage_errors(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            status = os.fstat(descriptor)
            data = os.pread(descriptor, num_bytes, offset) if stat.S_ISREG(status.st_mode) else b""
        finally:
            os.close(descriptor)
    if status.st_size != base.num_bytes or len(data) != num_bytes:
        raise IntegrityError(f"{path} has not the size that it should have; fetch the chunks whole (--whole)")
    return data
