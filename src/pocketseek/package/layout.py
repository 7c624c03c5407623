"""Where tensors lie in chunks: the rules of format 1, checked on a manifest.

There is one way to lay out a list of tensors, up to the places where a new chunk begins: tensors follow each other in
the order of the manifest; each starts at the next multiple of 16 KiB after the one before it, or at byte 0 of the next
chunk; one that continues does so at byte 0 of the next chunk, having been cut between tile rows; a chunk ends with the
last byte of its last tensor, and a new stage starts a new chunk. Checking is one sweep, and what passes cannot overlap,
leave its chunk or be unaligned. Experts have a rule more (expert_layout.py): each lies in one chunk.
"""

from __future__ import annotations

from collections.abc import Iterable

from pocketseek.errors import FormatError
from pocketseek.formats import (
    FORMATS,
    MAX_CHUNK_BYTES,
    SEGMENT_BYTES,
    TENSOR_ALIGNMENT_BYTES,
    tensor_bytes,
    tile_row_bytes,
)
from pocketseek.package.adapter_layout import ADAPTER_STAGE, check_adapter
from pocketseek.package.entries import ChunkEntry, Extent, Manifest, TensorEntry
from pocketseek.package.expert_layout import check_experts
from pocketseek.package.model_fields import expected_tensors, stage_names, stage_of_tensor
from pocketseek.package.strict_json import format_error


