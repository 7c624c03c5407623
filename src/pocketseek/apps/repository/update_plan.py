"""What an update takes: which chunks and files of the offered version are not here, and how each of them comes.

By a delta, if the source has one that leads from the version in use to the one that is offered; whole otherwise. An
index of deltas that is damaged, or leads elsewhere, is as good as none: what is fetched is checked in any case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pocketseek.apps.repository.admission import Admit, by_form, check_not_sealed
from pocketseek.apps.repository.local_chunks import is_good
from pocketseek.apps.repository.receive import Offer
from pocketseek.apps.repository.source import PackageSource
from pocketseek.apps.repository.wanted import WantedFile
from pocketseek.errors import DownloadError, FormatError, UnsupportedError
from pocketseek.package import zstd
from pocketseek.package.delta_index import MAX_INDEX_BYTES, DeltaEntry, delta_path, index_path, parse_index
from pocketseek.package.manifest import MAX_MANIFEST_BYTES, ChunkEntry, Manifest
from pocketseek.package.marker import read_marker
from pocketseek.package.paths import CHUNKS_NAME, DELTAS_NAME, FILES_NAME, MANIFEST_NAME, SIGNATURE_NAME, update_path
from pocketseek.package.switch import version_id

MAX_SIGNATURE_BYTES = 64 * 1024
SEALED_NAME = "sealed.json"
_MAX_SEALED_BYTES = 16 << 20


@dataclass(frozen=True)
class Step:
    """One chunk or file that is not here. folder: chunks or files. delta: what makes it, or None: it comes whole.
    entry: of a file, with its hash as the only one and no stage."""

    folder: str
    entry: ChunkEntry
    delta: DeltaEntry | None

    @property
    def sha256(self) -> str:
        return self.entry.sha256

    @property
    def fetch_bytes(self) -> int:
        return self.entry.num_bytes if self.delta is None else self.delta.num_bytes

    def target(self, package_dir: Path) -> Path:
        """Where it is put together."""
        return update_path(package_dir) / self.folder / self.sha256

    def whole(self, package_dir: Path) -> WantedFile:
        """As the source has it."""
        entry = self.entry
        path = f"{self.folder}/{entry.sha256}"
        return WantedFile(path, self.target(package_dir), entry.num_bytes, entry.sha256, entry.segments)

    def wanted(self, package_dir: Path) -> WantedFile:
        """What is to be fetched for it."""
        if self.delta is None:
            return self.whole(package_dir)
        target = update_path(package_dir) / DELTAS_NAME / self.delta.sha256
        return WantedFile(delta_path(self.delta.sha256), target, self.delta.num_bytes, self.delta.sha256)


@dataclass(frozen=True)
class UpdatePlan:
    """fetch_bytes: what the steps take from the source. whole_bytes: what they would without deltas. disk_bytes: the
    most that is on the disk for it at a time, beside what is there."""

    old: str
    offer: Offer
    steps: tuple[Step, ...]

    @property
    def new(self) -> str:
        return version_id(self.offer.manifest_bytes)

    @property
    def is_up_to_date(self) -> bool:
        return self.old == self.new

    @property
    def fetch_bytes(self) -> int:
        return sum(step.fetch_bytes for step in self.steps)

    @property
    def whole_bytes(self) -> int:
        return sum(step.entry.num_bytes for step in self.steps)

    @property
    def disk_bytes(self) -> int:
        return self.whole_bytes + sum(step.delta.num_bytes for step in self.steps if step.delta is not None)


def read_offer(source: PackageSource, old: Manifest, place: str | None = None, admit: Admit = by_form) -> Offer:
    """What the source has now. place: the model's name here. Raises DownloadError (nothing there), FormatError,
    UnsupportedError (sealed), and what admit and the source raise."""
    manifest_bytes = source.read(MANIFEST_NAME, MAX_MANIFEST_BYTES)
    if manifest_bytes is None:
        raise DownloadError(f"{source.name} has no {MANIFEST_NAME}; check the address, or give another with --from")
    signature = source.read(SIGNATURE_NAME, MAX_SIGNATURE_BYTES)
    check_not_sealed(source.read(SEALED_NAME, _MAX_SEALED_BYTES), source.name)
    try:
        manifest = admit(old, place, manifest_bytes, signature)
    except FormatError as error:
        raise FormatError(f"{source.name}: {error}") from error
    return Offer(manifest, manifest_bytes, signature)


def read_deltas(source: PackageSource, old: str, new: str) -> Mapping[str, DeltaEntry]:
    """By what they make. Raises DownloadError, StorageError."""
    index = None
    with suppress(FormatError):
        data = source.read(index_path(old), MAX_INDEX_BYTES)
        index = parse_index(data, index_path(old)) if data is not None else None
    if index is None or (index.old, index.new) != (old, new):
        return {}
    return {delta.result: delta for delta in index.deltas}


def plan_steps(
    package_dir: Path, old: Manifest, new: Manifest, deltas: Mapping[str, DeltaEntry], *, check: bool
) -> tuple[Step, ...]:
    """check: hash what is here and not vouched for, instead of looking at sizes. Raises UnsupportedError if there are
    deltas and no library for them."""
    hashes = {chunk.sha256 for chunk in old.chunks} | {file.sha256 for file in old.files.values()}
    usable = {result: delta for result, delta in deltas.items() if hashes.issuperset(delta.bases)}
    stamps = read_marker(package_dir) if check else {}
    steps = [
        Step(folder, entry, usable.get(entry.sha256))
        for folder, entry in _entries(new)
        if not _is_here(package_dir, folder, entry, stamps.get(entry.sha256), check=check)
    ]
    if any(step.delta is not None for step in steps):
        _check_library()
    return tuple(steps)


def _entries(manifest: Manifest) -> Iterable[tuple[str, ChunkEntry]]:
    for chunk in manifest.unique_chunks():
        yield CHUNKS_NAME, chunk
    for file in {entry.sha256: entry for entry in manifest.files.values()}.values():
        yield FILES_NAME, ChunkEntry(file.sha256, file.num_bytes, "", ())


def _is_here(package_dir: Path, folder: str, entry: ChunkEntry, stamp: str | None, *, check: bool) -> bool:
    """In the package, or arrived with an earlier try."""
    places = (package_dir / folder / entry.sha256, update_path(package_dir) / folder / entry.sha256)
    if check:
        return any(is_good(path, entry, stamp) for path in places)
    return any(path.is_file() and path.stat().st_size == entry.num_bytes for path in places)


def _check_library() -> None:
    try:
        zstd.codec()
    except UnsupportedError as error:
        raise UnsupportedError(f"{error}, or fetch what has changed as a whole with --whole") from error
