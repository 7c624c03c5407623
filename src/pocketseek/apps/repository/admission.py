"""Whether what a source offers may become an installed model.

For now only what it says about itself is checked (a consistent manifest); who signed it and whether it is older than
what is installed is judged here as soon as there are signatures.
"""

from __future__ import annotations

from pocketseek.errors import UnsupportedError
from pocketseek.package.manifest import Manifest, parse_manifest


def check_admissible(old: Manifest | None, manifest_bytes: bytes, signature: bytes | None) -> Manifest:
    """The manifest that may be installed in place of `old`. Raises FormatError."""
    return parse_manifest(manifest_bytes)


def check_not_sealed(sealed: bytes | None, where: str) -> None:
    """Raises UnsupportedError for a package whose chunks only its owner can read. sealed: its sealed.json; a page that
    some servers send for whatever they have not is none."""
    if sealed is not None and sealed.lstrip().startswith(b"{"):
        raise UnsupportedError(f"{where} is a sealed package; copy the folder and unseal it, or publish it unsealed")
