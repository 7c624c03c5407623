"""Putting a finished package in place, and removing what dead writers left. The caller holds the destination's lock.

A new package appears by one rename of its directory. Over an existing one, the new chunks and files are moved in first
(their names are hashes, so they disturb nothing), then manifest.json is replaced, which is the commit point, and only
then does what the new manifest does not name go. The partial directory goes last, so as long as unneeded chunks may be
there, so is the sign of it, and `sweep` finishes the job after a crash at any point.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from pocketseek.errors import FormatError, NotFoundError, StorageError, UsageError
from pocketseek.package.manifest import MAGIC, MAX_MANIFEST_BYTES, parse_manifest, read_manifest
from pocketseek.package.paths import (
    ANSWERED_NAME,
    CHECKED_NAME,
    CHUNKS_NAME,
    DELTAS_NAME,
    FILES_NAME,
    GOING_BACK_NAME,
    KEEP_NAME,
    MANIFEST_NAME,
    MARKER_NAME,
    ORIGIN_NAME,
    PREVIOUS_NAME,
    PREVIOUS_ORIGIN_NAME,
    PREVIOUS_SIGNATURE_NAME,
    QUARANTINE_NAME,
    SEAL_NAME,
    SEAL_TEMP_NAME,
    SEALED_SUFFIX,
    SHA256_PATTERN,
    SIGNATURE_NAME,
    TEMP_PREFIXES,
    partial_path,
    resume_path,
    sealed_path,
    trash_path,
    update_path,
)
from pocketseek.package.storage import read_plain, sync_dir, tree_bytes, write_file
from pocketseek.package.trust.signature import join_signatures

PREVIOUS_NAMES = (
    PREVIOUS_NAME, PREVIOUS_SIGNATURE_NAME, PREVIOUS_ORIGIN_NAME, KEEP_NAME, ANSWERED_NAME, GOING_BACK_NAME
)  # fmt: skip
"""Of the version before, in the order in which they go."""

_KNOWN_NAMES = frozenset(
    {
        MANIFEST_NAME,
        SIGNATURE_NAME,
        MARKER_NAME,
        ORIGIN_NAME,
        CHECKED_NAME,
        QUARANTINE_NAME,
        DELTAS_NAME,
        CHUNKS_NAME,
        FILES_NAME,
        SEAL_NAME,
        SEAL_TEMP_NAME,
        *PREVIOUS_NAMES,
    }
)
_BESIDE_THE_MANIFEST = (SIGNATURE_NAME, ORIGIN_NAME, MARKER_NAME, CHECKED_NAME)
_MAGIC_TEXT = f'"{MAGIC}"'.encode()


def check_replaceable(destination: Path) -> None:
    """Raises UsageError unless the destination is free, empty, or a plain package (damaged or not) with folders of its
    own."""
    if os.path.lexists(destination / SEAL_NAME):
        raise UsageError(
            f"{destination} is sealed and is not replaced; unseal it first (`pocketseek unseal`), or remove it"
        )
    check_own_folders(destination)
    if not os.path.lexists(destination) or is_package_dir(destination):
        return
    if destination.is_dir() and not any(destination.iterdir()):
        return
    raise UsageError(
        f"{destination} exists and is not a pocketseek package; choose another destination or move it away"
    )


def check_own_folders(package_dir: Path) -> None:
    """Raises UsageError where a folder of the package is a link: what is put into a package would go elsewhere."""
    for folder in (package_dir / CHUNKS_NAME, package_dir / FILES_NAME):
        if folder.is_symlink():
            raise UsageError(f"{folder} is a symbolic link and is not written through; put the folder itself there")


def is_package_dir(path: Path) -> bool:
    """Whether a directory was made by a package writer, even if its manifest is damaged or gone."""
    manifest = path / MANIFEST_NAME
    if manifest.is_file():
        with manifest.open("rb") as file:
            if _MAGIC_TEXT in file.read(MAX_MANIFEST_BYTES):
                return True
    if not (path / CHUNKS_NAME).is_dir():
        return False
    return {entry.name for entry in path.iterdir() if not entry.name.startswith(TEMP_PREFIXES)} <= _KNOWN_NAMES


def install(partial: Path, destination: Path) -> None:
    """Make the synced package in `partial` the one at `destination`. Raises OSError."""
    if destination.is_dir() and any(destination.iterdir()):
        _replace(partial, destination)
    else:  # free, or an empty directory, which rename replaces
        os.rename(partial, destination)
        sync_dir(destination.parent)


def sweep(destination: Path, *, keep_unfinished: bool = False, keep_update: bool = False) -> int:
    """Remove the partial and trash directories, what was kept to go on with a package or an update of it (unless told
    to keep these), and chunks no manifest names. Returns the bytes freed."""
    freed_bytes = prune(destination) if os.path.lexists(partial_path(destination)) else 0
    unfinished = () if keep_unfinished else (resume_path(destination), partial_path(destination))
    update = () if keep_update else (update_path(destination),)
    for path in (*unfinished, *update, trash_path(destination)):
        if os.path.lexists(path):
            freed_bytes += remove_tree(path)
    return freed_bytes


def remove_tree(path: Path) -> int:
    """Delete a directory (or a symbolic link, but not what it points to). Returns the bytes freed."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return 0
    num_bytes = tree_bytes(path)
    shutil.rmtree(path)
    return num_bytes


