"""An installed package's tensors as float32, whole or some rows, by their names: the source of an export.

What was quantised is exported as it is stored, rounding included.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.layer_math import Floats
from pocketseek.formats import TILE_ROWS, tile_row_bytes
from pocketseek.kernels.contract import TensorData
from pocketseek.kernels.reference import dequantise, unpack_matrix
from pocketseek.package.reader import Package, StoredTensor
from pocketseek.types import ModelConfig

_SLAB_TILES = 128


class PackageWeights:
    """Of an open package."""

    def __init__(self, package: Package) -> None:
        self._package = package
        self.inv_freq: Floats = self.vector("rope.inv_freq")

    @property
    def model(self) -> ModelConfig:
        return self._package.manifest.model

    def has(self, name: str) -> bool:
        return self._package.has_tensor(name)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._package.tensor(name).shape

    def vector(self, name: str) -> Floats:
        return self._package.tensor(name).parts[0].data.view(np.float32)

    def matrix(self, name: str) -> Floats:
        """(outputs, inputs)."""
        rows = self._package.tensor(name).shape[0]
        return self.rows(name, np.arange(rows, dtype=np.int32))

    def rows(self, name: str, ids: NDArray[np.int32]) -> Floats:
        """Those rows of a matrix; only the tiles that hold them are decoded."""
        tensor = self._package.tensor(name)
        result = np.empty((len(ids), tensor.shape[1]), np.float32)
        tiles = ids // TILE_ROWS
        for wanted, values in _decoded(tensor, np.unique(tiles)):
            inside = np.isin(tiles, wanted)
            places = np.searchsorted(wanted, tiles[inside])
            result[inside] = values[places * TILE_ROWS + ids[inside] % TILE_ROWS]
        return result


def _decoded(tensor: StoredTensor, tiles: NDArray[np.int32]) -> Iterator[tuple[NDArray[np.int32], Floats]]:
    """Some tiles (ascending) and their rows, all of them."""
    cols = tensor.shape[1]
    for start in range(0, len(tiles), _SLAB_TILES):
        wanted = tiles[start : start + _SLAB_TILES]
        raw = np.empty((len(wanted), tile_row_bytes(tensor.format, cols)), np.uint8)
        for part in tensor.parts:
            stored = part.data.reshape(-1, raw.shape[1])
            inside = (wanted >= part.first_tile) & (wanted < part.first_tile + len(stored))
            raw[inside] = stored[wanted[inside] - part.first_tile]
        shape = (len(wanted) * TILE_ROWS, cols)
        yield wanted, dequantise(unpack_matrix(TensorData(tensor.format, shape, ((0, raw.reshape(-1)),))), cols)
