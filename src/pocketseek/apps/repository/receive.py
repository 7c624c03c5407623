"""A published package becomes an installed one: `receive`. (Over an installed one of another version: update.py.)

Everything goes into the destination's partial directory (package/paths.py), which is kept when it ends early: chunks
have their hashes as names, so the next `receive` of any version goes on with those that it needs. Chunks that an
installed model has are linked. Only when every byte has been hashed and synced is the package put in place, in the way
of package/install.py; so a kill or a power cut at any moment leaves the old model, or the new one, or none.
The manifest is kept byte for byte, with the signature that came with it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketseek.apps.repository.fetch import Progress, fetch_all
from pocketseek.apps.repository.local_chunks import LocalChunk, find_local, is_good, take
from pocketseek.apps.repository.source import DirectorySource, PackageSource
from pocketseek.apps.repository.wanted import WantedFile
from pocketseek.package.check_record import read_checked, write_checked
from pocketseek.package.install import check_replaceable, install, remove_tree, sweep
from pocketseek.package.journal import is_download
from pocketseek.package.lock import destination_lock
from pocketseek.package.manifest import ChunkEntry, FileEntry, Manifest
from pocketseek.package.marker import read_marker, stamp_of, write_marker
from pocketseek.package.origin import Origin, write_origin
from pocketseek.package.paths import (
    CHUNKS_NAME,
    DOWNLOAD_NAME,
    FILES_NAME,
    MANIFEST_NAME,
    SIGNATURE_NAME,
    chunk_path,
    file_path,
    partial_path,
    resume_path,
)
from pocketseek.package.storage import check_free_space, own_dir, storage_errors, sync_dir, write_file

_SPARE_BYTES = 16_000_000  # for the manifest, what else is written, and the file system itself


@dataclass(frozen=True)
class Offer:
    """What a source offers, checked: `manifest` is what manifest_bytes say."""

    manifest: Manifest
    manifest_bytes: bytes
    signature: bytes | None


@dataclass(frozen=True)
class Received:
    """num_bytes: of the package; of these fetched_bytes came from the source now, local_bytes from installed models,
    and the rest was there from an earlier try or an earlier version."""

    path: Path
    num_bytes: int
    fetched_bytes: int
    local_bytes: int


@dataclass(frozen=True)
class _Plan:
    """to_fetch: with what is there of them. linked_bytes: taken from other models just now."""

    to_fetch: tuple[WantedFile, ...]
    linked_bytes: int


def receive(
    source: PackageSource,
    offer: Offer,
    destination: Path,
    *,
    models_dir: Path,
    address: str,
    num_connections: int = 4,
    progress: Progress | None = None,
    allow: Callable[[int], None] = lambda _: None,
) -> Received:
    """Install the offered package at `destination`, replacing a package that is there.

    address: kept as its origin. allow(num_bytes) is asked once it is known how much has to be fetched, and raises if
    that is too much. Raises UsageError (the destination is something else), BusyError, StorageError, DownloadError.
    """
    destination = Path(os.path.realpath(destination))
    with storage_errors(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
        check_replaceable(destination)
    with destination_lock(destination):
        with storage_errors(destination, needed_bytes=offer.manifest.num_bytes):
            check_replaceable(destination)  # again: it may have been sealed meanwhile
            _prepare(destination, offer.manifest)
            plan = _plan(destination, offer.manifest, find_local(models_dir, _hashes(offer.manifest)))
        needed_bytes = sum(file.missing_bytes for file in plan.to_fetch)
        allow(needed_bytes)
        check_free_space(destination.parent, needed_bytes + _SPARE_BYTES if needed_bytes else 0)
        parallel = 1 if isinstance(source, DirectorySource) else num_connections
        fetched_bytes = fetch_all(
            source, plan.to_fetch, num_connections=parallel, progress=progress, finished=_Marked(destination)
        )
        with storage_errors(destination, needed_bytes=offer.manifest.num_bytes):
            _complete(destination, offer, Origin.now(address))
    return Received(destination, offer.manifest.num_bytes, fetched_bytes, plan.linked_bytes)


def _hashes(manifest: Manifest) -> list[str]:
    return [entry.sha256 for entry in manifest.chunks]


def _prepare(destination: Path, manifest: Manifest) -> None:
    """The partial directory, with nothing in it that this package does not need. Raises OSError."""
    partial, resume = partial_path(destination), resume_path(destination)
    if not is_download(destination):
        sweep(destination)
    for folder in (partial, partial / CHUNKS_NAME, partial / FILES_NAME, resume):
        own_dir(folder)
    write_file(resume / DOWNLOAD_NAME, b"")
    wanted = {entry.sha256 for entry in manifest.chunks} | {entry.sha256 for entry in manifest.files.values()}
    for folder in (partial / CHUNKS_NAME, partial / FILES_NAME):
        for path in list(folder.iterdir()):
            if path.name.removesuffix(".part") not in wanted:
                remove_tree(path)


def _plan(destination: Path, manifest: Manifest, local: Mapping[str, LocalChunk]) -> _Plan:
    """What is neither here nor in another model. Raises OSError."""
    partial = partial_path(destination)
    stamps = {**read_marker(destination), **read_marker(partial)}
    to_fetch, linked_bytes = [], 0
    for entry in manifest.unique_chunks():
        wanted = WantedFile(
            f"{CHUNKS_NAME}/{entry.sha256}",
            chunk_path(partial, entry.sha256),
            entry.num_bytes,
            entry.sha256,
            entry.segments,
        )
        if _has(destination, wanted, entry, stamps.get(entry.sha256)):
            continue
        if entry.sha256 in local and take(local[entry.sha256], entry, wanted):
            linked_bytes += entry.num_bytes
        else:
            to_fetch.append(wanted)
    for file in {entry.sha256: entry for entry in manifest.files.values()}.values():
        wanted = WantedFile(f"{FILES_NAME}/{file.sha256}", file_path(partial, file.sha256), file.num_bytes, file.sha256)
        if not _has_file(destination, wanted, file):
            to_fetch.append(wanted)
    return _Plan(tuple(to_fetch), linked_bytes)


def _has(destination: Path, wanted: WantedFile, entry: ChunkEntry, stamp: str | None) -> bool:
    """A chunk that arrived before, or belongs to the version that is there. What is damaged of the former becomes a
    part again, of which only the bad segments are fetched."""
    if is_good(wanted.target, entry, stamp):
        return True
    if os.path.lexists(wanted.target):
        os.replace(wanted.target, wanted.part)
    return is_good(chunk_path(destination, entry.sha256), entry, stamp)


def _has_file(destination: Path, wanted: WantedFile, entry: FileEntry) -> bool:
    whole = ChunkEntry(entry.sha256, entry.num_bytes, "", ())
    if is_good(wanted.target, whole, None):
        return True
    wanted.target.unlink(missing_ok=True)
    return is_good(file_path(destination, entry.sha256), whole, None)


class _Marked:
    """Notes each chunk that is there, so that going on need not hash it again."""

    def __init__(self, destination: Path) -> None:
        self._partial = partial_path(destination)
        self._stamps = dict(read_marker(self._partial))

    def __call__(self, wanted: WantedFile) -> None:
        if wanted.segments:
            self._stamps[wanted.target.name] = stamp_of(wanted.target.stat())
            write_marker(self._partial, self._stamps)


def _complete(destination: Path, offer: Offer, origin: Origin) -> None:
    """All bytes are there: put the package in place. Raises OSError."""
    partial = partial_path(destination)
    hashes = [entry.sha256 for entry in offer.manifest.unique_chunks()]
    places = {sha256: _place(destination, sha256) for sha256 in hashes}
    times = {**read_checked(destination), **_times_of_arrival(partial, hashes)}
    write_file(partial / MANIFEST_NAME, offer.manifest_bytes)
    if offer.signature is not None:
        write_file(partial / SIGNATURE_NAME, offer.signature)
    write_origin(partial, origin)
    write_marker(partial, {sha256: stamp_of(path.stat()) for sha256, path in places.items()})
    write_checked(partial, {sha256: times[sha256] for sha256 in hashes if sha256 in times})
    for folder in (partial / CHUNKS_NAME, partial / FILES_NAME, partial):
        sync_dir(folder)
    install(partial, destination)
    sweep(destination)


def _place(destination: Path, sha256: str) -> Path:
    arrived = chunk_path(partial_path(destination), sha256)
    return arrived if arrived.exists() else chunk_path(destination, sha256)


def _times_of_arrival(partial: Path, hashes: Sequence[str]) -> dict[str, int]:
    """All that is there was hashed in this run or the one before it."""
    now_s = int(time.time())
    return {sha256: now_s for sha256 in hashes if chunk_path(partial, sha256).exists()}
