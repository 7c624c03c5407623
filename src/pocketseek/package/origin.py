"""`origin.json` beside a manifest: where the package was pulled from, so that damaged chunks can be fetched again.

It is no part of the package: the manifest stays as it was published, and a missing or damaged origin is no error.
The address holds no credentials. Nothing is fetched from it without a manifest to check what comes.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from pocketseek.errors import FormatError
from pocketseek.package.paths import ORIGIN_NAME
from pocketseek.package.storage import read_plain, write_file
from pocketseek.package.strict_json import Fields, load_object

_MAX_BYTES = 16 * 1024
_ADDRESS = re.compile(r"[^\x00-\x1f\x7f]{1,4096}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@dataclass(frozen=True)
class Origin:
    """address: as `pull` takes it. pulled_at: UTC, 2026-01-31T12:00:00Z."""

    address: str
    pulled_at: str

    @classmethod
    def now(cls, address: str) -> Origin:
        return cls(address, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))


def read_origin(package_dir: Path) -> Origin | None:
    """None if nobody knows."""
    try:
        data = read_plain(package_dir / ORIGIN_NAME, _MAX_BYTES)
        required = frozenset({"address", "pulled_at"})
        fields = Fields(load_object(data, ORIGIN_NAME, max_bytes=_MAX_BYTES), ORIGIN_NAME, required)
        return Origin(fields.text("address", _ADDRESS), fields.text("pulled_at", _TIME))
    except (OSError, FormatError):
        return None


def render_origin(origin: Origin) -> bytes:
    return json.dumps(asdict(origin), sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


def write_origin(package_dir: Path, origin: Origin) -> None:
    """Not in one step: where nobody reads it yet. Raises OSError."""
    write_file(package_dir / ORIGIN_NAME, render_origin(origin))
