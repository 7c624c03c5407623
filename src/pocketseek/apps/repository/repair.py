"""A damaged package made whole: from the chunk itself if it was good after all, from other models, from its origin.

Every byte is hashed first (`examine`). What is damaged is moved aside (quarantine.py), its good segments are kept, and
only the others are fetched; then the good chunk gets the name, and only then does the damaged one go. A kill in between
leaves what the next repair goes on with. The manifest is what says what is right: one that is damaged itself cannot be
repaired, only pulled again.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pocketseek.apps.repository import quarantine
from pocketseek.apps.repository.fetch import Progress, fetch_all
from pocketseek.apps.repository.local_chunks import LocalChunk, find_local, is_good, take
from pocketseek.apps.repository.open_source import Link, open_source
from pocketseek.apps.repository.wanted import WantedFile
from pocketseek.errors import IntegrityError, UnsupportedError
from pocketseek.package.check_record import note_checked
from pocketseek.package.install import remove_tree
from pocketseek.package.lock import destination_lock
from pocketseek.package.manifest import ChunkEntry, FileEntry, Manifest, read_manifest
from pocketseek.package.marker import read_marker, stamp_of, write_marker
from pocketseek.package.origin import read_origin
from pocketseek.package.paths import CHUNKS_NAME, FILES_NAME, QUARANTINE_NAME, chunk_path, file_path
from pocketseek.package.storage import check_free_space, storage_errors, sync_dir

_REMEDY = "pull it again, or convert it again from its checkpoint"
_SPARE_BYTES = 8_000_000


@dataclass(frozen=True)
class Damaged:
    """What of a package is not as its manifest says, or not there."""

    chunks: tuple[ChunkEntry, ...]
    files: tuple[FileEntry, ...]

    def __bool__(self) -> bool:
        return bool(self.chunks or self.files)


@dataclass(frozen=True)
class Repaired:
    """address: where fetched_bytes came from; None if nothing had to be fetched."""

    num_chunks: int
    num_files: int
    fetched_bytes: int
    address: str | None


def examine(package_dir: Path, progress: Progress | None = None) -> Damaged:
    """Hash everything. Raises NotFoundError, FormatError (manifest), UnsupportedError (sealed)."""
    if (package_dir / "sealed.json").exists():
        raise UnsupportedError(f"{package_dir} is sealed, and sealed models cannot be repaired yet; unseal it first")
    manifest = read_manifest(package_dir)
    done_bytes = 0
    good: list[ChunkEntry] = []
    bad: list[ChunkEntry] = []
    for entry in manifest.unique_chunks():
        (good if is_good(chunk_path(package_dir, entry.sha256), entry, None) else bad).append(entry)
        done_bytes += entry.num_bytes
        if progress is not None:
            progress(done_bytes, manifest.num_bytes)
    note_checked(package_dir, (entry.sha256 for entry in good), int(time.time()))
    files = {entry.sha256: entry for entry in manifest.files.values()}.values()
    return Damaged(tuple(bad), tuple(file for file in files if not _is_good_file(package_dir, file)))


def repair(
    package_dir: Path,
    damaged: Damaged,
    link: Link,
    *,
    models_dir: Path,
    progress: Progress | None = None,
    allow: Callable[[int], None] = lambda _: None,
) -> Repaired:
    """Replace what `examine` found. Raises IntegrityError if nobody knows where the model came from, BusyError, and
    what fetching raises; what was repaired until then stays."""
    package_dir = Path(os.path.realpath(package_dir))
    with destination_lock(package_dir):
        manifest = read_manifest(package_dir)
        with storage_errors(package_dir):
            _tidy(package_dir, damaged)
            named = set(manifest.unique_chunks())  # by now it may be another version
            chunks = [entry for entry in damaged.chunks if entry in named]
            for chunk in chunks:
                quarantine.move_aside(package_dir, chunk)
            missing = [entry for entry in chunks if not _found_here(package_dir, manifest, entry, models_dir)]
        fetched_bytes, address = 0, None
        if missing or damaged.files:
            fetched_bytes, address = _fetch(package_dir, missing, damaged.files, link, progress, allow)
    return Repaired(len(damaged.chunks), len(damaged.files), fetched_bytes, address)


def _tidy(package_dir: Path, damaged: Damaged) -> None:
    """Let go of what a repair that was killed had no more need of. Raises OSError."""
    folder = package_dir / QUARANTINE_NAME
    needed = {entry.sha256 for entry in damaged.chunks} | {entry.sha256 for entry in damaged.files}
    for path in list(folder.iterdir()) if folder.is_dir() else []:
        if path.name.partition(".")[0] not in needed:
            remove_tree(path)
    quarantine.remove_if_empty(package_dir)


def _found_here(package_dir: Path, manifest: Manifest, entry: ChunkEntry, models_dir: Path) -> bool:
    """Whether the chunk is in place again without fetching anything. Raises OSError."""
    if is_good(chunk_path(package_dir, entry.sha256), entry, None):  # somebody was faster
        return True
    if is_good(quarantine.quarantine_path(package_dir, entry.sha256), entry, None):
        quarantine.put_back(package_dir, entry.sha256)
        return True
    local = find_local(models_dir, [entry.sha256]).get(entry.sha256)
    if local is None:
        return False
    wanted = _wanted_chunk(package_dir, entry)
    wanted.target.parent.mkdir(exist_ok=True)
    # Not by its stamp: what rots in the flash keeps it, and a hard link would be the same damaged file.
    if not take(LocalChunk(local.path, None), entry, wanted):
        return False
    _put_in_place(package_dir, wanted, entry)
    return True


def _fetch(
    package_dir: Path,
    chunks: Iterable[ChunkEntry],
    files: Iterable[FileEntry],
    link: Link,
    progress: Progress | None,
    allow: Callable[[int], None],
) -> tuple[int, str]:
    """(bytes fetched, where from)."""
    origin = read_origin(package_dir)
    by_wanted: dict[WantedFile, ChunkEntry | FileEntry] = {
        **{_wanted_chunk(package_dir, entry): entry for entry in chunks},
        **{_wanted_file(package_dir, entry): entry for entry in files},
    }
    if origin is None:
        raise IntegrityError(
            f"{package_dir}: {len(by_wanted)} damaged chunks or files, and nobody noted where it came from; {_REMEDY}"
        )
    needed_bytes = sum(wanted.num_bytes for wanted in by_wanted)
    allow(needed_bytes)
    check_free_space(package_dir, needed_bytes + _SPARE_BYTES)
    with storage_errors(package_dir):
        (package_dir / QUARANTINE_NAME).mkdir(exist_ok=True)
        for wanted, entry in by_wanted.items():
            _seed(package_dir, wanted, entry)
    source = open_source(origin.address, link)
    try:
        fetched_bytes = fetch_all(
            source,
            list(by_wanted),
            num_connections=link.num_connections,
            progress=progress,
            finished=lambda wanted: _put_in_place(package_dir, wanted, by_wanted[wanted]),
        )
    finally:
        source.close()
    return fetched_bytes, source.name


def _seed(package_dir: Path, wanted: WantedFile, entry: ChunkEntry | FileEntry) -> None:
    """Begin with a copy of the damaged chunk, whose good segments need not be fetched. A copy: the file itself may be
    mapped somewhere. Raises OSError."""
    aside = quarantine.quarantine_path(package_dir, entry.sha256)
    if isinstance(entry, ChunkEntry) and aside.is_file() and not aside.is_symlink() and not wanted.part.exists():
        shutil.copyfile(aside, wanted.part)


def _put_in_place(package_dir: Path, wanted: WantedFile, entry: ChunkEntry | FileEntry) -> None:
    is_chunk = isinstance(entry, ChunkEntry)
    target = (chunk_path if is_chunk else file_path)(package_dir, entry.sha256)
    with storage_errors(target):
        os.replace(wanted.target, target)
        sync_dir(target.parent)
        if is_chunk:
            quarantine.drop(package_dir, entry.sha256)
            write_marker(package_dir, {**read_marker(package_dir), entry.sha256: stamp_of(target.stat())})
            note_checked(package_dir, [entry.sha256], int(time.time()))
        else:
            quarantine.remove_if_empty(package_dir)


def _wanted_chunk(package_dir: Path, entry: ChunkEntry) -> WantedFile:
    target = package_dir / QUARANTINE_NAME / entry.sha256
    return WantedFile(f"{CHUNKS_NAME}/{entry.sha256}", target, entry.num_bytes, entry.sha256, entry.segments)


def _wanted_file(package_dir: Path, entry: FileEntry) -> WantedFile:
    target = package_dir / QUARANTINE_NAME / entry.sha256
    return WantedFile(f"{FILES_NAME}/{entry.sha256}", target, entry.num_bytes, entry.sha256)


def _is_good_file(package_dir: Path, entry: FileEntry) -> bool:
    whole = ChunkEntry(entry.sha256, entry.num_bytes, "", ())
    return is_good(file_path(package_dir, entry.sha256), whole, None)