def _replace(partial: Path, destination: Path) -> None:
    for folder in (CHUNKS_NAME, FILES_NAME):
        (destination / folder).mkdir(exist_ok=True)
        for path in sorted((partial / folder).iterdir()):
            os.replace(path, destination / folder / path.name)
        sync_dir(destination / folder)
    # A signature, or an origin, is never seen beside a manifest it was not made for: the old one goes first, or stays
    # together with the new one, where both are signed. The version before the old one cannot be gone back to either.
    for name in (ORIGIN_NAME, GOING_BACK_NAME, *PREVIOUS_NAMES):
        (destination / name).unlink(missing_ok=True)
    _make_way_for_signature(partial, destination)
    sync_dir(destination)
    os.replace(partial / MANIFEST_NAME, destination / MANIFEST_NAME)
    sync_dir(destination)
    for name in _BESIDE_THE_MANIFEST:
        if (partial / name).exists():
            os.replace(partial / name, destination / name)
    sync_dir(destination)


def _make_way_for_signature(partial: Path, destination: Path) -> None:
    signatures = [path.read_bytes() for folder in (partial, destination) if (path := folder / SIGNATURE_NAME).is_file()]
    if len(signatures) < 2:
        (destination / SIGNATURE_NAME).unlink(missing_ok=True)
        return
    joined = partial / f"{SIGNATURE_NAME}.joined"
    write_file(joined, join_signatures(*signatures) or b"")
    os.replace(joined, destination / SIGNATURE_NAME)


def prune(package_dir: Path) -> int:
    """Delete chunks and files that neither the manifest names nor that of the version before, nor of an update that was
    begun; without a readable manifest, nothing. Returns the bytes freed."""
    try:
        manifests = [read_manifest(package_dir)]
    except (FormatError, NotFoundError, StorageError):
        return 0
    for path in (package_dir / PREVIOUS_NAME, update_path(package_dir) / MANIFEST_NAME):
        with suppress(FormatError, OSError):  # what cannot be read cannot be gone back to, or on with
            manifests.append(parse_manifest(read_plain(path, MAX_MANIFEST_BYTES)))
    wanted = {
        CHUNKS_NAME: {entry.sha256 for manifest in manifests for entry in manifest.chunks},
        FILES_NAME: {entry.sha256 for manifest in manifests for entry in manifest.files.values()},
    }
    freed_bytes = 0
    if (package_dir / QUARANTINE_NAME).is_dir():
        freed_bytes += _prune_quarantine(package_dir, wanted[CHUNKS_NAME])
    for folder, names in wanted.items():
        for path in list((package_dir / folder).iterdir()) if not (package_dir / folder).is_symlink() else ():
            sha256 = path.name.removesuffix(SEALED_SUFFIX)
            if SHA256_PATTERN.fullmatch(sha256) and sha256 not in names:
                freed_bytes += path.lstat().st_size
                path.unlink()
    return freed_bytes


def _prune_quarantine(package_dir: Path, wanted: set[str]) -> int:
    """What was moved aside goes when nobody wants it any more, or when it was replaced."""
    freed_bytes = 0
    folder = package_dir / QUARANTINE_NAME
    if folder.is_symlink():
        folder.unlink()
        return 0
    for path in list(folder.iterdir()):
        sha256 = path.name.partition(".")[0]
        chunk = package_dir / CHUNKS_NAME / sha256
        if sha256 not in wanted or chunk.exists() or sealed_path(chunk).exists():
            freed_bytes += path.lstat().st_size
            remove_tree(path)
    if not any(folder.iterdir()):
        folder.rmdir()
    return freed_bytes
