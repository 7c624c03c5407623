"""Applying a delta: a chunk or file of a new version out of those of the old one. Making one: make.py.

`apply_delta` asks whether the parts are such as the manifests allow (fit.py), writes the result piece by piece
and checks its hash: a base that is damaged, or a delta that lies, gives a FormatError and nothing to keep. Memory: one
part (1 Mi codes, a few hundred bytes for each at the worst), for a patch both files. The format: delta_file.py.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pocketseek.package import zstd
from pocketseek.package.delta.byte_parts import ByteReader, delta_error
from pocketseek.package.delta.delta_file import Blob, DeltaHeader, Part, read_header
from pocketseek.package.delta.planes import from_ordered, ordered_bits
from pocketseek.package.delta.residuals import read_numbers
from pocketseek.package.delta.tiles import OldRows, read_tiles
from pocketseek.package.storage import storage_errors

_Bytes = NDArray[np.uint8]
ReadBase = Callable[[Blob, int, int], bytes]
"""(which, offset, number of bytes) -> those bytes. Raises IntegrityError, StorageError or FormatError."""
Check = Callable[[DeltaHeader], None]
"""Whether its parts are what the packages have there. Raises FormatError."""

_F32 = np.dtype("<f4")
_PIECE_BYTES = 1 << 20


def apply_delta(
    delta: Path, check: Check, read_base: ReadBase, write: Callable[[memoryview], None], expected: Blob
) -> None:
    """Give the result to `write`, in order. What was written is good only if this returns. check: DeltaFit.check.

    Raises FormatError (a damaged delta, or one that makes something else), UnsupportedError, StorageError and what
    read_base raises.
    """
    with storage_errors(delta), delta.open("rb") as file:
        apply_open_delta(file, delta.stat().st_size, check, read_base, write, expected)


def apply_open_delta(
    file: BinaryIO,
    num_bytes: int,
    check: Check,
    read_base: ReadBase,
    write: Callable[[memoryview], None],
    expected: Blob,
) -> None:
    """The same from a file of so many bytes that is open; also raises what reading it raises."""
    digest = hashlib.sha256()
    header = read_header(file, num_bytes)
    if header.result != expected:
        raise delta_error("it makes something else")
    check(header)
    for part in header.parts:
        payload = file.read(part.payload_bytes)
        if len(payload) != part.payload_bytes:
            raise delta_error("it ends too early")
        for piece in _pieces(part, payload, header.bases, read_base):
            digest.update(piece)
            write(memoryview(piece))
    if digest.hexdigest() != expected.sha256:
        raise delta_error("what it makes has another hash")


def delta_bases(delta: bytes) -> tuple[Blob, ...]:
    """What it takes to apply it. Raises FormatError."""
    return read_header(io.BytesIO(delta), len(delta)).bases


def _pieces(part: Part, payload: bytes, bases: Sequence[Blob], read_base: ReadBase) -> Iterator[bytes]:
    base = bases[part.base] if part.base is not None else None
    if part.kind == "zeros":
        for done in range(0, part.num_bytes, _PIECE_BYTES):
            yield bytes(min(_PIECE_BYTES, part.num_bytes - done))
    elif part.kind == "whole":
        yield zstd.decompress(payload, part.num_bytes)
    elif part.kind == "tiles":
        old = OldRows(part.old_format, _run(part, base, read_base)) if base is not None else None
        yield read_tiles(part.format, part.cols, part.num_rows, payload, old).tobytes()
    elif base is None:
        raise delta_error(f"a part {part.kind} without a base")
    elif part.kind == "copy":
        for done in range(0, part.num_bytes, _PIECE_BYTES):
            yield read_base(base, part.offset + done, min(_PIECE_BYTES, part.num_bytes - done))
    elif part.kind == "patch":
        yield zstd.decompress(payload, part.num_bytes, dictionary=read_base(base, 0, base.num_bytes))
    else:
        yield _read_vector(payload, _run(part, base, read_base))


def _run(part: Part, base: Blob, read_base: ReadBase) -> _Bytes:
    return np.frombuffer(read_base(base, part.offset, part.base_bytes), np.uint8)


def _read_vector(payload: bytes, old: _Bytes) -> bytes:
    source = ByteReader(payload)
    expected = ordered_bits(old.view(_F32))
    numbers = expected + read_numbers(source, len(expected))
    source.end()
    return from_ordered(numbers, _F32).tobytes()
