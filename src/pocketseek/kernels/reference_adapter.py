"""Adapters in the reference kernels: what the rows that have one add to the products of a layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pocketseek.kernels.adapter_lanes import plain_values
from pocketseek.kernels.contract import Floats, LowRank, RowSpan


@dataclass(frozen=True)
class UnpackedPair:
    """a (rank, inputs), b (rank, outputs), float32."""

    a: Floats
    b: Floats
    scale: np.float32


@dataclass(frozen=True)
class UnpackedAdapter:
    """By layers and names of matrices."""

    layers: tuple[Mapping[str, UnpackedPair], ...]


def unpack_adapter(layers: Sequence[Mapping[str, LowRank]]) -> UnpackedAdapter:
    return UnpackedAdapter(
        tuple(
            {
                name: UnpackedPair(plain_values(part.a), plain_values(part.b), np.float32(part.scale))
                for name, part in layer.items()
            }
            for layer in layers
        )
    )


def raised(spans: Sequence[RowSpan], index: int, name: str, x: Floats, y: Floats) -> Floats:
    """y (rows, outputs) = the product of matrix `name` of layer `index` with x (rows, inputs), and the adapters' share.

    Row by row: BLAS may sum in another order when there are others, and a row shall not depend on its batch.
    """
    if all(span.adapter is None for span in spans):
        return y
    y = y.copy()
    for row, pair in adapted_rows(spans, index, name):
        y[row] += (pair.scale * (pair.a @ x[row])) @ pair.b
    return y


def adapted_rows(spans: Sequence[RowSpan], index: int, name: str) -> Iterator[tuple[int, UnpackedPair]]:
    """The rows whose adapters raise matrix `name` of layer `index`, each with its pair."""
    row = 0
    for span in spans:
        adapter = span.adapter
        pair = adapter.layers[index].get(name) if isinstance(adapter, UnpackedAdapter) else None
        if pair is not None:
            yield from ((one, pair) for one in range(row, row + span.num_rows))
        row += span.num_rows
