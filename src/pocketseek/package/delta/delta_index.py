"""`deltas/<SHA-256 of an old manifest>.json` of a published package: what leads from that version to the present one.

    {"magic": "pocketseek-deltas", "format_version": 1, "old": SHA-256, "new": SHA-256, "deltas": [DELTA]}

A delta: {"result", "sha256", "num_bytes", "bases"}: the hash of the chunk or file that it makes, its own hash (it lies
in `deltas/<sha256>`), its size, and the hashes of the chunks or files of the old version that it takes. Chunks and
files without one travel whole. `parse_index` is the only place where one is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from pocketseek.errors import FormatError
from pocketseek.package.delta.delta_file import MAX_DELTA_BYTES
from pocketseek.package.paths import DELTAS_NAME, SHA256_PATTERN
from pocketseek.package.strict_json import Fields, JsonValue, format_error, load_object

INDEX_MAGIC = "pocketseek-deltas"
INDEX_VERSION = 1
MAX_INDEX_BYTES = 16 << 20
_MAX_BASES = 1024
_TOP = frozenset({"magic", "format_version", "old", "new", "deltas"})
_DELTA = frozenset({"result", "sha256", "num_bytes", "bases"})


@dataclass(frozen=True)
class DeltaEntry:
    result: str
    sha256: str
    num_bytes: int
    bases: tuple[str, ...]


@dataclass(frozen=True)
class DeltaIndex:
    """old, new: SHA-256 of the manifests."""

    old: str
    new: str
    deltas: tuple[DeltaEntry, ...]


def index_path(old: str) -> str:
    """Where the index of what leads from that version lies in a published package."""
    return f"{DELTAS_NAME}/{old}.json"


def delta_path(sha256: str) -> str:
    return f"{DELTAS_NAME}/{sha256}"


def render_index(index: DeltaIndex) -> bytes:
    tree = {"magic": INDEX_MAGIC, "format_version": INDEX_VERSION, **asdict(index)}
    return json.dumps(tree, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


def parse_index(data: bytes, where: str) -> DeltaIndex:
    """Raises FormatError."""
    value = load_object(data, where, max_bytes=MAX_INDEX_BYTES)
    if value.get("magic") != INDEX_MAGIC:
        raise format_error(where, f"no {INDEX_MAGIC!r} magic")
    if value.get("format_version") != INDEX_VERSION:
        raise FormatError(f"{where}: deltas of a newer version; update pocketseek")
    top = Fields(value, where, _TOP)
    deltas = tuple(_parse_delta(item, f"{where}: deltas[{number}]") for number, item in enumerate(top.items("deltas")))
    return DeltaIndex(top.text("old", SHA256_PATTERN), top.text("new", SHA256_PATTERN), deltas)


def _parse_delta(value: JsonValue, where: str) -> DeltaEntry:
    fields = Fields(value, where, _DELTA)
    return DeltaEntry(
        fields.text("result", SHA256_PATTERN),
        fields.text("sha256", SHA256_PATTERN),
        fields.integer("num_bytes", 1, MAX_DELTA_BYTES),
        _parse_hashes(fields.items("bases"), where),
    )


def _parse_hashes(values: Iterable[JsonValue], where: str) -> tuple[str, ...]:
    hashes: list[str] = []
    for value in values:
        if not isinstance(value, str) or not SHA256_PATTERN.fullmatch(value) or len(hashes) == _MAX_BASES:
            raise format_error(f"{where}.bases", "too many, or not all SHA-256 in lower-case hexadecimal")
        hashes.append(value)
    return tuple(hashes)
