"""A damaged package made whole: from the chunk itself if it was good after all, from other models, from its origin.

Every byte is hashed first (`examine`). What is damaged is moved aside (quarantine.py), its good segments are kept, and
only the others are fetched; then the good chunk gets the name, and only then does the damaged one go. A kill in between
leaves what the next repair goes on with. The manifest is what says what is right: one that is damaged itself cannot be
repaired, only pulled again. Sealed packages are examined without their key, and mended with it (repair_sealed.py).
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from pocketseek.apps.repository import quarantine
from pocketseek.apps.repository.fetch import Progress
from pocketseek.apps.repository.local_chunks import LocalChunk, find_local, is_good, take
from pocketseek.apps.repository.open_source import Link
from pocketseek.apps.repository.repair_sealed import is_sealed_as_listed, mend_sealed
from pocketseek.apps.repository.source import PackageSource
from pocketseek.apps.repository.supply import Damaged, Repaired, Supply
from pocketseek.apps.repository.wanted import PartFile, WantedFile
from pocketseek.package.check_record import note_checked
from pocketseek.package.install import remove_tree
from pocketseek.package.lock import destination_lock
from pocketseek.package.manifest import ChunkEntry, FileEntry, Manifest, read_manifest
from pocketseek.package.marker import read_marker, stamp_of, write_marker
from pocketseek.package.paths import CHUNKS_NAME, FILES_NAME, QUARANTINE_NAME, chunk_path, file_path
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.package.sealing.seal_record import PackageFile, SealRecord, read_record
from pocketseek.package.storage import own_dir, storage_errors, sync_dir


def examine(package_dir: Path, progress: Progress | None = None) -> Damaged:
    """Hash everything, of what is sealed the sealed files. Raises NotFoundError, FormatError (manifest)."""
    manifest, record = read_manifest(package_dir), read_record(package_dir)
    done_bytes = 0
    good: list[ChunkEntry] = []
    bad: list[ChunkEntry] = []
    for entry in manifest.unique_chunks():
        (good if _is_good_chunk(package_dir, record, entry) else bad).append(entry)
        done_bytes += entry.num_bytes
        if progress is not None:
            progress(done_bytes, manifest.num_bytes)
    note_checked(package_dir, (entry.sha256 for entry in good), int(time.time()))
    files = {entry.sha256: entry for entry in manifest.files.values()}.values()
    return Damaged(tuple(bad), tuple(file for file in files if not _is_good_file(package_dir, record, file)))


def repair(
    package_dir: Path,
    damaged: Damaged,
    link: Link,
    *,
    models_dir: Path,
    source: PackageSource | None = None,
    secret: Secret | None = None,
    progress: Progress | None = None,
    allow: Callable[[int], None] = lambda _: None,
) -> Repaired:
    """Replace what `examine` found. source: where to fetch it, instead of where the model came from; stays open.
    secret: of a sealed model. Raises IntegrityError if nobody knows where the model came from, SealError (sealed, and
    no or the wrong secret), BusyError, and what fetching raises; what was repaired until then stays."""
    package_dir = Path(os.path.realpath(package_dir))
    with destination_lock(package_dir):
        manifest, record = read_manifest(package_dir), read_record(package_dir)
        supply = Supply(package_dir, link, source, progress, allow)
        if record is not None and damaged:
            with storage_errors(package_dir):
                _tidy(package_dir, damaged)
            return mend_sealed(package_dir, manifest, record, damaged, secret, models_dir, supply)
        with storage_errors(package_dir):
            _tidy(package_dir, damaged)
            named = set(manifest.unique_chunks())  # by now it may be another version
            chunks = [entry for entry in damaged.chunks if entry in named]
            for chunk in chunks:
                quarantine.move_aside(package_dir, chunk)
            missing = [entry for entry in chunks if not _found_here(package_dir, manifest, entry, models_dir)]
        fetched_bytes, address = 0, None
        if missing or damaged.files:
            fetched_bytes, address = _fetch(package_dir, missing, damaged.files, supply)
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
    own_dir(wanted.target.parent)
    # Not by its stamp: what rots in the flash keeps it, and a hard link would be the same damaged file.
    if not take(LocalChunk(local.path, None), entry, wanted):
        return False
    _put_in_place(package_dir, wanted, entry)
    return True


def _fetch(
    package_dir: Path, chunks: Iterable[ChunkEntry], files: Iterable[FileEntry], supply: Supply
) -> tuple[int, str]:
    """(bytes fetched, where from)."""
    by_wanted: dict[WantedFile, ChunkEntry | FileEntry] = {
        **{_wanted_chunk(package_dir, entry): entry for entry in chunks},
        **{_wanted_file(package_dir, entry): entry for entry in files},
    }
    with supply.opened(list(by_wanted)) as fetch:
        with storage_errors(package_dir):
            own_dir(package_dir / QUARANTINE_NAME)
            for wanted, entry in by_wanted.items():
                _seed(package_dir, wanted, entry)
        return fetch(lambda wanted: _put_in_place(package_dir, wanted, by_wanted[wanted]), PartFile)


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


def _is_good_chunk(package_dir: Path, record: SealRecord | None, entry: ChunkEntry) -> bool:
    file = PackageFile(CHUNKS_NAME, entry.sha256, entry.num_bytes)
    if record is not None and record.has(file):
        return is_sealed_as_listed(package_dir, record, file)
    return is_good(chunk_path(package_dir, entry.sha256), entry, None)


def _is_good_file(package_dir: Path, record: SealRecord | None, entry: FileEntry) -> bool:
    file = PackageFile(FILES_NAME, entry.sha256, entry.num_bytes)
    if record is not None and record.has(file):
        return is_sealed_as_listed(package_dir, record, file)
    whole = ChunkEntry(entry.sha256, entry.num_bytes, "", ())
    return is_good(file_path(package_dir, entry.sha256), whole, None)
