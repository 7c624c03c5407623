"""From the version in use to the one that a source offers: fetch, put together, check, switch.

What arrives lies in the update directory beside the package (package/switch.py has the states on disk), so a kill, a
power cut or a full disk at any moment leaves the version in use, and the next `update` goes on with what is there:
whole files as they are, parts of files as `.part`, deltas that were fetched and not applied. A delta whose result is
not what the manifest says (it lies, or a chunk here is damaged) is dropped and the chunk fetched whole. Nothing is
switched before every chunk and file of the new version has been hashed, here or on arrival.

Engines that are open go on with the version that they opened.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pocketseek.apps.repository.admission import Admit, by_form
from pocketseek.apps.repository.apply import apply_step
from pocketseek.apps.repository.fetch import Progress, fetch_all
from pocketseek.apps.repository.local_chunks import is_good
from pocketseek.apps.repository.receive import Offer
from pocketseek.apps.repository.source import DirectorySource, PackageSource
from pocketseek.apps.repository.update_plan import SEALED_NAME, Step, UpdatePlan, plan_steps, read_deltas, read_offer
from pocketseek.apps.repository.wanted import WantedFile
from pocketseek.errors import FormatError, IntegrityError, UnsupportedError
from pocketseek.package.entries import ChunkEntry
from pocketseek.package.install import remove_tree
from pocketseek.package.lock import destination_lock
from pocketseek.package.manifest import Manifest, parse_manifest, read_manifest_bytes
from pocketseek.package.marker import read_marker, stamp_of, write_marker
from pocketseek.package.paths import (
    CHUNKS_NAME,
    DELTAS_NAME,
    FILES_NAME,
    MANIFEST_NAME,
    SIGNATURE_NAME,
    chunk_path,
    update_path,
)
from pocketseek.package.storage import check_free_space, storage_errors, sync_dir, write_file
from pocketseek.package.switch import UNSIGNED_NAME, go_back, settle, switch_to_update, version_id

_SPARE_BYTES = 16_000_000  # for manifests, directories and the file system itself
_FOLDERS = (CHUNKS_NAME, FILES_NAME, DELTAS_NAME)


@dataclass(frozen=True)
class Updated:
    """fetched_bytes: of deltas, chunks and files. num_deltas were applied; num_whole came whole, of which num_failed
    after a delta did not make what it should."""

    old: str
    new: str
    fetched_bytes: int
    num_deltas: int
    num_whole: int
    num_failed: int


def look(package_dir: Path, source: PackageSource, *, whole: bool = False, admit: Admit = by_form) -> UpdatePlan:
    """What an update would take; changes nothing. whole: without deltas. admit: whether what is offered may be had.

    Raises TrustError, NotFoundError, FormatError (package, or what the source has), UnsupportedError (sealed, or a
    library is missing), StorageError, DownloadError.
    """
    check_not_sealed_here(package_dir)
    old_bytes = read_manifest_bytes(package_dir)
    offer = read_offer(source, parse_manifest(old_bytes), package_dir.name, admit)
    return _plan(package_dir, old_bytes, offer, source, whole=whole, check=False)


def update(
    package_dir: Path,
    source: PackageSource,
    offer: Offer,
    *,
    whole: bool = False,
    keep_previous: bool = False,
    num_connections: int = 4,
    progress: Progress | None = None,
    allow: Callable[[int], None] = lambda _: None,
) -> Updated:
    """Make the offered version the one in use; the one before can be gone back to until the new one has answered, or,
    with keep_previous, until the next update. allow(num_bytes) is asked before they are fetched, and raises if that is
    too much. Raises as `look`, BusyError, and IntegrityError if what is offered contradicts itself."""
    package_dir = Path(os.path.realpath(package_dir))
    check_not_sealed_here(package_dir)
    with destination_lock(package_dir):
        with storage_errors(package_dir):
            settle(package_dir)
        old_bytes = read_manifest_bytes(package_dir)
        if old_bytes == offer.manifest_bytes:
            return Updated(version_id(old_bytes), version_id(old_bytes), 0, 0, 0, 0)
        with storage_errors(package_dir):
            _prepare(package_dir, offer)
        plan = _plan(package_dir, old_bytes, offer, source, whole=whole, check=True)
        allow(plan.fetch_bytes)
        work = _Work(package_dir, source, 1 if isinstance(source, DirectorySource) else num_connections, progress)
        work.run(plan)
        with storage_errors(package_dir):
            _vouch(package_dir, offer.manifest)
            for folder in (*(update_path(package_dir) / name for name in _FOLDERS), update_path(package_dir)):
                sync_dir(folder)
            switch_to_update(package_dir, keep_previous=keep_previous)
    return work.result(plan)


def roll_back(package_dir: Path) -> str:
    """Back to the version before the last update. Returns its id (SHA-256 of its manifest).

    Raises NotFoundError (there is none), IntegrityError, FormatError, BusyError, StorageError.
    """
    package_dir = Path(os.path.realpath(package_dir))
    read_manifest_bytes(package_dir)  # NotFoundError, FormatError for what is no package
    with destination_lock(package_dir), storage_errors(package_dir):
        go_back(package_dir)
    return version_id(read_manifest_bytes(package_dir))


def check_not_sealed_here(package_dir: Path) -> None:
    """Raises UnsupportedError."""
    if (package_dir / SEALED_NAME).exists():
        raise UnsupportedError(f"{package_dir} is sealed; unseal it first (`pocketseek unseal`), then update it")


def _plan(
    package_dir: Path, old_bytes: bytes, offer: Offer, source: PackageSource, *, whole: bool, check: bool
) -> UpdatePlan:
    old_id, new_id = version_id(old_bytes), version_id(offer.manifest_bytes)
    if old_id == new_id:
        return UpdatePlan(old_id, offer, ())
    deltas = {} if whole else read_deltas(source, old_id, new_id)
    with storage_errors(package_dir):
        steps = plan_steps(package_dir, parse_manifest(old_bytes), offer.manifest, deltas, check=check)
    return UpdatePlan(old_id, offer, steps)


def _prepare(package_dir: Path, offer: Offer) -> None:
    """The update directory of this version, with nothing in it that is of no use to it. The manifest comes last: an
    update directory without one counts as switched (package/switch.py). Raises OSError."""
    update = update_path(package_dir)
    if (update / MANIFEST_NAME).exists() and (update / MANIFEST_NAME).read_bytes() != offer.manifest_bytes:
        _keep_only_wanted(update, offer)
    for folder in _FOLDERS:
        (update / folder).mkdir(parents=True, exist_ok=True)
    (update / UNSIGNED_NAME).unlink(missing_ok=True)
    if offer.signature is not None:
        write_file(update / SIGNATURE_NAME, offer.signature)
    else:
        (update / SIGNATURE_NAME).unlink(missing_ok=True)
    write_file(update / f"{MANIFEST_NAME}.new", offer.manifest_bytes)
    os.replace(update / f"{MANIFEST_NAME}.new", update / MANIFEST_NAME)
    sync_dir(update)


def _keep_only_wanted(update: Path, offer: Offer) -> None:
    manifest = offer.manifest
    wanted = {chunk.sha256 for chunk in manifest.chunks} | {file.sha256 for file in manifest.files.values()}
    for folder in _FOLDERS:
        for path in list((update / folder).iterdir()) if (update / folder).is_dir() else ():
            if path.name.removesuffix(".part") not in wanted:
                remove_tree(path)


class _Work:
    """Fetches and applies, in the caller's thread where anything is decided."""

    def __init__(
        self, package_dir: Path, source: PackageSource, num_connections: int, progress: Progress | None
    ) -> None:
        self._package_dir = package_dir
        self._source = source
        self._num_connections = num_connections
        self._progress = progress
        self._by_path: dict[str, Step] = {}
        self._failed: list[Step] = []
        self._fetched_bytes = 0
        self._num_deltas = 0

    def run(self, plan: UpdatePlan) -> None:
        """Every chunk and file of the plan is in the update directory afterwards, checked and synced."""
        self._by_path = {step.wanted(self._package_dir).path: step for step in plan.steps}
        there = [step for step in plan.steps if self._is_delta_there(step)]
        to_fetch = [step.wanted(self._package_dir) for step in plan.steps if step not in there]
        with storage_errors(self._package_dir):
            missing_bytes = sum(file.missing_bytes for file in to_fetch)
        made_bytes = sum(step.entry.num_bytes for step in plan.steps if step.delta is not None)
        check_free_space(self._package_dir.parent, missing_bytes + made_bytes + _SPARE_BYTES if plan.steps else 0)
        for step in there:
            self._apply(step)
        self._fetch(to_fetch)
        if self._failed:
            self._fetch([step.whole(self._package_dir) for step in self._failed])

    def result(self, plan: UpdatePlan) -> Updated:
        num_whole = len(plan.steps) - self._num_deltas
        return Updated(plan.old, plan.new, self._fetched_bytes, self._num_deltas, num_whole, len(self._failed))

    def _fetch(self, files: Sequence[WantedFile]) -> None:
        with storage_errors(self._package_dir):
            self._fetched_bytes += sum(file.missing_bytes for file in files)
        fetch_all(
            self._source,
            files,
            num_connections=self._num_connections,
            progress=self._progress,
            finished=self._arrived,
        )

    def _arrived(self, file: WantedFile) -> None:
        step = self._by_path.get(file.path)
        if step is not None and step.delta is not None:
            self._apply(step)

    def _apply(self, step: Step) -> None:
        delta = step.wanted(self._package_dir).target
        try:
            apply_step(self._package_dir, step, delta)
            self._num_deltas += 1
        except (FormatError, IntegrityError):  # of the delta, or of a chunk here: the whole chunk needs neither
            self._failed.append(step)
        with storage_errors(delta):
            delta.unlink()

    def _is_delta_there(self, step: Step) -> bool:
        """Fetched by an earlier try and not applied."""
        if step.delta is None:
            return False
        target = step.wanted(self._package_dir).target
        if is_good(target, ChunkEntry(step.delta.sha256, step.delta.num_bytes, "", ()), None):
            return True
        with suppress(FileNotFoundError), storage_errors(target):
            target.unlink(missing_ok=True)
        return False


def _vouch(package_dir: Path, manifest: Manifest) -> None:
    """The marker knows the chunks of the new version, all of which were hashed, before they are used."""
    stamps = {}
    for chunk in manifest.unique_chunks():
        arrived = chunk_path(update_path(package_dir), chunk.sha256)
        place = arrived if arrived.exists() else chunk_path(package_dir, chunk.sha256)
        stamps[chunk.sha256] = stamp_of(place.stat())
    write_marker(package_dir, {**read_marker(package_dir), **stamps})