def align(offset: int) -> int:
    """The next place in a chunk where a tensor may start."""
    return -(-offset // TENSOR_ALIGNMENT_BYTES) * TENSOR_ALIGNMENT_BYTES


def cut_bytes(format_name: str, shape: tuple[int, ...]) -> int:
    """A tensor may be cut after any multiple of this many bytes: a tile row, or the whole of a vector."""
    return tensor_bytes(format_name, shape) if len(shape) == 1 else tile_row_bytes(format_name, shape[1])


def stage_bytes(tensors: Iterable[tuple[int, int]], max_chunk_bytes: int = MAX_CHUNK_BYTES) -> int:
    """What the chunks of a stage take together. tensors: (bytes, bytes after which it may be cut), placed as by
    PackageWriter, which begins a new chunk for a tensor that would fit one but not the rest of this."""
    total, end = 0, 0  # end: of the open chunk
    for num_bytes, row_bytes in tensors:
        room = max_chunk_bytes - align(end)
        if num_bytes > room and (num_bytes <= max_chunk_bytes or row_bytes > room):
            total, end, room = total + end, 0, max_chunk_bytes
        first = min(num_bytes, room // row_bytes * row_bytes)
        end = align(end) + first
        left = num_bytes - first
        while left:
            total, end = total + end, min(left, max_chunk_bytes // row_bytes * row_bytes)
            left -= end
    return total + end


def check_layout(manifest: Manifest) -> None:
    """Raises FormatError unless stages, chunks, tensors and extents fit together."""
    names = stage_names(manifest.model) if manifest.adapter is None else (ADAPTER_STAGE,)
    stages = {name: index for index, name in enumerate(names)}
    _check_chunks(manifest.chunks, stages)
    _check_tensor_set(manifest, stages)
    sweep = _Sweep(manifest.chunks)
    for tensor in manifest.tensors:
        sweep.place(tensor)
    sweep.finish()
    if manifest.adapter is None:
        check_experts(manifest)
    else:
        check_adapter(manifest)


def check_tensor(name: str, format_name: str, shape: tuple[int, ...]) -> None:
    """Raises FormatError unless format and shape go together."""
    where = _tensor_where(name)
    if format_name not in FORMATS:
        raise FormatError(
            f"{where}: unknown format {format_name[:40]!r}, perhaps of a newer version; update pocketseek"
        )
    if not 1 <= len(shape) <= 2:
        raise format_error(where, f"{len(shape)} dimensions, not 1 or 2")
    if len(shape) == 1 and format_name != "f32":
        raise format_error(where, f"a vector in {format_name}, not f32")
    if cut_bytes(format_name, shape) > MAX_CHUNK_BYTES:
        raise format_error(where, f"rows of {shape} do not fit in a chunk of {MAX_CHUNK_BYTES} bytes")


class _Sweep:
    """Walks through tensors and chunks at the same time; `chunk` and `end` are where the last extent ended."""

    def __init__(self, chunks: tuple[ChunkEntry, ...]) -> None:
        self._chunks = chunks
        self._chunk = -1
        self._end = 0

    def place(self, tensor: TensorEntry) -> None:
        where = _tensor_where(tensor.name)
        row_bytes = cut_bytes(tensor.format, tensor.shape)
        done_bytes = 0
        for index, extent in enumerate(tensor.extents):
            if extent.num_bytes % row_bytes or extent.first_tile != done_bytes // row_bytes:
                raise format_error(where, f"extent {index} is not a run of whole tile rows that follows the one before")
            self._advance(extent, index, tensor)
            done_bytes += extent.num_bytes
        if done_bytes != tensor_bytes(tensor.format, tensor.shape):
            raise format_error(
                where, f"its extents hold {done_bytes} bytes, not those of {tensor.format} {tensor.shape}"
            )

    def finish(self) -> None:
        self._check_chunk_is_full()
        if self._chunk != len(self._chunks) - 1:
            raise format_error("manifest.json: chunks", f"{len(self._chunks) - 1 - self._chunk} hold no tensor")

    def _advance(self, extent: Extent, index: int, tensor: TensorEntry) -> None:
        where = f"{_tensor_where(tensor.name)}: extent {index}"
        if extent.chunk == self._chunk + 1 and extent.offset == 0:
            self._check_chunk_is_full()
            self._chunk += 1
        elif extent.chunk != self._chunk or index > 0 or extent.offset != align(self._end):
            raise format_error(
                where, f"chunk {extent.chunk}, offset {extent.offset} is not where the next bytes belong"
            )
        if extent.chunk >= len(self._chunks):
            raise format_error(where, f"there is no chunk {extent.chunk}")
        chunk = self._chunks[extent.chunk]
        self._end = extent.offset + extent.num_bytes
        if self._end > chunk.num_bytes:
            raise format_error(where, f"ends at byte {self._end} of a chunk of {chunk.num_bytes}")
        if chunk.stage != tensor.stage:
            raise format_error(where, f"stage {tensor.stage} in a chunk of stage {chunk.stage}")

    def _check_chunk_is_full(self) -> None:
        num_bytes = self._chunks[self._chunk].num_bytes if self._chunk >= 0 else 0
        if self._end != num_bytes:
            where = f"manifest.json: chunks[{self._chunk}]"
            raise format_error(where, f"{num_bytes} bytes, but its tensors end at {self._end}")


def _check_chunks(chunks: tuple[ChunkEntry, ...], stages: dict[str, int]) -> None:
    by_hash: dict[str, ChunkEntry] = {}
    last_stage = 0
    for index, chunk in enumerate(chunks):
        where = f"manifest.json: chunks[{index}]"
        if chunk.stage not in stages or stages[chunk.stage] < last_stage:
            raise format_error(where, f"stage {chunk.stage[:40]!r} is unknown or out of order")
        last_stage = stages[chunk.stage]
        if len(chunk.segments) != -(-chunk.num_bytes // SEGMENT_BYTES):
            raise format_error(where, f"{len(chunk.segments)} segment hashes for {chunk.num_bytes} bytes")
        same = by_hash.setdefault(chunk.sha256, chunk)
        if (same.num_bytes, same.segments) != (chunk.num_bytes, chunk.segments):
            raise format_error(where, "the same hash as an earlier chunk with another content")


def _check_tensor_set(manifest: Manifest, stages: dict[str, int]) -> None:
    expected = expected_tensors(manifest.model) if manifest.adapter is None else None
    seen: set[str] = set()
    used_stages: set[str] = set()
    last_stage = 0
    for tensor in manifest.tensors:
        where = _tensor_where(tensor.name)
        check_tensor(tensor.name, tensor.format, tensor.shape)
        if tensor.name in seen:
            raise format_error(where, "listed twice")
        if stages.get(tensor.stage, -1) < last_stage:
            raise format_error(where, f"stage {tensor.stage[:40]!r} is unknown or out of order")
        if expected is not None and tensor.stage != stage_of_tensor(tensor.name):
            raise format_error(where, f"in stage {tensor.stage}")
        if expected is not None and expected.get(tensor.name) != tensor.shape:
            raise format_error(where, f"shape {tensor.shape} does not belong to this {manifest.model.family} model")
        seen.add(tensor.name)
        used_stages.add(tensor.stage)
        last_stage = stages[tensor.stage]
    if expected is not None and (missing := expected.keys() - seen):
        raise format_error("manifest.json: tensors", f"{min(missing)} is missing")
    if empty := stages.keys() - used_stages:
        raise format_error("manifest.json: tensors", f"stage {min(empty)} holds none")


def _tensor_where(name: str) -> str:
    return f"manifest.json: tensor {name}"
