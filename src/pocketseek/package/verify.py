"""Is a package what its manifest says? Quick: every file is there with its size. Full: every hash of every byte.

Reads go through one 1 MiB buffer. IntegrityError names the chunk, the segment, the stage and the tensors; `find_damage`
gives the same as values, for a caller that can fetch segments again.

Of a sealed package the sealed files are hashed, which takes no key (with it: sealing/verify_sealed.py); "auto" does
not, since every segment is checked when it is decrypted.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from pocketseek.errors import IntegrityError, StorageError, TrustError
from pocketseek.formats import SEGMENT_BYTES
from pocketseek.package.check_record import forget_checked, note_checked
from pocketseek.package.manifest import (
    ChunkEntry,
    FileEntry,
    Manifest,
    parse_manifest_of,
    read_manifest_bytes,
)
from pocketseek.package.marker import (
    is_settled,
    may_be_written_unseen,
    read_marker,
    settle,
    stamp_of,
    write_marker,
)
from pocketseek.package.paths import chunk_path, file_path
from pocketseek.package.sealing.seal_record import PackageFile, SealRecord, files_of, read_record
from pocketseek.package.sealing.sealed_file import REMEDY, hash_sealed, sealed_bytes
from pocketseek.package.storage import read_plain, storage_errors

if TYPE_CHECKING:
    from pocketseek.package.trust.judge import TrustState

Progress = Callable[[int, int], None]
Mode = Literal["quick", "full", "auto"]
Admit = Callable[[Path, bytes, Manifest], "TrustState"]
"""Raises TrustError if the package with these bytes as its manifest may not be used (trust/judge.py)."""

_Result = TypeVar("_Result")

_MOST_HASHINGS = 3  # of a file that somebody writes to
_MOST_NAMED = 4  # tensors; small experts have dozens in a segment


@dataclass(frozen=True)
class VerifyReport:
    """What was found good. num_bytes: of the chunks and files that were looked at (quick) or hashed (full). with_key:
    what is sealed was decrypted and compared with the manifest."""

    full: bool
    num_chunks: int
    num_files: int
    num_bytes: int
    duration_s: float
    with_key: bool = False


@dataclass(frozen=True)
class Damage:
    """Bytes of a chunk that are not as recorded: one segment, or the whole chunk when only its name is wrong."""

    sha256: str
    stage: str
    offset: int
    num_bytes: int
    tensors: tuple[str, ...]

    def describe(self) -> str:
        where = f"segment {self.offset // SEGMENT_BYTES} (bytes {self.offset} to {self.offset + self.num_bytes - 1})"
        named, num_more = self.tensors[:_MOST_NAMED], len(self.tensors) - _MOST_NAMED
        whose = ", ".join(named) or "padding"
        more = f" and {num_more} more" if num_more > 0 else ""
        return f"chunk {self.sha256} of stage {self.stage} is damaged in {where}, {whose}{more}"


def verify_package(path: Path, *, full: bool, progress: Progress | None = None) -> VerifyReport:
    """Check the package in a directory. progress(done_bytes, total_bytes) is called while hashing.

    Raises IntegrityError at the first damage, NotFoundError, FormatError (manifest), StorageError (unreadable).
    """
    started_s = time.perf_counter()

    def check(manifest: Manifest) -> Manifest:
        check_chunks(path, manifest, mode="full" if full else "quick", progress=progress)
        if full:
            record = read_record(path)
            for name, entry in manifest.files.items():
                if not _is_sealed(record, "files", entry.sha256):
                    read_checked_file(path, name, entry)
        return manifest

    manifest = on_settled_manifest(path, check)
    duration_s = time.perf_counter() - started_s
    return VerifyReport(full, len(manifest.unique_chunks()), len(manifest.files), manifest.num_bytes, duration_s)


def on_settled_manifest(
    package_dir: Path, action: Callable[[Manifest], _Result], admit: Callable[[bytes, Manifest], None] | None = None
) -> _Result:
    """Run `action` on the manifest; again if it found damage only because a writer replaced the package meanwhile, or
    it was being sealed or unsealed.

    admit: asked before, with the very bytes that the manifest was parsed from.
    """
    data, record = read_manifest_bytes(package_dir), read_record(package_dir)
    while True:
        try:
            manifest = parse_manifest_of(package_dir, data)
            if admit is not None:
                admit(data, manifest)
            return action(manifest)
        except (IntegrityError, TrustError):
            latest = read_manifest_bytes(package_dir), read_record(package_dir)
            if latest == (data, record):
                raise
            data, record = latest


def check_chunks(
    package_dir: Path, manifest: Manifest, *, mode: Mode, progress: Progress | None = None
) -> dict[str, str]:
    """Sizes always; hashes of all chunks (full) or of those the marker does not vouch for (auto); marks the good.

    A damaged chunk loses its mark. Returns the stamp of every plain chunk's file as it was checked.
    """
    record = read_record(package_dir)
    plain = [entry for entry in manifest.unique_chunks() if not _is_sealed(record, "chunks", entry.sha256)]
    stamps = {entry.sha256: _check_chunk_size(package_dir, entry) for entry in plain}
    for name, file in manifest.files.items():
        if not _is_sealed(record, "files", file.sha256):
            _check_size(file_path(package_dir, file.sha256), file.num_bytes, f"{package_dir}: file {name}")
    if record is not None:
        _check_sealed(package_dir, manifest, record, full=mode == "full", progress=progress)
    if mode == "quick":
        return stamps
    known = {} if mode == "full" else read_marker(package_dir)
    doubtful = [entry for entry in plain if known.get(entry.sha256) != stamps[entry.sha256]]
    if not doubtful:
        return stamps
    began_ns = time.time_ns()
    for damage in find_damage(package_dir, manifest, doubtful, progress, keep_cached=mode == "auto"):
        marked = read_marker(package_dir)
        write_marker(package_dir, {sha256: stamp for sha256, stamp in marked.items() if sha256 != damage.sha256})
        forget_checked(package_dir, damage.sha256)
        raise IntegrityError(f"{package_dir}: {damage.describe()}; {REMEDY}")
    held = {sha256: stamp for sha256, stamp in stamps.items() if _holds(package_dir, sha256, stamp, began_ns)}
    write_marker(package_dir, held)
    note_checked(package_dir, (entry.sha256 for entry in doubtful), began_ns // 1_000_000_000)
    return stamps


def find_damage(
    package_dir: Path,
    manifest: Manifest,
    chunks: Iterable[ChunkEntry],
    progress: Progress | None = None,
    *,
    keep_cached: bool = False,
) -> Iterator[Damage]:
    """Hash the given chunks and yield every run of bytes that differs. keep_cached: the bytes are about to be used."""
    entries = list(chunks)
    report = _Counter(sum(entry.num_bytes for entry in entries), progress)
    for entry in entries:
        for offset, num_bytes in _wrong_runs(package_dir, entry, report.add, keep_cached):
            tensors = manifest.tensors_between(entry.sha256, offset, offset + num_bytes)
            yield Damage(entry.sha256, entry.stage, offset, num_bytes, tensors)


def check_open_chunk(package_dir: Path, manifest: Manifest, entry: ChunkEntry, descriptor: int) -> str:
    """Hash a chunk through an open file, whatever its name leads to by now; returns the stamp that it was checked with.

    For a file in use that was touched. The stamp stands for these bytes: nobody wrote while they were hashed, and who
    writes later changes it. Raises IntegrityError, StorageError.
    """
    path = chunk_path(package_dir, entry.sha256)
    for _ in range(_MOST_HASHINGS):
        with storage_errors(path):
            settle(descriptor)
            status = os.fstat(descriptor)
            if may_be_written_unseen(status):
                continue
            error = _open_chunk_error(package_dir, manifest, entry, descriptor)
            if stamp_of(os.fstat(descriptor)) != stamp_of(status):
                continue
        if error is not None:
            raise error
        return stamp_of(status)
    raise StorageError(f"{path} is being written to; stop the program that does so")


def _open_chunk_error(
    package_dir: Path, manifest: Manifest, entry: ChunkEntry, descriptor: int
) -> IntegrityError | None:
    where = _chunk_where(package_dir, entry)
    path = chunk_path(package_dir, entry.sha256)
    with storage_errors(path):
        status = os.fstat(descriptor)
        if status.st_size != entry.num_bytes:
            return IntegrityError(f"{where} has {status.st_size} bytes instead of {entry.num_bytes}; {REMEDY}")
        with FileIO(os.dup(descriptor)) as file:
            file.seek(0)
            wrong = _wrong_runs_of(file, path, entry, lambda num_bytes: None, keep_cached=True)
    if not wrong:
        return None
    tensors = manifest.tensors_between(entry.sha256, wrong[0][0], sum(wrong[0]))
    return IntegrityError(
        f"{package_dir}: {Damage(entry.sha256, entry.stage, *wrong[0], tensors).describe()}; {REMEDY}"
    )


def read_checked_file(package_dir: Path, name: str, entry: FileEntry) -> bytes:
    """The bytes of a file of the package. Raises IntegrityError."""
    path = file_path(package_dir, entry.sha256)
    _check_size(path, entry.num_bytes, f"{package_dir}: file {name}")
    with storage_errors(path):
        data = read_plain(path, entry.num_bytes)
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise IntegrityError(f"{package_dir}: file {name} is damaged; {REMEDY}")
    return data


class _Counter:
    """Adds up bytes for a progress callback."""

    def __init__(self, total_bytes: int, progress: Progress | None) -> None:
        self._total_bytes = total_bytes
        self._done_bytes = 0
        self._progress = progress

    def add(self, num_bytes: int) -> None:
        self._done_bytes += num_bytes
        if self._progress is not None:
            self._progress(self._done_bytes, self._total_bytes)


def _wrong_runs(
    package_dir: Path, entry: ChunkEntry, report: Callable[[int], None], keep_cached: bool
) -> list[tuple[int, int]]:
    with _open(package_dir, entry) as file:
        return _wrong_runs_of(file, chunk_path(package_dir, entry.sha256), entry, report, keep_cached)


def _wrong_runs_of(
    file: FileIO, path: Path, entry: ChunkEntry, report: Callable[[int], None], keep_cached: bool
) -> list[tuple[int, int]]:
    """(offset, bytes) of the segments that differ; of the whole chunk if all agree and yet the name is wrong."""
    wrong: list[tuple[int, int]] = []
    whole = hashlib.sha256()
    buffer = memoryview(bytearray(SEGMENT_BYTES))
    for index, sha256 in enumerate(entry.segments):
        offset = index * SEGMENT_BYTES
        due_bytes = min(SEGMENT_BYTES, entry.num_bytes - offset)
        data = _read(file, buffer[:due_bytes], path)
        whole.update(data)
        if hashlib.sha256(data).hexdigest() != sha256:
            wrong.append((offset, due_bytes))
        if not keep_cached:
            os.posix_fadvise(file.fileno(), offset, due_bytes, os.POSIX_FADV_DONTNEED)
        report(due_bytes)
    return wrong or ([] if whole.hexdigest() == entry.sha256 else [(0, entry.num_bytes)])


def _open(package_dir: Path, entry: ChunkEntry) -> FileIO:
    path = chunk_path(package_dir, entry.sha256)
    with storage_errors(path):
        try:
            file = FileIO(path)
        except FileNotFoundError as error:
            raise _missing(_chunk_where(package_dir, entry)) from error
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
    return file


def _read(file: FileIO, buffer: memoryview, path: Path) -> memoryview:
    """Fill the buffer; less only at the end of the file."""
    num_bytes = 0
    with storage_errors(path):
        while num_bytes < len(buffer) and (got := file.readinto(buffer[num_bytes:])):
            num_bytes += got
    return buffer[:num_bytes]


def _holds(package_dir: Path, sha256: str, stamp: str, began_ns: int) -> bool:
    """Whether a stamp taken before hashing began may vouch for the file: nobody wrote since, seen or unseen."""
    try:
        status = chunk_path(package_dir, sha256).stat()
    except OSError:
        return False
    return stamp_of(status) == stamp and is_settled(status, began_ns)


def _is_sealed(record: SealRecord | None, folder: str, sha256: str) -> bool:
    return record is not None and record.has(PackageFile(folder, sha256, 0))


def _check_sealed(
    package_dir: Path, manifest: Manifest, record: SealRecord, *, full: bool, progress: Progress | None
) -> None:
    """Sizes of the sealed files; full: their hashes, too. Takes no key."""
    if not record.is_of(read_manifest_bytes(package_dir)):
        raise IntegrityError(f"{package_dir}: manifest.json is not the one that was sealed; {REMEDY}")
    files = [file for file in files_of(manifest) if record.has(file)]
    for file in files:
        _check_size(file.sealed_path(package_dir), sealed_bytes(file.num_bytes), f"{package_dir}: sealed {file.name}")
    report = _Counter(sum(file.num_bytes for file in files), progress)
    for file in files if full else ():
        if hash_sealed(file.sealed_path(package_dir), report.add) != record.files[file.name]:
            forget_checked(package_dir, file.sha256)
            raise IntegrityError(f"{package_dir}: sealed {file.name} is damaged; {REMEDY}")


def _check_chunk_size(package_dir: Path, entry: ChunkEntry) -> str:
    path = chunk_path(package_dir, entry.sha256)
    return stamp_of(_check_size(path, entry.num_bytes, _chunk_where(package_dir, entry)))


def _check_size(path: Path, num_bytes: int, where: str) -> os.stat_result:
    with storage_errors(path):
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _missing(where) from error
    if not stat.S_ISREG(status.st_mode):
        raise IntegrityError(f"{where} is not a plain file; {REMEDY}")
    if status.st_size != num_bytes:
        raise IntegrityError(f"{where} has {status.st_size} bytes instead of {num_bytes}; {REMEDY}")
    return status


def _chunk_where(package_dir: Path, entry: ChunkEntry) -> str:
    return f"{package_dir}: chunk {entry.sha256} of stage {entry.stage}"


def _missing(where: str) -> IntegrityError:
    return IntegrityError(f"{where} is missing; {REMEDY}")
