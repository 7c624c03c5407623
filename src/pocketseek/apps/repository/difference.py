"""What it takes to bring one version of a package to another, for whoever publishes the other.

`compare` makes every delta there is to make and says, stage by stage, how many bytes travel; with a folder it leaves
them there as `deltas/` of a published package: content-addressed delta files and the index of this pair, which comes
last, so that whoever sees it finds all it names. Deltas into other versions than this one are of no use to anybody in
that folder and go.

Nothing has to be alike in the two packages: what has no counterpart of the same shape travels as a whole. Of a sealed
side, chunks are decrypted as they are needed, a few at a time, in memory; deltas are in the clear, since whoever
updates reads them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pocketseek.apps.repository.difference_side import FileSide, is_sealed, opened_side
from pocketseek.errors import FormatError, UsageError
from pocketseek.package.delta.apply import delta_bases
from pocketseek.package.delta.delta_index import DeltaEntry, DeltaIndex, parse_index, render_index
from pocketseek.package.delta.make import make_chunk_delta, make_file_delta
from pocketseek.package.manifest import read_manifest_bytes, version_id
from pocketseek.package.paths import DELTAS_NAME, SHA256_PATTERN, SIGNATURE_NAME
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.package.storage import storage_errors, sync_dir, write_file

Progress = Callable[[int, int], None]
_TEMP_NAME = "unfinished"


@dataclass
class StageDifference:
    """whole_bytes: of all its chunks; sent_bytes: what of it travels. num_same, num_deltas, num_whole: chunks."""

    stage: str
    whole_bytes: int = 0
    sent_bytes: int = 0
    num_same: int = 0
    num_deltas: int = 0
    num_whole: int = 0


@dataclass(frozen=True)
class Difference:
    """files: likewise of all files of the package; index_bytes, manifest_bytes (with signature): what is always asked
    for. whole_bytes: what travels without the old version."""

    old: str
    new: str
    stages: tuple[StageDifference, ...]
    files: StageDifference
    manifest_bytes: int
    index_bytes: int

    @property
    def sent_bytes(self) -> int:
        chunks = sum(stage.sent_bytes for stage in self.stages)
        return chunks + self.files.sent_bytes + self.manifest_bytes + self.index_bytes

    @property
    def whole_bytes(self) -> int:
        return sum(stage.whole_bytes for stage in self.stages) + self.files.whole_bytes + self.manifest_bytes


@dataclass
class _Collected:
    """Deltas as they are made; out: the folder that they go to, if any."""

    out: Path | None
    entries: dict[str, DeltaEntry] = field(default_factory=dict)

    def add(self, result: str, delta: bytes) -> None:
        sha256 = hashlib.sha256(delta).hexdigest()
        bases = tuple(base.sha256 for base in delta_bases(delta))
        self.entries[result] = DeltaEntry(result, sha256, len(delta), bases)
        if self.out is not None:
            _put(self.out, sha256, delta)


def compare(
    old_dir: Path,
    new_dir: Path,
    *,
    out: Path | None = None,
    progress: Progress | None = None,
    old_secret: Secret | None = None,
    new_secret: Secret | None = None,
) -> Difference:
    """out: the folder that `deltas/` is written into. progress(bytes of chunks and files looked at, all). The secrets:
    of sealed sides.

    Raises NotFoundError, FormatError, IntegrityError (a package is damaged), StorageError, UnsupportedError, SealError,
    UsageError (out is the sealed package itself).
    """
    if out is not None and is_sealed(out):
        raise UsageError(
            f"{out} is sealed, and deltas lie in the clear; write them into a folder to be published, with --out"
        )
    with opened_side(old_dir, old_secret) as old, opened_side(new_dir, new_secret) as new:
        old_id, new_id = (version_id(read_manifest_bytes(path)) for path in (old_dir, new_dir))
        deltas = None if out is None else _made(out / DELTAS_NAME)
        collected = _Collected(deltas)
        total_bytes = new.manifest.num_bytes
        done_bytes = 0

        def report(num_bytes: int) -> None:
            nonlocal done_bytes
            done_bytes += num_bytes
            if progress is not None:
                progress(done_bytes, total_bytes)

        stages = _chunks(old, new, collected, report)
        files = _files(old, new, collected, report)
        index = render_index(DeltaIndex(old_id, new_id, tuple(collected.entries.values())))
        if deltas is not None:
            _put(deltas, f"{old_id}.json", index)
            _remove_useless(deltas, new_id)
    signature = new_dir / SIGNATURE_NAME
    signature_bytes = signature.stat().st_size if signature.is_file() else 0
    manifest_bytes = len(read_manifest_bytes(new_dir)) + signature_bytes
    return Difference(old_id, new_id, stages, files, manifest_bytes, len(index))


def _chunks(
    old: FileSide, new: FileSide, collected: _Collected, report: Callable[[int], None]
) -> tuple[StageDifference, ...]:
    known = {chunk.sha256 for chunk in old.manifest.chunks}
    stages: dict[str, StageDifference] = {}
    for chunk in new.manifest.unique_chunks():
        stage = stages.setdefault(chunk.stage, StageDifference(chunk.stage))
        delta = None if chunk.sha256 in known else make_chunk_delta(old, new, chunk.sha256)
        _count(stage, chunk.sha256 in known, chunk.num_bytes, delta)
        if delta is not None:
            collected.add(chunk.sha256, delta)
        report(chunk.num_bytes)
    return tuple(stages.values())


def _files(old: FileSide, new: FileSide, collected: _Collected, report: Callable[[int], None]) -> StageDifference:
    known = {entry.sha256 for entry in old.manifest.files.values()}
    files = StageDifference("files")
    seen: set[str] = set()
    for name, entry in new.manifest.files.items():
        if entry.sha256 in seen:
            continue
        seen.add(entry.sha256)
        delta = None
        if entry.sha256 not in known and old.has_file(name):
            delta = make_file_delta(old.file(name), new.file(name))
        _count(files, entry.sha256 in known, entry.num_bytes, delta)
        if delta is not None:
            collected.add(entry.sha256, delta)
        report(entry.num_bytes)
    return files


def _count(stage: StageDifference, is_known: bool, num_bytes: int, delta: bytes | None) -> None:
    stage.whole_bytes += num_bytes
    if is_known:
        stage.num_same += 1
    elif delta is None:
        stage.num_whole += 1
        stage.sent_bytes += num_bytes
    else:
        stage.num_deltas += 1
        stage.sent_bytes += len(delta)


def _made(folder: Path) -> Path:
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _put(folder: Path, name: str, data: bytes) -> None:
    with storage_errors(folder):
        write_file(folder / _TEMP_NAME, data)
        os.replace(folder / _TEMP_NAME, folder / name)
        sync_dir(folder)


def _remove_useless(folder: Path, new_id: str) -> None:
    """Indices into other versions, and deltas that no index names."""
    wanted: set[str] = set()
    with storage_errors(folder):
        for path in list(folder.glob("*.json")):
            if not SHA256_PATTERN.fullmatch(path.stem):  # not ours
                continue
            index = None
            with suppress(FormatError):
                index = parse_index(path.read_bytes(), str(path))
            if index is not None and index.new == new_id:
                wanted |= {delta.sha256 for delta in index.deltas}
            else:
                path.unlink()
        for path in list(folder.iterdir()):
            if (SHA256_PATTERN.fullmatch(path.name) and path.name not in wanted) or path.name == _TEMP_NAME:
                path.unlink()
