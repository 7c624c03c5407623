"""Making deltas: a chunk or file of a new version out of those of the old one, in fewer bytes than it has.

`make_chunk_delta` matches by tensor: each run of tile rows of the new chunk with the same rows of the tensor of that
name, wherever they lie in the old package and in whatever format they are there (tiles.py). Runs that are the
same are copied. What has no counterpart of its shape travels compressed. `make_file_delta` is for texts (tokenizer,
template): zstd with the old file as its dictionary. The format of the file: delta_file.py; applying: apply.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pocketseek.package import zstd
from pocketseek.package.delta.byte_parts import ByteWriter
from pocketseek.package.delta.delta_file import (
    MAX_DELTA_BYTES,
    MAX_PART_CODES,
    MAX_PATCH_BYTES,
    MAX_TILE_COLS,
    MAX_WHOLE_BYTES,
    Blob,
    DeltaHeader,
    Part,
    most_rows,
    render_delta,
)
from pocketseek.package.delta.planes import ordered_bits
from pocketseek.package.delta.residuals import write_numbers
from pocketseek.package.delta.tiles import OldRows, write_tiles
from pocketseek.package.entries import Extent, Manifest, TensorEntry
from pocketseek.package.layout import cut_bytes

_Bytes = NDArray[np.uint8]

_F32 = np.dtype("<f4")
_LITTLE_GAIN = 0.8  # of its bytes a run takes as a difference: others ways may be shorter


class Side(Protocol):
    """One of the two packages that are compared: an open one, or a sealed one that is decrypted as it is read."""

    @property
    def manifest(self) -> Manifest: ...

    def chunk(self, index: int) -> _Bytes: ...


def make_chunk_delta(old: Side, new: Side, sha256: str) -> bytes | None:
    """A delta that makes the new chunk with that hash. None if it would not be shorter than the chunk.

    Raises UnsupportedError without a library for zstd.
    """
    if new.manifest.part is not None:
        return _part_delta(old, new, sha256)
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


def _part_delta(old: Side, new: Side, sha256: str) -> bytes | None:
    """Of a speech part: the bytes of the same file, as far as they are in the same place."""
    before = _places(old.manifest)
    place = next(place for place, index in _places(new.manifest).items() if new.manifest.chunks[index].sha256 == sha256)
    if place not in before:
        return None
    return make_file_delta(old.chunk(before[place]).tobytes(), new.chunk(_places(new.manifest)[place]).tobytes())


def _places(manifest: Manifest) -> dict[tuple[str, int], int]:
    """Index of the chunk by the name of its file and its number in that."""
    places: dict[tuple[str, int], int] = {}
    for file, chunks in manifest.part.files_with_chunks(manifest.chunks) if manifest.part is not None else ():
        places |= {(file.name, number): len(places) + number for number in range(len(chunks))}
    return places


@dataclass
class _ChunkDelta:
    old: Side
    new: Side
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
        if len(tensor.shape) == 2 and tensor.shape[1] > MAX_TILE_COLS:
            self._put_whole(data)
        elif len(tensor.shape) == 1:
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
            whole = _whole_parts(data)
            if payload is None or sum(part.payload_bytes for part, _ in whole) < len(payload):
                self._put_all(whole)
                return
        num_rows = len(data) // cut_bytes(tensor.format, tensor.shape)
        old_format = old.format if old is not None else ""
        part = Part("tiles", len(data), len(payload), base, offset, tensor.format, old_format, cols, num_rows)
        self._put(part, payload)

    def _put_whole(self, data: _Bytes) -> None:
        self._put_all(_whole_parts(data))

    def _put_all(self, parts: Sequence[tuple[Part, bytes]]) -> None:
        for part, payload in parts:
            self._put(part, payload)

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


def _whole_parts(data: _Bytes) -> list[tuple[Part, bytes]]:
    pieces = [data[start : start + MAX_WHOLE_BYTES].tobytes() for start in range(0, len(data), MAX_WHOLE_BYTES)]
    frames = [zstd.compress(piece) for piece in pieces]
    return [(Part("whole", len(piece), len(frame)), frame) for piece, frame in zip(pieces, frames, strict=True)]


def _extents_of(package: Side, chunk: int) -> Iterator[tuple[TensorEntry, Extent]]:
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


def _write_vector(new: _Bytes, old: _Bytes) -> bytes:
    out = ByteWriter()
    write_numbers(out, ordered_bits(new.view(_F32)) - ordered_bits(old.view(_F32)))
    return bytes(out.data)
