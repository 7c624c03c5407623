"""`checked.json` in a package: when each chunk was last hashed and found good, in Unix seconds.

It says when a chunk is due again (apps/repository/scrub.py) and what `inspect` shows; it vouches for nothing (that is
marker.py). A missing or damaged record means that nobody knows, and one that cannot be written is no error.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from pocketseek.errors import FormatError
from pocketseek.package.paths import CHECKED_NAME, MARKER_TEMP_PREFIX, SHA256_PATTERN
from pocketseek.package.storage import write_all
from pocketseek.package.strict_json import Fields, load_object

_MAX_BYTES = 4 * 1024 * 1024
_LATEST_S = 2**37  # after the year 6000


def read_checked(package_dir: Path) -> Mapping[str, int]:
    """Times by chunk hash."""
    try:
        with (package_dir / CHECKED_NAME).open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        fields = Fields(load_object(data, CHECKED_NAME, max_bytes=_MAX_BYTES), CHECKED_NAME, frozenset({"chunks"}))
        times = fields.mapping("chunks")
    except (OSError, FormatError):
        return {}
    return {
        sha256: time_s
        for sha256, time_s in times.items()
        if SHA256_PATTERN.fullmatch(sha256) and isinstance(time_s, int) and 1 < time_s < _LATEST_S
    }


def note_checked(package_dir: Path, chunks: Iterable[str], time_s: int) -> None:
    """These chunks were found good at that time; what is known of others stays."""
    write_checked(package_dir, {**read_checked(package_dir), **dict.fromkeys(chunks, time_s)})


def write_checked(package_dir: Path, times: Mapping[str, int]) -> None:
    """Replace the record in one step."""
    data = json.dumps({"chunks": dict(times)}, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"
    temporary = package_dir / f"{MARKER_TEMP_PREFIX}{secrets.token_hex(8)}"  # which `clean` knows
    with suppress(OSError):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            write_all(descriptor, data)
            os.replace(temporary, package_dir / CHECKED_NAME)
        except OSError:
            os.unlink(temporary)
        finally:
            os.close(descriptor)
