"""What an update takes: which chunks and files of the offered version are not here, and how each of them comes.

By a delta, if the source has one that leads from the version in use to the one that is offered; whole otherwise. An
index of deltas that is damaged, or leads elsewhere, is as good as none: what is fetched is checked in any case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from pocketseek.apps.repository.admission import Admit, by_form, check_not_sealed
from pocketseek.apps.repository.keeping import Keeping
from pocketseek.apps.repository.receive import Offer
from pocketseek.apps.repository.source import PackageSource
from pocketseek.apps.repository.update_step import Step
from pocketseek.errors import DownloadError, FormatError, UnsupportedError
from pocketseek.package import zstd
from pocketseek.package.delta.delta_index import MAX_INDEX_BYTES, DeltaEntry, index_path, parse_index
from pocketseek.package.manifest import MAX_MANIFEST_BYTES, ChunkEntry, Manifest, parse_manifest, version_id
from pocketseek.package.paths import CHUNKS_NAME, FILES_NAME, MANIFEST_NAME, SIGNATURE_NAME
from pocketseek.package.trust.signing import renewed_signature

MAX_SIGNATURE_BYTES = 64 * 1024
SEALED_NAME = "sealed.json"
_MAX_SEALED_BYTES = 16 << 20


@dataclass(frozen=True)
class UpdatePlan:
    """fetch_bytes: what the steps take from the source. whole_bytes: what they would without deltas. disk_bytes: the
    most that is on the disk for it at a time, beside what is there. new_signature: what manifest.sig becomes where the
    version is the same and was signed anew. kept: by hash of what it makes, what an earlier try fetched of a step."""

    old: str
    offer: Offer
    steps: tuple[Step, ...]
    new_signature: bytes | None = None
    kept: Mapping[str, int] = field(default_factory=dict)

    @property
    def new(self) -> str:
        return version_id(self.offer.manifest_bytes)

    @property
    def is_up_to_date(self) -> bool:
        return self.old == self.new

    @property
    def fetch_bytes(self) -> int:
        return sum(step.fetch_bytes for step in self.steps) - self._kept_bytes

    @property
    def whole_bytes(self) -> int:
        return sum(step.entry.num_bytes for step in self.steps)

    @property
    def disk_bytes(self) -> int:
        deltas_bytes = sum(step.delta.num_bytes for step in self.steps if step.delta is not None)
        return self.whole_bytes + deltas_bytes - self._kept_bytes

    @property
    def _kept_bytes(self) -> int:
        return sum(self.kept.get(step.sha256, 0) for step in self.steps)


def read_offer(
    source: PackageSource,
    old_bytes: bytes,
    here: bytes | None = None,
    place: str | None = None,
    admit: Admit = by_form,
) -> tuple[Offer, bytes | None]:
    """What the source has now, and what manifest.sig becomes if that is the version that is here, signed anew.

    old_bytes, here: manifest and signature of the version in use; place: the model's name here. Raises DownloadError
    (nothing there), FormatError, UnsupportedError (sealed), and what admit and the source raise.
    """
    manifest_bytes = source.read(MANIFEST_NAME, MAX_MANIFEST_BYTES)
    if manifest_bytes is None:
        raise DownloadError(f"{source.name} has no {MANIFEST_NAME}; check the address, or give another with --from")
    signature = source.read(SIGNATURE_NAME, MAX_SIGNATURE_BYTES)
    check_not_sealed(source.read(SEALED_NAME, _MAX_SEALED_BYTES), source.name)
    old, renewed = parse_manifest(old_bytes), None
    if manifest_bytes == old_bytes:
        renewed = renewed_signature(here, signature, manifest_bytes)
        if renewed is None:  # nothing of it would be taken, so there is nothing to judge
            return Offer(old, old_bytes, here), None
    try:
        manifest = admit(old, place, manifest_bytes, signature)
    except FormatError as error:
        raise FormatError(f"{source.name}: {error}") from error
    return Offer(manifest, manifest_bytes, signature), renewed


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
    keeping: Keeping, old: Manifest, new: Manifest, deltas: Mapping[str, DeltaEntry], *, check: bool
) -> tuple[Step, ...]:
    """check: hash what is here and not vouched for, instead of looking at sizes. Raises OSError."""
    hashes = {chunk.sha256 for chunk in old.chunks} | {file.sha256 for file in old.files.values()}
    usable = {result: delta for result, delta in deltas.items() if hashes.issuperset(delta.bases)}
    return tuple(
        Step(folder, entry, usable.get(entry.sha256))
        for folder, entry in _entries(new)
        if not keeping.is_here(folder, entry, check=check)
    )


def check_library(steps: Iterable[Step]) -> None:
    """Raises UnsupportedError if there are deltas and no library for them."""
    if not any(step.delta is not None for step in steps):
        return
    try:
        zstd.codec()
    except UnsupportedError as error:
        raise UnsupportedError(f"{error}, or fetch what has changed as a whole with --whole") from error


def _entries(manifest: Manifest) -> Iterable[tuple[str, ChunkEntry]]:
    for chunk in manifest.unique_chunks():
        yield CHUNKS_NAME, chunk
    for file in {entry.sha256: entry for entry in manifest.files.values()}.values():
        yield FILES_NAME, ChunkEntry(file.sha256, file.num_bytes, "", ())
