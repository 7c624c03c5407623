"""Small JSON records beside a manifest that only ever save work or tell something: `{"chunks": {SHA-256: value}}`.

A missing or damaged record says nothing, and one that cannot be written is no error. Replaced in one step; what a crash
leaves has a name that `ModelStore.clean` knows.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pocketseek.errors import FormatError
from pocketseek.package.paths import MARKER_TEMP_PREFIX, SHA256_PATTERN
from pocketseek.package.storage import read_plain, write_all
from pocketseek.package.strict_json import Fields, JsonValue, load_object

_MAX_BYTES = 4 * 1024 * 1024


def read_side_record(package_dir: Path, name: str) -> Mapping[str, JsonValue]:
    """Values by chunk hash, not checked; empty if there is no usable record."""
    try:
        data = read_plain(package_dir / name, _MAX_BYTES)
        fields = Fields(load_object(data, name, max_bytes=_MAX_BYTES), name, frozenset({"chunks"}))
        chunks = fields.mapping("chunks")
    except (OSError, FormatError):
        return {}
    return {sha256: value for sha256, value in chunks.items() if SHA256_PATTERN.fullmatch(sha256)}


def write_side_record(package_dir: Path, name: str, chunks: Mapping[str, str | int]) -> None:
    data = json.dumps({"chunks": dict(chunks)}, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"
    temporary = package_dir / f"{MARKER_TEMP_PREFIX}{secrets.token_hex(8)}"
    with suppress(OSError):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            write_all(descriptor, data)
            os.replace(temporary, package_dir / name)
        except OSError:
            os.unlink(temporary)
        finally:
            os.close(descriptor)
