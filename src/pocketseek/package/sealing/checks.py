"""What may stand against sealing or unsealing a package in place, asked before anything of it is changed: files that
are missing, too little room, and plaintext that would stay.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from pocketseek.errors import StorageError, UsageError
from pocketseek.package.entries import Manifest
from pocketseek.package.paths import (
    CHUNKS_NAME,
    FILES_NAME,
    PREVIOUS_NAME,
    SHA256_PATTERN,
    partial_path,
)
from pocketseek.package.sealing.seal_record import PackageFile, files_of
from pocketseek.package.sealing.sealed_file import HEADER_BYTES, damaged

_SPARE_BYTES = 1 << 20  # for sealed.json and what the file system needs beside the file itself


def check_present(package_dir: Path, files: Sequence[PackageFile]) -> None:
    """Raises IntegrityError for a plain file that is missing or cut. What is in it is compared when it is sealed."""
    for path, file in ((file.plain_path(package_dir), file) for file in files):
        if not path.is_file():
            raise damaged(str(path), "it is missing")
        if path.stat().st_size != file.num_bytes:
            raise damaged(str(path), f"it has {path.stat().st_size} bytes instead of {file.num_bytes}")


def check_space(package_dir: Path, files: Sequence[PackageFile]) -> None:
    """For one file after another. Raises StorageError."""
    needed_bytes = max((file.num_bytes + HEADER_BYTES for file in files), default=0) + _SPARE_BYTES
    free_bytes = shutil.disk_usage(package_dir).free
    if files and free_bytes < needed_bytes:
        raise StorageError(
            f"{package_dir}: {needed_bytes / 1e6:.0f} MB of free space are needed for a moment and "
            f"{free_bytes / 1e6:.0f} MB are there; free some and run this again"
        )


def check_clear_text(package_dir: Path, manifest: Manifest, files: Sequence[PackageFile], *, is_sealed: bool) -> None:
    """Raises UsageError for plaintext that would stay when these files are sealed: under another name, or of another
    version of the model that does not go by itself. Models beside it may share files (`pull` links them);
    `plain_beside` tells of those. is_sealed: sealing was begun before."""
    _check_strays(package_dir, manifest, is_sealed=is_sealed)
    for path in (file.plain_path(package_dir) for file in files):
        status = path.lstat() if os.path.lexists(path) else None
        if status is not None and (stat.S_ISLNK(status.st_mode) or status.st_nlink > 1 + _num_shared(path, status)):
            raise UsageError(
                f"{path} has another name (it is a link), under which it would stay in the clear; "
                "copy the model (`cp -rL`) and seal the copy, or remove the other name"
            )


def plain_beside(package_dir: Path, manifest: Manifest) -> dict[str, int]:
    """Models in the same folder that have weights of this one in the clear, and how many bytes of them."""
    found: dict[str, int] = {}
    for chunk in manifest.unique_chunks():
        for path in _namesakes(package_dir / CHUNKS_NAME / chunk.sha256):
            found[path.parent.parent.name] = found.get(path.parent.parent.name, 0) + chunk.num_bytes
    return found


def _namesakes(path: Path) -> list[Path]:
    """The same chunk or file in models beside this one."""
    package_dir = path.parent.parent
    beside = [other / path.parent.name / path.name for other in package_dir.parent.iterdir() if other != package_dir]
    return [other for other in beside if other.is_file()]


def _num_shared(path: Path, status: os.stat_result) -> int:
    return sum(os.path.samestat(other.lstat(), status) for other in _namesakes(path))


def entries_of(package_dir: Path) -> list[Path]:
    """All that lies in the folders of chunks and files."""
    return [path for folder in (CHUNKS_NAME, FILES_NAME) for path in (package_dir / folder).iterdir()]


def _check_strays(package_dir: Path, manifest: Manifest, *, is_sealed: bool) -> None:
    if _is_swept_anyway(package_dir, is_sealed=is_sealed):
        return
    known = {file.plain_path(package_dir) for file in files_of(manifest)}
    for path in entries_of(package_dir):
        if SHA256_PATTERN.fullmatch(path.name) and path not in known:
            raise UsageError(
                f"{path} is not part of the model as it is, and would stay in the clear; "
                "move it away or delete it, and seal then"
            )


def _is_swept_anyway(package_dir: Path, *, is_sealed: bool) -> bool:
    """Whether what the manifest does not name goes with the version before, or with a killed writer's work."""
    has_previous = not is_sealed and os.path.lexists(package_dir / PREVIOUS_NAME)
    return has_previous or os.path.lexists(partial_path(package_dir))
