"""What is known of an installed package's health without reading it: for `inspect`, and for the page."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pocketseek.errors import FormatError, IntegrityError, NotFoundError, StorageError, UnsupportedError
from pocketseek.package.check_record import read_checked
from pocketseek.package.manifest import Manifest, read_manifest
from pocketseek.package.origin import Origin, read_origin
from pocketseek.package.paths import chunk_path, sealed_path


@dataclass(frozen=True)
class PackageState:
    """origin: None if nobody noted it. num_checked: chunks that were ever hashed here; checked_since_s: the longest ago
    that one of these was, in Unix seconds. damaged: hashes of chunks that are not there, whether in quarantine
    or gone."""

    origin: Origin | None
    num_chunks: int
    num_checked: int
    checked_since_s: int | None
    damaged: tuple[str, ...]


def package_state(package_dir: Path, manifest: Manifest) -> PackageState:
    hashes = [entry.sha256 for entry in manifest.unique_chunks()]
    times = read_checked(package_dir)
    known = [times[sha256] for sha256 in hashes if sha256 in times]
    missing = (one for one in hashes if not _is_there(chunk_path(package_dir, one)))
    return PackageState(
        read_origin(package_dir), len(hashes), len(known), min(known, default=None), tuple(sorted(missing))
    )


def can_be_repaired(package_dir: Path) -> bool:
    """Whether its manifest says what is right, and somebody noted where it came from."""
    try:
        read_manifest(package_dir)
    except (FormatError, IntegrityError, NotFoundError, StorageError, UnsupportedError):
        return False
    return read_origin(package_dir) is not None


def _is_there(chunk: Path) -> bool:
    """Plain or sealed."""
    return os.path.isfile(chunk) or os.path.isfile(sealed_path(chunk))
