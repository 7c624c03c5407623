"""Deltas: a chunk or file of a new version out of those of the old one, in fewer bytes than it has.

`make_chunk_delta` matches by tensor: each run of tile rows of the new chunk with the same rows of the tensor of that
name, wherever they lie in the old package and in whatever format they are there (delta_tiles.py). Runs that are the
same are copied. What has no counterpart of its shape travels compressed. `make_file_delta` is for texts (tokenizer,
template): zstd with the old file as its dictionary. The format of the file: delta_file.py.

`apply_delta` writes the result piece by piece and checks its hash: a base that is damaged, or a delta that lies, gives
a FormatError and nothing to keep. Memory: one part (1 Mi codes or one tile row, a few hundred bytes for each at the
worst), for a patch both files.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketseek.package import zstd
from pocketseek.package.delta_bytes import ByteReader, ByteWriter, delta_error
from pocketseek.package.delta_file import (
    MAX_DELTA_BYTES,
    MAX_PART_CODES,
    MAX_PATCH_BYTES,
    Blob,
    DeltaHeader,
    Part,
    most_rows,
    read_header,
    render_delta,
)
from pocketseek.package.delta_planes import from_ordered, ordered_bits
from pocketseek.package.delta_residuals import read_numbers, write_numbers
from pocketseek.package.delta_tiles import OldRows, read_tiles, write_tiles
from pocketseek.package.entries import Extent, TensorEntry
from pocketseek.package.layout import cut_bytes
from pocketseek.package.reader import Package
from pocketseek.package.storage import storage_errors

_Bytes = NDArray[np.uint8]
ReadBase = Callable[[Blob, int, int], bytes]
"""(which, offset, number of bytes) -> those bytes. Raises IntegrityError, StorageError or FormatError."""

_F32 = np.dtype("<f4")
_PIECE_BYTES = 1 << 20
_LITTLE_GAIN = 0.8  # of its bytes a run takes as a difference: others ways may be shorter


def make_chunk_delta(old: Package, new: Package, sha256: str) -> bytes | None:
    """A delta that makes the new chunk with that hash. None if it would not be shorter than the chunk.

    Raises UnsupportedError without a library for zstd.
    """
    maker = _ChunkDelta(old, new)
    index = next(number for number, chunk in enumerate(new.manifest.chunks) if chunk.sha256 == sha256)
    for tensor, extent in _extents_of(new, index):
        maker.pad_to(extent.offset)
        maker.add(tensor, extent)
    delta = maker.render(Blob(sha256, new.manifest.chunks[index].num_bytes))
    return delta if len(delta) < min(new.manifest.chunks[index].num_bytes, MAX_DELTA_BYTES) else None


def make_file_delta(old: bytes, new: bytes) -> bytes | None:
    """None if it would not be shorter. Files that are too large for it travel whole."""
    if max(len(old), len(new)) > MAX_PATCH_BYTES or not old:
        return None
    frame = zstd.compress(new, dictionary=old)
    header = DeltaHeader(_blob(new), (_blob(old),), (Part("patch", len(new), len(frame), base=0),))
    delta = render_delta(header, [frame])
    return delta if len(delta) < len(new) else None


def apply_delta(delta: Path, read_base: ReadBase, write: Callable[[memoryview], None], expected: Blob) -> None:
    """Give the result to `write`, in order. What was written is good only if this returns.

    Raises FormatError (a damaged delta, or one that makes something else), UnsupportedError, StorageError and what
    read_base raises.
    """
    digest = hashlib.sha256()
    with storage_errors(delta), delta.open("rb") as file:
        header = read_header(file, delta.stat().st_size)
        if header.result != expected:
            raise delta_error("it makes something else")
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


# --- applying ---


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


def _write_vector(new: _Bytes, old: _Bytes) -> bytes:
    out = ByteWriter()
    write_numbers(out, ordered_bits(new.view(_F32)) - ordered_bits(old.view(_F32)))
    return bytes(out.data)


# --- making ---


@dataclass
class _ChunkDelta:
    old: Package
    new: Package
    parts: list[Part] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    bases: list[Blob] = field(default_factory=list)
    done_bytes: int = 0

    def render(self, result: Blob) -> bytes:
        return render_delta(DeltaHeader(result, tuple(self.bases), tuple(self.parts)), self.payloads)

    def pad_to(self, offset: int) -> None:
        if offset != self.done_bytes:
            self._put(Part("zeros", offset - self.done_bytes), b"")

    def add(self, tensor: TensorEntry, extent: Extent) -> None:
        data = self.new.chunk(extent.chunk)[extent.offset : extent.offset + extent.num_bytes]
        old = next((entry for entry in self.old.manifest.tensors if entry.name == tensor.name), None)
        if len(tensor.shape) == 1:
            self._add_vector(data, old if old is not None and old.shape == tensor.shape else None)
        elif old is not None and old.shape == tensor.shape:
            self._add_rows(tensor, extent.first_tile, data, old)
        else:
            self._add_alone(tensor, data)

    def _add_vector(self, data: _Bytes, old: TensorEntry | None) -> None:
        if old is None or len(data) > 4 * MAX_PART_CODES:
            self._put_whole(data)
            return
        base, offset = self._base(old.extents[0].chunk), old.extents[0].offset
        old_data = self.old.chunk(old.extents[0].chunk)[offset : offset + len(data)]
        if np.array_equal(old_data, data):
            self._put(Part("copy", len(data), base=base, offset=offset), b"")
            return
        payload = _write_vector(data, old_data)
        if len(payload) >= len(data):
            self._put_whole(data)
            return
        self._put(Part("vector", len(data), len(payload), base, offset), payload)

    def _add_alone(self, tensor: TensorEntry, data: _Bytes) -> None:
        row_bytes = cut_bytes(tensor.format, tensor.shape)
        step = most_rows(tensor.shape[1]) * row_bytes
        for start in range(0, len(data), step):
            self._put_tiles(tensor, data[start : start + step], None, None, 0)

    def _add_rows(self, tensor: TensorEntry, first_tile: int, data: _Bytes, old: TensorEntry) -> None:
        row_bytes, old_row_bytes = cut_bytes(tensor.format, tensor.shape), cut_bytes(old.format, old.shape)
        done = 0  # tile rows
        while done * row_bytes < len(data):
            extent, row = _row_in(old, first_tile + done, old_row_bytes)
            offset = extent.offset + row * old_row_bytes
            num_rows = min(extent.num_bytes // old_row_bytes - row, len(data) // row_bytes - done)
            run = data[done * row_bytes :][: num_rows * row_bytes]
            old_run = self.old.chunk(extent.chunk)[offset:][: num_rows * old_row_bytes]
            if tensor.format == old.format and np.array_equal(run, old_run):
                self._put(Part("copy", len(run), base=self._base(extent.chunk), offset=offset), b"")
            else:
                num_rows = min(num_rows, most_rows(tensor.shape[1]))
                before = OldRows(old.format, old_run[: num_rows * old_row_bytes])
                self._put_tiles(tensor, run[: num_rows * row_bytes], before, self._base(extent.chunk), offset)
            done += num_rows

    def _put_tiles(self, tensor: TensorEntry, data: _Bytes, old: OldRows | None, base: int | None, offset: int) -> None:
        cols = tensor.shape[1]
        payload = write_tiles(tensor.format, cols, data, old)
        if old is not None and (payload is None or len(payload) > _LITTLE_GAIN * len(data)):
            alone = write_tiles(tensor.format, cols, data, None)
            if payload is None or (alone is not None and len(alone) < len(payload)):
                payload, old, base, offset = alone, None, None, 0
        if payload is None or len(payload) >= _LITTLE_GAIN * len(data):
            whole = zstd.compress(data.tobytes())
            if payload is None or len(whole) < len(payload):
                self._put(Part("whole", len(data), len(whole)), whole)
                return
        num_rows = len(data) // cut_bytes(tensor.format, tensor.shape)
        old_format = old.format if old is not None else ""
        part = Part("tiles", len(data), len(payload), base, offset, tensor.format, old_format, cols, num_rows)
        self._put(part, payload)

    def _put_whole(self, data: _Bytes) -> None:
        frame = zstd.compress(data.tobytes())
        self._put(Part("whole", len(data), len(frame)), frame)

    def _put(self, part: Part, payload: bytes) -> None:
        self.parts.append(part)
        self.payloads.append(payload)
        self.done_bytes += part.num_bytes

    def _base(self, chunk: int) -> int:
        entry = self.old.manifest.chunks[chunk]
        blob = Blob(entry.sha256, entry.num_bytes)
        if blob not in self.bases:
            self.bases.append(blob)
        return self.bases.index(blob)


def _extents_of(package: Package, chunk: int) -> Iterator[tuple[TensorEntry, Extent]]:
    for tensor in package.manifest.tensors:
        for extent in tensor.extents:
            if extent.chunk == chunk:
                yield tensor, extent


def _row_in(tensor: TensorEntry, row: int, row_bytes: int) -> tuple[Extent, int]:
    """The extent that a tile row lies in, and its number there."""
    extent = next(extent for extent in reversed(tensor.extents) if extent.first_tile <= row)
    return extent, row - extent.first_tile


def _blob(data: bytes) -> Blob:
    return Blob(hashlib.sha256(data).hexdigest(), len(data))
