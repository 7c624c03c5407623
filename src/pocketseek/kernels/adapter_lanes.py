"""A and B of an adapter in the order in which the compiled core reads them (native/adapters.h), and as plain values.

    a  (ranks / 16, inputs, 16)        b  (outputs / 16, rank, 16)        f16, flat; padding is zeros

Of the tiles that are stored, a is as it is but for the padding of inputs. b changes places: its
lanes are outputs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pocketseek.formats import TILE_ROWS, num_tile_rows, tile_row_bytes
from pocketseek.kernels.contract import Floats, TensorData

_Halves = NDArray[np.uint16]


def rank_lanes(a: TensorData) -> _Halves:
    """A copy, which nothing of the package holds up."""
    return np.ascontiguousarray(_tiles(a)[:, : a.shape[1]]).reshape(-1)


def output_lanes(b: TensorData) -> _Halves:
    rank, outputs = b.shape
    tiles = num_tile_rows(outputs)
    plain = np.zeros((rank, tiles * TILE_ROWS), np.uint16)
    plain[:, :outputs] = _tiles(b)[:, :outputs].transpose(0, 2, 1).reshape(-1, outputs)[:rank]
    return np.ascontiguousarray(plain.reshape(rank, tiles, TILE_ROWS).transpose(1, 0, 2)).reshape(-1)


def latent_lanes(a: TensorData, b: TensorData, num_heads: int, nope_dim: int) -> dict[str, tuple[_Halves, _Halves]]:
    """kv_b's A and B as those of its halves in absorbed form, which `native/adapters.h` knows apart.

    k_b: for each head B's first nope_dim outputs transposed, so that they are inputs; and A transposed, for all heads.
    v_b: A, and the other outputs of each head.
    """
    halves = _plain_halves(b).reshape(b.shape[0], num_heads, -1)
    keys = [rank_lanes(_as_tensor(halves[:, head, :nope_dim])) for head in range(num_heads)]
    values = _as_tensor(halves[:, :, nope_dim:].reshape(b.shape[0], -1))
    return {
        "k_b": (np.concatenate(keys), output_lanes(a)),
        "v_b": (rank_lanes(a), output_lanes(values)),
    }


def plain_values(tensor: TensorData) -> Floats:
    """(rank, inputs or outputs) as float32."""
    return np.ascontiguousarray(_plain_halves(tensor)).view(np.float16).astype(np.float32)


def _plain_halves(tensor: TensorData) -> _Halves:
    rank, width = tensor.shape
    return _tiles(tensor)[:, :width].transpose(0, 2, 1).reshape(-1, width)[:rank]


def _as_tensor(halves: _Halves) -> TensorData:
    """(rank, inputs or outputs) in tiles, as formats.py has f16."""
    rank, width = halves.shape
    tiles = np.zeros((num_tile_rows(rank), tile_row_bytes("f16", width) // (2 * TILE_ROWS), TILE_ROWS), np.uint16)
    padded = np.zeros((len(tiles) * TILE_ROWS, width), np.uint16)
    padded[:rank] = halves
    tiles[:, :width] = padded.reshape(len(tiles), TILE_ROWS, width).swapaxes(1, 2)
    return TensorData("f16", (rank, width), ((0, tiles.reshape(-1).view(np.uint8)),))


def _tiles(tensor: TensorData) -> _Halves:
    """(tile rows, padded width, 16), of one piece or several."""
    num_bytes = tile_row_bytes("f16", tensor.shape[1])
    data = np.concatenate([part for _, part in tensor.parts]) if len(tensor.parts) > 1 else tensor.parts[0][1]
    return data.reshape(-1, num_bytes).view(np.uint16).reshape(-1, num_bytes // (2 * TILE_ROWS), TILE_ROWS)
