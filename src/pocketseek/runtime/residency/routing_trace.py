"""Routing traces: which experts every row of every pass chose, in a file. They follow from weights and text alone.

    {"format": 1, "kind": "pocketseek routing trace", ...}\\n      one line of JSON, the fields of TraceHeader
    then pass after pass, little-endian:
        u32 rows, u32 answered, u32 misses, f32 compute_s, f32 waited_s
        chosen experts [layers][rows][experts_per_token], ascending in each row; u8, or u16 if there are more than 256

answered: rows whose logits were wanted, which in decoding are the tokens that come out. misses: experts that were not
in memory when a layer needed them. compute_s: the pass without what it waited for storage; waited_s: that. `pocketseek
bench --trace` writes such files, `--replay` reads them. A trace does not hold the text, but whoever has the model may
guess parts of it: treat it as you would the text.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import FormatError, NotFoundError, StorageError, UnsupportedError
from pocketseek.package.storage import write_file
from pocketseek.package.strict_json import Fields, JsonValue, as_integer, load_object

FORMAT, KIND = 1, "pocketseek routing trace"
MAX_ROWS, MAX_LAYERS, MAX_EXPERTS = 1 << 16, 1 << 12, 1 << 16
MAX_KEYS = 1 << 20  # of all layers: policies set aside room for each; V3 and R1 have 14,848
_MAX_BYTES = 1 << 50
_MAX_HEADER_BYTES = 64 * 1024
_PASS = struct.Struct("<IIIff")
_TEXT = re.compile(r"[^\x00-\x1f\x7f]{0,200}")
_HEX = re.compile(r"[0-9a-f]{64}")
Chosen = NDArray[np.int32]
"""(layers, rows, experts_per_token)"""


@dataclass(frozen=True)
class TraceHeader:
    """What the passes belong to, and what has to be known to replay them elsewhere.

    layers: those with experts, ascending. slot_bytes: an expert in memory, slot_read_bytes: what is read for one, both
    the largest. shared_bytes: shared experts of all layers, which are computed while the others are read; always_bytes:
    all that a pass reads besides experts, shared ones included. beside_bytes: memory that is not for experts: the
    process, always-needed weights, K and V of the run.
    """

    model: str
    manifest_sha256: str
    layers: tuple[int, ...]
    num_experts: int
    experts_per_token: int
    slot_bytes: int
    slot_read_bytes: int
    shared_bytes: int
    always_bytes: int
    beside_bytes: int

    @property
    def index_type(self) -> np.dtype[np.unsignedinteger]:
        return np.dtype("<u1" if self.num_experts <= 256 else "<u2")

    @property
    def num_keys(self) -> int:
        """Experts of all layers."""
        return len(self.layers) * self.num_experts


@dataclass(frozen=True)
class TracePass:
    """One pass; see the top of the file."""

    chosen: Chosen
    answered: int
    misses: int
    compute_s: float
    waited_s: float

    @property
    def num_rows(self) -> int:
        return int(self.chosen.shape[1])

    def distinct(self) -> Iterator[NDArray[np.int32]]:
        """Of each layer the experts that the pass used, ascending."""
        for rows in self.chosen:
            yield rows[0] if len(rows) == 1 else np.unique(rows)


def write_trace(path: Path, header: TraceHeader, passes: Iterable[TracePass]) -> None:
    """Whole or not at all. Raises StorageError."""
    fields = {"format": FORMAT, "kind": KIND, **asdict(header)}
    parts = [json.dumps(fields, separators=(",", ":")).encode("ascii"), b"\n"]
    for one in passes:
        parts.append(_PASS.pack(one.num_rows, one.answered, one.misses, one.compute_s, one.waited_s))
        parts.append(one.chosen.astype(header.index_type).tobytes())
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        write_file(temporary, b"".join(parts))
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StorageError(f"{path} cannot be written ({error.strerror}); choose another file") from error


def read_trace(path: Path) -> tuple[TraceHeader, list[TracePass]]:
    """All of a file. Raises NotFoundError, StorageError, FormatError, UnsupportedError (a newer format)."""
    try:
        with path.open("rb") as file:
            header = _read_header(file, path.name)
            return header, list(_read_passes(file, header, path.name))
    except FileNotFoundError as error:
        raise NotFoundError(f"no file {path}; record one with `pocketseek bench MODEL --trace {path.name}`") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({error.strerror}); choose another file") from error


def _read_header(file: BinaryIO, where: str) -> TraceHeader:
    line = file.readline(_MAX_HEADER_BYTES + 1)
    if not line.endswith(b"\n"):
        raise _damaged(where, "it does not begin with a line of JSON")
    try:
        header = _header_of(load_object(line, where, max_bytes=_MAX_HEADER_BYTES), where)
    except FormatError as error:  # whose remedy is about models
        raise _damaged(where, str(error).removeprefix(f"{where}: ").rpartition("; ")[0]) from error
    if not header.layers or any(later <= earlier for earlier, later in pairwise(header.layers)):
        raise _damaged(where, "its layers are not ascending")
    if header.num_keys > MAX_KEYS:
        raise _damaged(where, f"{header.num_keys} experts are more than models have")
    return header


def _header_of(value: dict[str, JsonValue], where: str) -> TraceHeader:
    """Raises FormatError, UnsupportedError."""
    number = value.get("format")
    if value.get("kind") == KIND and isinstance(number, int) and number > FORMAT:
        raise UnsupportedError(f"{where}: a routing trace of format {number}; update pocketseek to read it")
    fields = Fields(value, where, frozenset(TraceHeader.__dataclass_fields__) | {"format", "kind"})
    fields.text("kind", re.compile(KIND))
    fields.integer("format", FORMAT, FORMAT)
    num_experts = fields.integer("num_experts", 1, MAX_EXPERTS)
    return TraceHeader(
        model=fields.text("model", _TEXT),
        manifest_sha256=fields.text("manifest_sha256", _HEX),
        layers=tuple(as_integer(one, f"{where}.layers", 0, MAX_LAYERS) for one in fields.items("layers")),
        num_experts=num_experts,
        experts_per_token=fields.integer("experts_per_token", 1, num_experts),
        slot_bytes=fields.integer("slot_bytes", 1, _MAX_BYTES),
        slot_read_bytes=fields.integer("slot_read_bytes", 1, _MAX_BYTES),
        shared_bytes=fields.integer("shared_bytes", 0, _MAX_BYTES),
        always_bytes=fields.integer("always_bytes", 0, _MAX_BYTES),
        beside_bytes=fields.integer("beside_bytes", 0, _MAX_BYTES),
    )


def _read_passes(file: BinaryIO, header: TraceHeader, where: str) -> Iterator[TracePass]:
    index_type, wide = header.index_type, (len(header.layers), header.experts_per_token)
    number = 0
    while start := file.read(_PASS.size):
        number += 1
        if len(start) < _PASS.size:
            raise _damaged(where, f"it ends in the middle of pass {number}")
        rows, answered, misses, compute_s, waited_s = _PASS.unpack(start)
        if not 1 <= rows <= MAX_ROWS or answered > rows:
            raise _damaged(where, f"pass {number} has {rows} rows and {answered} answers")
        if misses > header.num_keys:
            raise _damaged(where, f"pass {number} lacked more experts than there are")
        if not (0 <= compute_s < 1e6 and 0 <= waited_s < 1e6):  # NaN is neither
            raise _damaged(where, f"pass {number} has no sensible times")
        num_bytes = wide[0] * rows * wide[1] * index_type.itemsize
        data = _read(file, num_bytes)
        if len(data) < num_bytes:
            raise _damaged(where, f"it ends in the middle of pass {number}")
        chosen = np.frombuffer(data, index_type).reshape(wide[0], rows, wide[1]).astype(np.int32)
        if chosen.max() >= header.num_experts or (np.diff(chosen, axis=2) <= 0).any():
            raise _damaged(where, f"pass {number} has experts that there are not, or not in order")
        yield TracePass(chosen, answered, misses, compute_s, waited_s)


def _read(file: BinaryIO, num_bytes: int) -> bytes:
    """In pieces: a wrong number of rows makes nobody set aside gigabytes."""
    pieces: list[bytes] = []
    while num_bytes and (piece := file.read(min(num_bytes, 1 << 20))):
        pieces.append(piece)
        num_bytes -= len(piece)
    return b"".join(pieces)


def _damaged(where: str, problem: str) -> FormatError:
    return FormatError(f"{where} is no routing trace, or a damaged one: {problem}; record it again")
