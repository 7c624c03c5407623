"""Names on disk: what a package directory holds, and the hidden neighbours that a writer needs beside it.

For a destination `models/tiny` the neighbours are `models/.tiny.pocketseek-partial` (being written),
`.tiny.pocketseek-resume` (what an interrupted writer needs to go on), `.tiny.pocketseek-update` (what arrived of the
next version), `.tiny.pocketseek-trash` (being removed) and `.tiny.pocketseek-lock` (held with flock by whoever changes
any of them).
"""

from __future__ import annotations

import re
from pathlib import Path

from pocketseek.errors import UsageError

MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "manifest.sig"
MARKER_NAME = "verified.json"
MARKER_TEMP_PREFIX = ".verified-"
SEAL_NAME = "sealed.json"
SEAL_TEMP_NAME = ".sealed-new.json"
SEALED_SUFFIX = ".sealed"
SEAL_WORK_SUFFIX = ".work"
SIGNING_TEMP_PREFIX = ".signing-"
TEMP_PREFIXES = (MARKER_TEMP_PREFIX, SIGNING_TEMP_PREFIX)
ORIGIN_NAME = "origin.json"
CHECKED_NAME = "checked.json"
QUARANTINE_NAME = "quarantine"
DOWNLOAD_NAME = "download"  # in the resume directory: the partial directory is of a download
PREVIOUS_NAME = "previous.json"  # the six of switch.py
PREVIOUS_SIGNATURE_NAME = "previous.sig"
PREVIOUS_ORIGIN_NAME = "previous.origin"
KEEP_NAME = "previous.keep"
ANSWERED_NAME = "previous.answered"
GOING_BACK_NAME = "previous.back"
DELTAS_NAME = "deltas"
CHUNKS_NAME = "chunks"
FILES_NAME = "files"

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")
SEALING_PATTERN = re.compile(r"[0-9a-f]{32}")
WRAPPED_PATTERN = re.compile(r"[0-9a-f]{96}")

_NEIGHBOUR_PATTERN = re.compile(r"\.(.+)\.pocketseek-(?:partial|resume|update|trash|lock)", re.DOTALL)


def check_model_name(name: str) -> str:
    """The name itself. Raises UsageError if it cannot name an installed model."""
    if not NAME_PATTERN.fullmatch(name):
        raise UsageError(
            f"{name[:120]!r} cannot be a model name; use 1 to 100 letters, digits, dots, dashes and underscores, "
            "starting with a letter or digit"
        )
    return name


def chunk_path(package_dir: Path, sha256: str) -> Path:
    return package_dir / CHUNKS_NAME / sha256


def file_path(package_dir: Path, sha256: str) -> Path:
    return package_dir / FILES_NAME / sha256


def sealed_path(plain: Path) -> Path:
    """Of a chunk or file, its sealed twin."""
    return plain.with_name(plain.name + SEALED_SUFFIX)


def partial_path(destination: Path) -> Path:
    return _neighbour(destination, "partial")


def resume_path(destination: Path) -> Path:
    return _neighbour(destination, "resume")


def update_path(destination: Path) -> Path:
    return _neighbour(destination, "update")


def trash_path(destination: Path) -> Path:
    return _neighbour(destination, "trash")


def lock_path(destination: Path) -> Path:
    return _neighbour(destination, "lock")


def neighbour_owner(path: Path) -> Path | None:
    """The destination that a hidden neighbour belongs to; None for any other path."""
    match = _NEIGHBOUR_PATTERN.fullmatch(path.name)
    return path.with_name(match.group(1)) if match else None


def _neighbour(destination: Path, role: str) -> Path:
    return destination.with_name(f".{destination.name}.pocketseek-{role}")
