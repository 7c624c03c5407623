"""Damaged chunks are moved aside: `quarantine/<sha256>.damaged` in the package, not deleted before they are replaced.
Of a sealed package it is the sealed chunk that lies there.

A package with a chunk in quarantine is refused by every reader (the chunk is missing), while an engine that has it open
reads on; that one is told by the new mtime of the file that it held, hashes it again, and takes the chunk that has its
name by then (runtime/residency/chunk_files.py).
"""

from __future__ import annotations

import os
from pathlib import Path

from pocketseek.package.manifest import ChunkEntry
from pocketseek.package.marker import read_marker, write_marker
from pocketseek.package.paths import QUARANTINE_NAME, SHA256_PATTERN, chunk_path
from pocketseek.package.storage import own_dir, sync_dir

_SUFFIX = ".damaged"


def quarantine_path(package_dir: Path, sha256: str) -> Path:
    return package_dir / QUARANTINE_NAME / f"{sha256}{_SUFFIX}"


def quarantined(package_dir: Path) -> tuple[str, ...]:
    """Hashes of the chunks that were moved aside."""
    try:
        names = sorted(os.listdir(package_dir / QUARANTINE_NAME))
    except OSError:
        return ()
    found = (name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))
    return tuple(sha256 for sha256 in found if SHA256_PATTERN.fullmatch(sha256))


def move_aside(package_dir: Path, entry: ChunkEntry, path: Path | None = None) -> None:
    """With the package's lock held. path: of the chunk, if it is sealed. What is missing already is nothing to move.
    Raises OSError."""
    path, aside = path or chunk_path(package_dir, entry.sha256), quarantine_path(package_dir, entry.sha256)
    if not os.path.lexists(path):
        return
    own_dir(aside.parent)
    os.rename(path, aside)
    sync_dir(aside.parent)
    sync_dir(path.parent)
    marked = read_marker(package_dir)
    write_marker(package_dir, {sha256: stamp for sha256, stamp in marked.items() if sha256 != entry.sha256})


def put_back(package_dir: Path, sha256: str, path: Path | None = None) -> None:
    """It was good after all. path: of the chunk, if it is sealed. Raises OSError."""
    path = path or chunk_path(package_dir, sha256)
    os.rename(quarantine_path(package_dir, sha256), path)
    sync_dir(path.parent)
    remove_if_empty(package_dir)


def drop(package_dir: Path, sha256: str) -> None:
    """Its replacement is in place. Raises OSError."""
    aside = quarantine_path(package_dir, sha256)
    if aside.is_file() and not aside.is_symlink():
        os.utime(aside)  # who has it open looks again
    aside.unlink(missing_ok=True)
    remove_if_empty(package_dir)


def remove_if_empty(package_dir: Path) -> None:
    folder = package_dir / QUARANTINE_NAME
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
