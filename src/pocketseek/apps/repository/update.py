"""From the version in use to the one that a source offers: fetch, put together, check, switch.

What arrives lies in the update directory beside the package (package/switch.py has the states on disk), so a kill, a
power cut or a full disk at any moment leaves the version in use, and the next `update` goes on with what is there:
whole files as they are, parts of files as `.part`, deltas that were fetched and not applied. A delta whose result is
not what the manifest says (it lies, or a chunk here is damaged) is dropped and the chunk fetched whole. Nothing is
switched before every chunk and file of the new version has been hashed, here or on arrival. Chunks that another model
has are taken from there.

Of a sealed model all that arrives is sealed as it arrives (sealed_keeping.py), which takes its key. Engines that are
open go on with the version that they opened.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pocketseek.apps.repository.admission import Admit, by_form
from pocketseek.apps.repository.fetch import Progress
from pocketseek.apps.repository.keeping import Keeping, PlainKeeping
from pocketseek.apps.repository.local_chunks import LocalChunk, find_local
from pocketseek.apps.repository.receive import Offer
from pocketseek.apps.repository.sealed_keeping import SealedKeeping
from pocketseek.apps.repository.source import PackageSource
from pocketseek.apps.repository.update_plan import UpdatePlan, check_library, plan_steps, read_deltas, read_offer
from pocketseek.apps.repository.update_step import Step
from pocketseek.apps.repository.update_work import Updated, UpdateWork
from pocketseek.package.check_record import note_checked
from pocketseek.package.delta.fit import DeltaFit
from pocketseek.package.install import check_own_folders, remove_tree
from pocketseek.package.lock import destination_lock
from pocketseek.package.manifest import parse_manifest, read_manifest_bytes, version_id
from pocketseek.package.origin import Origin, write_origin
from pocketseek.package.paths import (
    CHUNKS_NAME,
    DELTAS_NAME,
    FILES_NAME,
    MANIFEST_NAME,
    ORIGIN_NAME,
    SEALED_SUFFIX,
    SIGNATURE_NAME,
    update_path,
)
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.package.sealing.seal_hold import SealHold, read_whole_record
from pocketseek.package.settle import UNSIGNED_NAME, settle
from pocketseek.package.storage import own_dir, storage_errors, sync_dir, write_file
from pocketseek.package.switch import go_back, read_signature, replace_origin, replace_signature, switch_to_update
from pocketseek.package.trust.signing import renewed_signature

_FOLDERS = (CHUNKS_NAME, FILES_NAME, DELTAS_NAME)


def look(
    package_dir: Path,
    source: PackageSource,
    *,
    whole: bool = False,
    admit: Admit = by_form,
    models_dir: Path | None = None,
) -> UpdatePlan:
    """What an update would take; changes nothing, and takes no key. whole: without deltas. admit: whether what is
    offered may be had. models_dir: where chunks may be that need not be fetched.

    Raises TrustError, NotFoundError, FormatError (package, or what the source has), UnsupportedError (a library is
    missing), UsageError (half sealed), StorageError, DownloadError.
    """
    old_bytes = read_manifest_bytes(package_dir)
    with storage_errors(package_dir):
        here = read_signature(package_dir)
    offer, renewed = read_offer(source, old_bytes, here, package_dir.name, admit)
    with _keeping(package_dir, None, is_looking=True) as keeping:
        plan = _plan(package_dir, old_bytes, offer, source, keeping, whole=whole, check=False)
    local = _elsewhere(plan, models_dir)
    steps = tuple(step for step in plan.steps if step.sha256 not in local)
    return replace(plan, steps=steps, new_signature=renewed)


def update(
    package_dir: Path,
    source: PackageSource,
    offer: Offer,
    *,
    secret: Secret | None = None,
    whole: bool = False,
    keep_previous: bool = False,
    models_dir: Path | None = None,
    address: str | None = None,
    num_connections: int = 4,
    progress: Progress | None = None,
    made: Progress | None = None,
    allow: Callable[[int], None] = lambda _: None,
) -> Updated:
    """Make the offered version the one in use; the one before can be gone back to until the new one has answered, or,
    with keep_previous, until the next update. progress: of what is fetched; made: of what is put together. secret: of a
    sealed model. address: noted as its origin, which stays otherwise. allow(num_bytes) is asked before so much is
    fetched in all, and again when deltas failed and it becomes more; it raises if that is too much, and what arrived
    stays. Raises as `look`, BusyError, SealError, and IntegrityError if what is offered contradicts itself."""
    package_dir = Path(os.path.realpath(package_dir))
    with destination_lock(package_dir):
        with storage_errors(package_dir):
            check_own_folders(package_dir)
            if update_path(package_dir).is_symlink():  # not ours: nothing is written through it
                update_path(package_dir).unlink()
            settle(package_dir)
        old_bytes = read_manifest_bytes(package_dir)
        if old_bytes == offer.manifest_bytes:
            return _refreshed(package_dir, offer, address)
        with _keeping(package_dir, secret) as keeping:
            with storage_errors(package_dir):
                _prepare(package_dir, offer, None if address is None else Origin.now(address))
            plan = _plan(package_dir, old_bytes, offer, source, keeping, whole=whole, check=True)
            fit = DeltaFit(parse_manifest(old_bytes), offer.manifest)
            work = UpdateWork(package_dir, source, keeping, fit, num_connections, progress, made)
            plan = work.take_local(plan, _elsewhere(plan, models_dir))
            work.run(plan, allow)
            arrived = [step.sha256 for step in (*plan.steps, *work.taken) if step.entry.segments]
            with storage_errors(package_dir):
                for folder in (*(update_path(package_dir) / name for name in _FOLDERS), update_path(package_dir)):
                    sync_dir(folder)
                keeping.vouch(offer)
                switch_to_update(package_dir, keep_previous=keep_previous)
            note_checked(package_dir, arrived, int(time.time()))
    return work.result(plan)


def sign_anew(package_dir: Path, offer: Offer) -> Updated:
    """Take the signatures that are offered of the version that is here; they were judged (`look`). Raises BusyError,
    StorageError, UnsupportedError."""
    package_dir = Path(os.path.realpath(package_dir))
    with destination_lock(package_dir), storage_errors(package_dir):
        settle(package_dir)
        return _refreshed(package_dir, offer, None)


def roll_back(package_dir: Path) -> str:
    """Back to the version before the last update. Returns its id (SHA-256 of its manifest).

    A sealed one stays sealed, and no key is needed. Raises NotFoundError (there is none), IntegrityError, FormatError,
    BusyError, StorageError.
    """
    package_dir = Path(os.path.realpath(package_dir))
    read_manifest_bytes(package_dir)  # NotFoundError, FormatError for what is no package
    with destination_lock(package_dir), storage_errors(package_dir):
        go_back(package_dir)
    return version_id(read_manifest_bytes(package_dir))


@contextmanager
def _keeping(package_dir: Path, secret: Secret | None, *, is_looking: bool = False) -> Iterator[Keeping]:
    """is_looking: nothing is to be received, so that no key is needed."""
    record = read_whole_record(package_dir, parse_manifest(read_manifest_bytes(package_dir)))
    keeping: Keeping
    if record is None:
        keeping = PlainKeeping(package_dir)
    else:
        hold = None if is_looking else SealHold.open(package_dir, record, secret)
        keeping = SealedKeeping(package_dir, record, hold)
    try:
        yield keeping
    finally:
        keeping.close()


def _refreshed(package_dir: Path, offer: Offer, address: str | None) -> Updated:
    """The version is here: its signature, and where it comes from, may be new."""
    version = version_id(offer.manifest_bytes)
    with storage_errors(package_dir):
        if address is not None:
            replace_origin(package_dir, Origin.now(address))
        renewed = renewed_signature(read_signature(package_dir), offer.signature, offer.manifest_bytes)
        if renewed is not None:
            replace_signature(package_dir, renewed)
    return Updated(version, version, is_signed_anew=renewed is not None)


def _plan(
    package_dir: Path,
    old_bytes: bytes,
    offer: Offer,
    source: PackageSource,
    keeping: Keeping,
    *,
    whole: bool,
    check: bool,
) -> UpdatePlan:
    old_id, new_id = version_id(old_bytes), version_id(offer.manifest_bytes)
    if old_id == new_id:
        return UpdatePlan(old_id, offer, ())
    deltas = {} if whole else read_deltas(source, old_id, new_id)
    with storage_errors(package_dir):
        steps = plan_steps(keeping, parse_manifest(old_bytes), offer.manifest, deltas, check=check)
        kept = _kept(package_dir, offer, steps, keeping.suffix)
    check_library(steps)
    return UpdatePlan(old_id, offer, steps, kept=kept)


def _kept(package_dir: Path, offer: Offer, steps: Sequence[Step], suffix: str) -> Mapping[str, int]:
    """What an earlier try left of the same version, by size; what is damaged of it is found when it is taken."""
    manifest = update_path(package_dir) / MANIFEST_NAME
    if not manifest.is_file() or manifest.read_bytes() != offer.manifest_bytes:
        return {}
    wanted = {step.sha256: step.wanted(package_dir, suffix) for step in steps}
    return {sha256: file.num_bytes - file.missing_bytes for sha256, file in wanted.items()}


def _elsewhere(plan: UpdatePlan, models_dir: Path | None) -> Mapping[str, LocalChunk]:
    """Chunks of the plan that other models have, by hash and size."""
    sizes = {step.sha256: step.entry.num_bytes for step in plan.steps if step.entry.segments}
    if models_dir is None or not sizes:
        return {}
    with storage_errors(models_dir):
        found = find_local(models_dir, sizes)
        return {
            sha256: local
            for sha256, local in found.items()
            if local.path.is_file() and local.path.stat().st_size == sizes[sha256]
        }


def _prepare(package_dir: Path, offer: Offer, origin: Origin | None) -> None:
    """The update directory of this version, with nothing in it that is of no use to it. The manifest comes last: an
    update directory without one is removed (package/switch.py). Raises OSError."""
    update = update_path(package_dir)
    for folder in (update, *(update / name for name in _FOLDERS)):
        own_dir(folder)
    if (update / MANIFEST_NAME).exists() and (update / MANIFEST_NAME).read_bytes() != offer.manifest_bytes:
        _keep_only_wanted(update, offer)
    (update / UNSIGNED_NAME).unlink(missing_ok=True)
    if offer.signature is not None:
        write_file(update / SIGNATURE_NAME, offer.signature)
    else:
        (update / SIGNATURE_NAME).unlink(missing_ok=True)
    if origin is not None:
        write_origin(update, origin)
    else:
        (update / ORIGIN_NAME).unlink(missing_ok=True)
    write_file(update / f"{MANIFEST_NAME}.new", offer.manifest_bytes)
    os.replace(update / f"{MANIFEST_NAME}.new", update / MANIFEST_NAME)
    sync_dir(update)


def _keep_only_wanted(update: Path, offer: Offer) -> None:
    manifest = offer.manifest
    wanted = {chunk.sha256 for chunk in manifest.chunks} | {file.sha256 for file in manifest.files.values()}
    for folder in _FOLDERS:
        for path in list((update / folder).iterdir()):
            if path.name.removesuffix(".part").removesuffix(SEALED_SUFFIX) not in wanted:
                remove_tree(path)
