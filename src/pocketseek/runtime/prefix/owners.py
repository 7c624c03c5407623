"""Whose the pages of a model are (names.py): a plain model's go with its manifest, a sealed one's with the sealing."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from pocketseek.package.manifest import Manifest, render_manifest
from pocketseek.runtime.prefix.names import short_name


def manifest_id(manifest: Manifest) -> str:
    """SHA-256 in hexadecimal."""
    return sha256(render_manifest(manifest)).hexdigest()


def plain_owner(manifest_id: str) -> str:
    return manifest_id[:32]


def sealed_owner(sealing: bytes) -> str:
    return sealing.hex()


def onnx_owner(folder: Path) -> str:
    """Of an ONNX model, or of the export of a package."""
    return short_name(str(folder.resolve()))
