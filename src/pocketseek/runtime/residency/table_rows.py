"""The rows of an embedding table that passes touch, where the table is not in memory as a whole.

They are read through the package's map; of a sealed package they are decrypted into its memory. All rows of a pass are
asked for at once before the first is used, and given back when they become many, so that they do not pile up where
memory is short.
"""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

from pocketseek.formats import TILE_ROWS, tile_row_bytes
from pocketseek.package.manifest import TensorEntry
from pocketseek.runtime.residency.weight_files import WeightFiles

KEPT_ROWS_BYTES = 4 << 20  # before they are given back


class TableRows:
    """Counts in tile rows, 16 tokens each, which lie together in the file."""

    def __init__(self, files: WeightFiles, table: TensorEntry) -> None:
        self._files = files
        self._table = table
        self._row_bytes = tile_row_bytes(table.format, table.shape[1])
        self._touched: set[int] = set()

    def prefetch(self, token_ids: NDArray[np.int32]) -> None:
        """Have the system begin to read the rows of these tokens; or have them in memory, where that needs filling."""
        tiles = {int(token) // TILE_ROWS for token in token_ids}
        if self._files.needs_filling:  # whatever was touched before: it may have been dropped with its unit
            tiles = {tile for tile in tiles if not self._files.is_in_memory(*self._place(tile))}
        else:
            tiles -= self._touched
        for tile in tiles:
            self._files.prefetch(*self._place(tile))
        self._touched |= tiles

    def drop_if_many(self) -> bool:
        """Between passes. True if something was dropped."""
        if len(self._touched) * self._row_bytes <= KEPT_ROWS_BYTES:
            return False
        for tile in self._touched:
            chunk, offset, num_bytes = self._place(tile)
            start = max(0, offset - mmap.PAGESIZE)
            self._files.drop(chunk, start, offset + num_bytes - start)
        self._touched.clear()
        return True

    def _place(self, tile: int) -> tuple[int, int, int]:
        """(chunk, offset, bytes)"""
        extent = next(one for one in reversed(self._table.extents) if one.first_tile <= tile)
        return extent.chunk, extent.offset + (tile - extent.first_tile) * self._row_bytes, self._row_bytes
