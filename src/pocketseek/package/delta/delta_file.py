"""The file of a delta: how one chunk or file of a package comes out of those of an older version.

    bytes 0..7     "pskdelt1"
    u32, u32       bytes of the header as stored, and unpacked (little-endian)
    header         one zstd frame: JSON, below
    payloads       of the parts that have one, in order, up to the end of the file

    {"bases": [{"num_bytes", "sha256"}], "parts": [PART], "result": {"num_bytes", "sha256"}}

The parts, one after another, are the result's bytes:

    {"kind": "copy", "base", "offset", "num_bytes"}           bytes of a base
    {"kind": "zeros", "num_bytes"}
    {"kind": "whole", "num_bytes", "payload_bytes"}           one zstd frame
    {"kind": "patch", "base", "num_bytes", "payload_bytes"}   one zstd frame with a whole base as its dictionary
    {"kind": "tiles", "format", "cols", "num_rows", "payload_bytes"}      and, told by old rows, "base", "offset",
                                                                          "old_format"
    {"kind": "vector", "num_values", "payload_bytes", "base", "offset"}      float32, told by as many old ones

`parse_header` is the only place where it is read. What it lets through is within bounds: every run lies in its base,
sizes add up to the result's, and no part is larger than what the writer makes: tiles or values MAX_PART_CODES, a whole
MAX_WHOLE_BYTES, a patch MAX_PATCH_BYTES, copies and zeros a chunk, each with a payload hardly longer than what it
makes.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, Literal

from pocketseek.formats import BLOCK_COLS, FORMATS, MAX_CHUNK_BYTES, TILE_ROWS, num_blocks, tile_row_bytes
from pocketseek.package import zstd
from pocketseek.package.delta.byte_parts import delta_error
from pocketseek.package.paths import SHA256_PATTERN
from pocketseek.package.strict_json import Fields, JsonValue, load_object

MAGIC = b"pskdelt1"
MAX_DELTA_BYTES = MAX_CHUNK_BYTES
MAX_PATCH_BYTES = 32 << 20
MAX_PART_CODES = 1 << 20
MAX_WHOLE_BYTES = 4 * MAX_PART_CODES
MAX_TILE_COLS = MAX_PART_CODES // TILE_ROWS  # wider rows travel whole
_MAX_HEADER_BYTES = 4 << 20
_MAX_BASES = 1024
_MOST_BYTES: dict[str, int] = {"patch": MAX_PATCH_BYTES, "whole": MAX_WHOLE_BYTES}
_SIZES = struct.Struct("<II")
_WHERE = "delta"
_ANY = re.compile(r"[a-z0-9]{1,16}")

Kind = Literal["copy", "zeros", "whole", "patch", "tiles", "vector"]
_KEYS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "copy": (frozenset({"kind", "base", "offset", "num_bytes"}), frozenset()),
    "zeros": (frozenset({"kind", "num_bytes"}), frozenset()),
    "whole": (frozenset({"kind", "num_bytes", "payload_bytes"}), frozenset()),
    "patch": (frozenset({"kind", "base", "num_bytes", "payload_bytes"}), frozenset()),
    "tiles": (
        frozenset({"kind", "format", "cols", "num_rows", "payload_bytes"}),
        frozenset({"base", "offset", "old_format"}),
    ),
    "vector": (frozenset({"kind", "num_values", "payload_bytes", "base", "offset"}), frozenset()),
}


@dataclass(frozen=True)
class Blob:
    """A chunk or file by its hash."""

    sha256: str
    num_bytes: int


@dataclass(frozen=True)
class Part:
    """One run of the result. What does not belong to its kind is 0, "" or, for base, None."""

    kind: Kind
    num_bytes: int
    payload_bytes: int = 0
    base: int | None = None
    offset: int = 0
    format: str = ""
    old_format: str = ""
    cols: int = 0
    num_rows: int = 0

    @property
    def base_bytes(self) -> int:
        """How many bytes of the base, from offset on, it needs."""
        if self.base is None or self.kind == "patch":
            return 0
        if self.kind == "tiles":
            return self.num_rows * tile_row_bytes(self.old_format, self.cols)
        return self.num_bytes


@dataclass(frozen=True)
class DeltaHeader:
    result: Blob
    bases: tuple[Blob, ...]
    parts: tuple[Part, ...]


def most_rows(cols: int) -> int:
    """Tile rows of one part."""
    return max(1, MAX_PART_CODES // (num_blocks(cols) * BLOCK_COLS * TILE_ROWS))


def render_delta(header: DeltaHeader, payloads: Sequence[bytes]) -> bytes:
    tree = {
        "result": vars(header.result),
        "bases": [vars(base) for base in header.bases],
        "parts": [_part_fields(part) for part in header.parts],
    }
    text = json.dumps(tree, sort_keys=True, separators=(",", ":")).encode("ascii")
    frame = zstd.compress(text)
    return b"".join([MAGIC, _SIZES.pack(len(frame), len(text)), frame, *payloads])


def read_header(file: BinaryIO, file_bytes: int) -> DeltaHeader:
    """From the beginning of a file of that size; afterwards the first payload is next. Raises FormatError."""
    head = file.read(len(MAGIC) + _SIZES.size)
    if len(head) != len(MAGIC) + _SIZES.size or head[: len(MAGIC)] != MAGIC:
        raise delta_error("no delta, or of a newer version of pocketseek")
    frame_bytes, num_bytes = _SIZES.unpack(head[len(MAGIC) :])
    if frame_bytes > file_bytes - len(head) or num_bytes > _MAX_HEADER_BYTES:
        raise delta_error("its header is too long")
    header = parse_header(zstd.decompress(file.read(frame_bytes), num_bytes))
    if len(head) + frame_bytes + sum(part.payload_bytes for part in header.parts) != file_bytes:
        raise delta_error("it is shorter or longer than it says")
    return header


def parse_header(text: bytes) -> DeltaHeader:
    """Raises FormatError."""
    top = Fields(
        load_object(text, _WHERE, max_bytes=_MAX_HEADER_BYTES), _WHERE, frozenset({"result", "bases", "parts"})
    )
    if len(top.items("bases")) > _MAX_BASES:
        raise delta_error("too many bases")
    bases = tuple(_parse_blob(item, f"{_WHERE}: bases") for item in top.items("bases"))
    header = DeltaHeader(
        _parse_blob(top.raw("result"), f"{_WHERE}: result"),
        bases,
        tuple(_parse_part(item, f"{_WHERE}: parts[{index}]", bases) for index, item in enumerate(top.items("parts"))),
    )
    if sum(part.num_bytes for part in header.parts) != header.result.num_bytes:
        raise delta_error("its parts are not the size of the result")
    return header


def _parse_blob(value: JsonValue, where: str) -> Blob:
    fields = Fields(value, where, frozenset({"sha256", "num_bytes"}))
    return Blob(fields.text("sha256", SHA256_PATTERN), fields.integer("num_bytes", 0, 1 << 28))


def _parse_part(value: JsonValue, where: str, bases: Sequence[Blob]) -> Part:
    kind = _kind(value, where)
    fields = Fields(value, where, *_KEYS[kind])
    part = _parse_sizes(kind, fields, where, bases)
    if part.base is not None and part.offset + part.base_bytes > bases[part.base].num_bytes:
        raise delta_error("a part leaves its base")
    if part.payload_bytes > _most_payload(part.num_bytes):
        raise delta_error("a part is longer than what it makes")
    return part


def _most_payload(num_bytes: int) -> int:
    """The writer takes what is shorter; bytes that cannot be compressed take a frame and the heads of its blocks."""
    return num_bytes + (num_bytes >> 10) + 1024


def _kind(value: JsonValue, where: str) -> Kind:
    fields = Fields(value, where, frozenset({"kind"}), frozenset().union(*(a | b for a, b in _KEYS.values())))
    text = fields.text("kind", _ANY)
    kinds: dict[str, Kind] = {kind: kind for kind in ("copy", "zeros", "whole", "patch", "tiles", "vector")}
    if text not in kinds:
        raise delta_error(f"an unknown part {text!r}, perhaps of a newer version")
    return kinds[text]


def _parse_sizes(kind: Kind, fields: Fields, where: str, bases: Sequence[Blob]) -> Part:
    has_base = fields.has("base")
    base = fields.integer("base", 0, len(bases) - 1) if has_base else None
    offset = fields.integer("offset", 0, MAX_CHUNK_BYTES) if fields.has("offset") else 0
    payload_bytes = fields.integer("payload_bytes", 0, MAX_DELTA_BYTES) if fields.has("payload_bytes") else 0
    if kind == "tiles":
        cols = fields.integer("cols", 1, MAX_TILE_COLS)
        num_rows = fields.integer("num_rows", 1, most_rows(cols))
        format_name = _format(fields, "format")
        old_format = _format(fields, "old_format") if has_base else ""
        num_bytes = num_rows * tile_row_bytes(format_name, cols)
        return Part(kind, num_bytes, payload_bytes, base, offset, format_name, old_format, cols, num_rows)
    if kind == "vector":
        num_bytes = 4 * fields.integer("num_values", 1, MAX_PART_CODES)
    else:
        num_bytes = fields.integer("num_bytes", 0, _MOST_BYTES.get(kind, MAX_CHUNK_BYTES))
    if kind == "patch" and base is not None and bases[base].num_bytes > MAX_PATCH_BYTES:
        raise delta_error("a patch of something too large")
    return Part(kind, num_bytes, payload_bytes, base, offset)


def _format(fields: Fields, name: str) -> str:
    found = fields.text(name, _ANY)
    if found not in FORMATS:
        raise delta_error(f"an unknown tensor format {found!r}, perhaps of a newer version")
    return found


def _part_fields(part: Part) -> dict[str, JsonValue]:
    required, optional = _KEYS[part.kind]
    fields: dict[str, JsonValue] = {
        "kind": part.kind,
        "num_bytes": part.num_bytes,
        "payload_bytes": part.payload_bytes,
        "base": part.base,
        "offset": part.offset,
        "format": part.format,
        "old_format": part.old_format,
        "cols": part.cols,
        "num_rows": part.num_rows,
        "num_values": part.num_bytes // 4,
    }
    wanted = required | (optional if part.base is not None else frozenset())
    return {name: value for name, value in fields.items() if name in wanted}
