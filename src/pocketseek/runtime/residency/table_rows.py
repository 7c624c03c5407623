"""The rows of an embedding table that passes touch, where the table is not in memory as a whole.

They are read through the package's map. All rows of a pass are asked for at once before the first is used, and given
back when they become many, so that they do not pile up where memory is short.
"""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

from pocketseek.formats import TILE_ROWS, tile_row_bytes
from pocketseek.package.manifest import TensorEntry
from pocketseek.package.reader import Package
from pocketseek.runtime.residency.chunk_files import ChunkFiles

KEPT_ROWS_BYTES = 4 << 20  # before they are given back


class TableRows:
    """Counts in tile rows, 16 tokens each, which lie together in the file."""

    def __init__(self, package: Package, files: ChunkFiles, table: TensorEntry) -> None:
        self._package = package
        self._files = files
        self._table = table
        self._row_bytes = tile_row_bytes(table.format, table.shape[1])
        self._touched: set[int] = set()

    def prefetch(self, token_ids: NDArray[np.int32]) -> None:
        """Have the system begin to read the rows of these tokens."""
        tiles = {int(token) // TILE_ROWS for token in token_ids} - self._touched
        for tile in tiles:
            self._files.prefetch(*self._place(tile))
        self._touched |= tiles

    def drop_if_many(self) -> None:
        """Between passes."""
        if len(self._touched) * self._row_bytes <= KEPT_ROWS_BYTES:
            return
        for tile in self._touched:
            chunk, offset, num_bytes = self._place(tile)
            start = max(0, offset - mmap.PAGESIZE)
            self._package.advise(chunk, mmap.MADV_DONTNEED, start, offset + num_bytes - start)
            self._files.evict(chunk, start, offset + num_bytes - start)
        self._touched.clear()

    def _place(self, tile: int) -> tuple[int, int, int]:
        """(chunk, offset, bytes)"""
        extent = next(one for one in reversed(self._table.extents) if one.first_tile <= tile)
        return extent.chunk, extent.offset + (tile - extent.first_tile) * self._row_bytes, self._row_bytes
