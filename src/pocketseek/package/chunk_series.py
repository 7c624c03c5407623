"""The chunks of a package one after another, as tensors fill them.

Placement: a tensor starts at the next multiple of 16 KiB; if it does not fit in the rest of the chunk but does fit in a
chunk of its own it starts a new one, so that only tensors larger than a chunk are cut (between tile rows).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import UnsupportedError
from pocketseek.package.chunk_file import ChunkFile
from pocketseek.package.entries import ChunkEntry, Extent
from pocketseek.package.layout import align

Piece = bytes | memoryview | NDArray[np.uint8]


class ChunkSeries:
    """entries: of those that are finished. Errors of the storage are raised inside `storage_errors()`; what happens
    while pieces are made is not."""

    def __init__(
        self, chunks_dir: Path, max_chunk_bytes: int, storage_errors: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self.entries: list[ChunkEntry] = []
        self._chunks_dir = chunks_dir
        self._max_chunk_bytes = max_chunk_bytes
        self._storage_errors = storage_errors
        self._stage = ""
        self._chunk: ChunkFile | None = None

    def begin_stage(self, stage: str) -> None:
        self.end_chunk()
        self._stage = stage

    def keep_together(self, num_bytes: int) -> None:
        """What is written next takes so many bytes from a multiple of 16 KiB on, and shall lie in one chunk.
        Raises UnsupportedError if it cannot."""
        if num_bytes > self._max_chunk_bytes:
            raise UnsupportedError(
                f"an expert of {num_bytes} bytes does not fit in a chunk of {self._max_chunk_bytes}; "
                "use fewer bits (--quant q8 or q4)"
            )
        if self._chunk is not None and align(self._chunk.num_bytes) + num_bytes > self._max_chunk_bytes:
            self.end_chunk()

    def abandon(self) -> None:
        if self._chunk is not None:
            self._chunk.abandon()
            self._chunk = None

    def write(self, name: str, num_bytes: int, row_bytes: int, pieces: Iterable[Piece]) -> tuple[Extent, ...]:
        chunk = self._chunk_for(num_bytes, row_bytes)
        extents: list[Extent] = []
        start, done_bytes = chunk.num_bytes, 0
        for piece in pieces:
            left = _as_bytes(piece)
            if len(left) % row_bytes or done_bytes + len(left) > num_bytes:
                raise ValueError(f"{name}: a piece of {len(left)} bytes after {done_bytes} of {num_bytes}")
            while left:
                room = (self._max_chunk_bytes - chunk.num_bytes) // row_bytes * row_bytes
                if room <= 0:
                    extents.append(self._extent(chunk, start, done_bytes, row_bytes))
                    chunk, start = self._next_chunk(), 0
                    continue
                with self._storage_errors():
                    chunk.write(left[:room])
                done_bytes += len(left[:room])
                left = left[room:]
        if done_bytes != num_bytes:
            raise ValueError(f"{name}: {done_bytes} bytes came, {num_bytes} were due")
        return (*extents, self._extent(chunk, start, done_bytes, row_bytes))

    def _extent(self, chunk: ChunkFile, start: int, done_bytes: int, row_bytes: int) -> Extent:
        """The run from `start` to the present end of the open chunk, when `done_bytes` of the tensor are written."""
        num_bytes = chunk.num_bytes - start
        return Extent(len(self.entries), start, num_bytes, (done_bytes - num_bytes) // row_bytes)

    def _chunk_for(self, num_bytes: int, row_bytes: int) -> ChunkFile:
        """A chunk, padded, in which the tensor starts (see Placement above)."""
        if row_bytes > self._max_chunk_bytes:
            raise ValueError(f"a tile row of {row_bytes} bytes does not fit in a chunk of {self._max_chunk_bytes}")
        chunk = self._chunk
        if chunk is None:
            return self._next_chunk()
        room = self._max_chunk_bytes - align(chunk.num_bytes)
        if num_bytes > room and (num_bytes <= self._max_chunk_bytes or row_bytes > room):
            return self._next_chunk()
        with self._storage_errors():
            chunk.pad_to(align(chunk.num_bytes))
        return chunk

    def _next_chunk(self) -> ChunkFile:
        self.end_chunk()
        with self._storage_errors():
            self._chunk = ChunkFile(self._chunks_dir, self._stage)
        return self._chunk

    def end_chunk(self) -> None:
        if self._chunk is not None:
            with self._storage_errors():
                self.entries.append(self._chunk.finish())
            self._chunk = None


def _as_bytes(piece: Piece) -> memoryview:
    view = piece.data if isinstance(piece, np.ndarray) else memoryview(piece)
    return view.cast("B") if view.nbytes else memoryview(b"")
