"""What is known of an installed package's health without reading it: for `inspect`, and for the page."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pocketseek.package.check_record import read_checked
from pocketseek.package.manifest import Manifest
from pocketseek.package.origin import Origin, read_origin
from pocketseek.package.paths import chunk_path


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
    is_sealed = (package_dir / "sealed.json").exists()  # then the chunks have other names
    missing = () if is_sealed else (one for one in hashes if not os.path.isfile(chunk_path(package_dir, one)))
    return PackageState(
        read_origin(package_dir), len(hashes), len(known), min(known, default=None), tuple(sorted(missing))
    )
