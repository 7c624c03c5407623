"""`pull`: a model from elsewhere, installed.

A package of ours is installed as it is published (receive.py); over an installed model it is an update (update.py),
which keeps that as the version before, and keeps it sealed. A repository of a model hub that holds a checkpoint is
downloaded and converted (hub_download.py). All go on where they were when they were interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from pocketseek.apps.repository.admission import Admit, by_form, check_not_sealed
from pocketseek.apps.repository.open_source import HubCheckpoint, Link, Opened, find
from pocketseek.apps.repository.receive import Offer, receive
from pocketseek.apps.repository.repair import examine, repair
from pocketseek.apps.repository.source import PackageSource
from pocketseek.apps.repository.update import update
from pocketseek.apps.repository.versions import has_previous
from pocketseek.convert.provenance import sanitised
from pocketseek.convert.recipe import Quant
from pocketseek.errors import FormatError, IntegrityError, NotFoundError, UsageError
from pocketseek.package import zstd
from pocketseek.package.manifest import MAX_MANIFEST_BYTES, Manifest, read_manifest, read_manifest_bytes
from pocketseek.package.paths import MANIFEST_NAME, SIGNATURE_NAME, check_model_name
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.package.sealing.seal_record import read_record
from pocketseek.package.store import ModelStore

Progress = Callable[[str, int, int], None]  # "download" or "convert", done bytes, total bytes

MAX_SIGNATURE_BYTES = 64 * 1024
_MAX_SEALED_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class PullOptions:
    """name: what the model is called here; default: as where it comes from. quant, file_name, keep_download: of a
    checkpoint that is converted; file_name: which of several GGUF files."""

    name: str | None = None
    quant: Quant | None = None
    file_name: str | None = None
    keep_download: bool = False


@dataclass(frozen=True)
class Replacing:
    """The model `name`, installed at `path`, would give way to what is at the address. offer: None of a checkpoint,
    which is converted and has no signature."""

    name: str
    path: Path
    old: Manifest
    address: str
    offer: Offer | None


@dataclass(frozen=True)
class Consent:
    """Asked before something happens; each raises if it may not. allow_fetching(num_bytes); allow_replacing: an
    installed model with other content; admit: whether a package may be installed at all. unlocked: the secret of a
    sealed model that is installed, closed after use; None of a plain one."""

    allow_fetching: Callable[[int], None] = lambda _: None
    allow_replacing: Callable[[Replacing], None] = lambda _: None
    admit: Admit = by_form
    unlocked: Callable[[Path], AbstractContextManager[Secret | None]] = lambda _: nullcontext()


@dataclass(frozen=True)
class Pulled:
    """num_bytes: of the package. fetched_bytes: now; local_bytes: shared with models that were here already. kept: the
    download of a converted model, if it stays. has_previous: what was here before can be gone back to."""

    name: str
    path: Path
    address: str
    num_bytes: int
    fetched_bytes: int
    local_bytes: int = 0
    is_converted: bool = False
    kept: Path | None = None
    has_previous: bool = False


def pull(
    address: str,
    link: Link,
    *,
    models_dir: Path,
    downloads_dir: Path,
    options: PullOptions | None = None,
    consent: Consent | None = None,
    progress: Progress | None = None,
) -> Pulled:
    """Raises NotFoundError, UsageError, FormatError, UnsupportedError, DownloadError, StorageError, BusyError, and what
    `consent` raises."""
    options, consent = options or PullOptions(), consent or Consent()
    report = progress or (lambda phase, done_bytes, total_bytes: None)
    if options.name is not None:
        check_model_name(options.name)
    found = find(address, link)
    if isinstance(found, HubCheckpoint):
        try:
            return _pull_checkpoint(found, link, models_dir, downloads_dir, options, consent, report)
        finally:
            found.client.close()
    try:
        return _pull_package(found, link, models_dir, options, consent, report)
    finally:
        found.source.close()


def read_offer(source: PackageSource) -> Offer:
    """What a source offers, not admitted yet. Raises NotFoundError, FormatError, UnsupportedError."""
    manifest_bytes = source.read(MANIFEST_NAME, MAX_MANIFEST_BYTES)
    if manifest_bytes is None:
        raise NotFoundError(
            f"{source.name} has no {MANIFEST_NAME}; check the address: it is that of a package's folder"
        )
    check_not_sealed(source.read("sealed.json", _MAX_SEALED_BYTES), source.name)
    signature = source.read(SIGNATURE_NAME, MAX_SIGNATURE_BYTES)
    try:
        return Offer(by_form(None, None, manifest_bytes, signature), manifest_bytes, signature)
    except FormatError as error:
        raise FormatError(f"{source.name}: {error}") from error


def _pull_package(
    found: Opened, link: Link, models_dir: Path, options: PullOptions, consent: Consent, report: Progress
) -> Pulled:
    if options.quant is not None or options.file_name is not None:
        raise UsageError(f"{found.address} is a finished package; leave out --quant and --file, which are for others")
    store = ModelStore(models_dir)
    offer = read_offer(found.source)
    name = check_model_name(options.name or offer.manifest.name)
    destination = store.path_for_new(name)
    if os.path.exists(destination) and os.path.realpath(found.address) == os.path.realpath(destination):
        raise UsageError(f"{found.address} is the installed model {name} itself; there is nothing to pull")
    old = _installed(destination)
    if old is not None and old != offer.manifest:
        consent.allow_replacing(Replacing(name, destination, old, found.address, offer))
    is_other = old is not None and old.name != offer.manifest.name  # which allow_replacing has consented to
    consent.admit(None if is_other else old, name, offer.manifest_bytes, offer.signature)
    report_bytes = _as_download(report)
    if old is None or _is_free_to_receive(destination, offer):
        received = receive(
            found.source,
            offer,
            destination,
            models_dir=models_dir,
            address=found.address,
            num_connections=link.num_connections,
            progress=report_bytes,
            allow=consent.allow_fetching,
        )
        sizes = received.num_bytes, received.fetched_bytes, received.local_bytes
        return Pulled(name, received.path, found.address, *sizes)
    if read_manifest_bytes(destination) == offer.manifest_bytes:
        return _mend(found, offer, link, destination, models_dir, consent, report_bytes)
    return _change(found, offer, link, destination, models_dir, consent, report_bytes)


def _is_free_to_receive(destination: Path, offer: Offer) -> bool:
    """Whether it is the version that is here, as it was installed: nothing has to be kept beside it."""
    if read_record(destination) is not None or has_previous(destination):
        return False
    return read_manifest_bytes(destination) == offer.manifest_bytes


def _mend(
    found: Opened,
    offer: Offer,
    link: Link,
    destination: Path,
    models_dir: Path,
    consent: Consent,
    report: Callable[[int, int], None],
) -> Pulled:
    """It is the version that is here: what is damaged of it is fetched, and a new signature taken."""
    damaged = examine(destination, report)
    fetched_bytes = 0
    if damaged:
        with consent.unlocked(destination) as secret:
            repaired = repair(
                destination,
                damaged,
                link,
                models_dir=models_dir,
                source=found.source,
                secret=secret,
                progress=report,
                allow=consent.allow_fetching,
            )
        fetched_bytes = repaired.fetched_bytes
    update(destination, found.source, offer, address=found.address, allow=consent.allow_fetching)
    return Pulled(destination.name, destination, found.address, offer.manifest.num_bytes, fetched_bytes)


def _change(
    found: Opened,
    offer: Offer,
    link: Link,
    destination: Path,
    models_dir: Path,
    consent: Consent,
    report: Callable[[int, int], None],
) -> Pulled:
    """What is here stays beside it as the version before."""
    with consent.unlocked(destination) as secret:
        updated = update(
            destination,
            found.source,
            offer,
            secret=secret,
            whole=not zstd.is_there(),
            models_dir=models_dir,
            address=found.address,
            num_connections=link.num_connections,
            progress=report,
            allow=consent.allow_fetching,
        )
    return Pulled(
        destination.name,
        destination,
        found.address,
        offer.manifest.num_bytes,
        updated.fetched_bytes,
        updated.local_bytes,
        has_previous=True,
    )


def _as_download(report: Progress) -> Callable[[int, int], None]:
    return lambda done_bytes, total_bytes: report("download", done_bytes, total_bytes)


def _pull_checkpoint(
    found: HubCheckpoint,
    link: Link,
    models_dir: Path,
    downloads_dir: Path,
    options: PullOptions,
    consent: Consent,
    report: Progress,
) -> Pulled:
    from pocketseek.apps.repository.hub import choose_checkpoint
    from pocketseek.apps.repository.hub_download import convert_from_hub

    repository = found.repository.name
    checkpoint = choose_checkpoint(found.repository, options.file_name)
    name = check_model_name(options.name or sanitised(repository.name.rpartition("/")[2]))
    destination = ModelStore(models_dir).path_for_new(name)
    old = _installed(destination)
    if old is not None:
        consent.allow_replacing(Replacing(name, destination, old, str(repository), None))
    converted = convert_from_hub(
        found,
        checkpoint,
        link,
        name=name,
        quant=options.quant,
        models_dir=models_dir,
        downloads_dir=downloads_dir,
        keep_download=options.keep_download,
        allow=consent.allow_fetching,
        progress=report,
    )
    num_bytes = read_manifest(converted.path).num_bytes
    return Pulled(
        name,
        converted.path,
        str(repository),
        num_bytes,
        converted.fetched_bytes,
        is_converted=True,
        kept=converted.kept,
    )


def _installed(destination: Path) -> Manifest | None:
    """None also for one whose manifest is damaged: whatever comes is better."""
    try:
        return read_manifest(destination)
    except (NotFoundError, FormatError, IntegrityError):
        return None
