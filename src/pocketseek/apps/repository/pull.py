"""`pull`: a model from elsewhere, installed.

A package of ours is installed as it is published (receive.py); a repository of a model hub that holds a checkpoint is
downloaded and converted (hub_download.py). Both go on where they were when they were interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pocketseek.apps.repository.admission import Admit, by_form, check_not_sealed
from pocketseek.apps.repository.open_source import HubCheckpoint, Link, Opened, find
from pocketseek.apps.repository.receive import Offer, receive
from pocketseek.apps.repository.source import PackageSource
from pocketseek.convert.provenance import sanitised
from pocketseek.convert.recipe import Quant
from pocketseek.errors import FormatError, IntegrityError, NotFoundError, UsageError
from pocketseek.package.manifest import MAX_MANIFEST_BYTES, Manifest, read_manifest
from pocketseek.package.paths import MANIFEST_NAME, SIGNATURE_NAME, check_model_name
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
class Consent:
    """Asked before something happens; each raises if it may not. allow_fetching(num_bytes); allow_replacing(name): an
    installed model with other content; admit: whether a package may be installed at all."""

    allow_fetching: Callable[[int], None] = lambda _: None
    allow_replacing: Callable[[str], None] = lambda _: None
    admit: Admit = by_form


@dataclass(frozen=True)
class Pulled:
    """num_bytes: of the package. fetched_bytes: now; local_bytes: shared with models that were here already. kept: the
    download of a converted model, if it stays."""

    name: str
    path: Path
    address: str
    num_bytes: int
    fetched_bytes: int
    local_bytes: int = 0
    is_converted: bool = False
    kept: Path | None = None


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
        consent.allow_replacing(name)
    consent.admit(old, name, offer.manifest_bytes, offer.signature)
    received = receive(
        found.source,
        offer,
        destination,
        models_dir=models_dir,
        address=found.address,
        num_connections=link.num_connections,
        progress=lambda done_bytes, total_bytes: report("download", done_bytes, total_bytes),
        allow=consent.allow_fetching,
    )
    return Pulled(name, received.path, found.address, received.num_bytes, received.fetched_bytes, received.local_bytes)


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
    if _installed(ModelStore(models_dir).path_for_new(name)) is not None:
        consent.allow_replacing(name)
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
