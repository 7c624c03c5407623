"""A pass cut into units: the pieces of weights that are kept in memory or read from storage, each as a whole.

A unit is a run of tile rows in the order in which a pass uses them, of about `unit_bytes`, and never of two layers or
of two chunk files:

    layer:  q k v | o | gate | up | down      head: tile rows of the table, which a pass without logits leaves out

That is the order in which a package stores them, so what follows each other in a pass lies together in a file. All
units of a stage have nearly the same size. What is small or hardly read is part of no unit: vectors are copied into
memory when a model is opened, and of an embedding table only the rows of a pass's tokens are touched. Pure arithmetic
over the manifest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from pocketseek.errors import UnsupportedError
from pocketseek.formats import num_tile_rows, tile_row_bytes
from pocketseek.kernels.contract import LayerPart, LayerStep
from pocketseek.package.manifest import Manifest, TensorEntry

UNIT_BYTES = 2 << 20
HEAD = "head.weight"
_STEPS: tuple[tuple[LayerStep, tuple[str, ...]], ...] = (
    ("qkv", ("q", "k", "v")),
    ("o", ("o",)),
    ("gate", ("gate",)),
    ("up", ("up",)),
    ("down", ("down",)),
)


@dataclass(frozen=True)
class Piece:
    """Tile rows of a tensor that lie together: num_bytes at `offset` of the manifest's chunk number `chunk`."""

    tensor: str
    first_tile: int
    num_tiles: int
    chunk: int
    offset: int
    num_bytes: int


@dataclass(frozen=True)
class Unit:
    """layer: its index; None: the head. parts: what is computed with it, of the head (first tile, number of tiles)."""

    index: int
    layer: int | None
    parts: tuple[LayerPart, ...]
    tiles: tuple[int, int]
    pieces: tuple[Piece, ...]

    @property
    def num_bytes(self) -> int:
        return sum(piece.num_bytes for piece in self.pieces)


@dataclass(frozen=True)
class _Run:
    """Tile rows of a tensor."""

    step: LayerStep | None
    tensor: TensorEntry
    first_tile: int  # in the step
    first_row: int  # in the tensor
    num_tiles: int
    chunk: int

    @property
    def tile_bytes(self) -> int:
        return tile_row_bytes(self.tensor.format, self.tensor.shape[1])

    def slice(self, start: int, num_tiles: int) -> _Run:
        return _Run(self.step, self.tensor, self.first_tile + start, self.first_row + start, num_tiles, self.chunk)

    def pieces(self) -> Iterator[Piece]:
        return _pieces(self.tensor, self.first_row, self.num_tiles)


def units_of(manifest: Manifest, unit_bytes: int = UNIT_BYTES) -> tuple[Unit, ...]:
    """The units of a pass in the order of use. UnsupportedError for models with experts or latents."""
    if manifest.model.is_sparse:
        raise UnsupportedError(
            f"how fast {manifest.name} will be is not foretold, since its experts are read as they are chosen; "
            "leave --min-speed out, or choose a dense model"
        )
    tensors = {tensor.name: tensor for tensor in manifest.tensors}
    units: list[Unit] = []
    for layer in range(manifest.model.num_layers):
        for runs in _cut_by_chunk(_runs_of_layer(tensors, layer), unit_bytes):
            pieces = tuple(piece for run in runs for piece in run.pieces())
            units.append(Unit(len(units), layer, tuple(_parts(runs)), (0, 0), pieces))
    for runs in _cut_by_chunk(_runs_of(None, tensors[HEAD], 0), unit_bytes):
        tiles = runs[0].first_row, sum(run.num_tiles for run in runs)
        units.append(Unit(len(units), None, (), tiles, tuple(piece for run in runs for piece in run.pieces())))
    return tuple(units)


def _runs_of_layer(tensors: Mapping[str, TensorEntry], layer: int) -> Iterator[_Run]:
    for step, names in _STEPS:
        first_tile = 0
        for name in names:
            tensor = tensors[f"layer.{layer}.{name}"]
            yield from _runs_of(step, tensor, first_tile)
            first_tile += num_tile_rows(tensor.shape[0])


def _runs_of(step: LayerStep | None, tensor: TensorEntry, first_tile: int) -> Iterator[_Run]:
    """One for each chunk that it lies in."""
    row_bytes = tile_row_bytes(tensor.format, tensor.shape[1])
    for extent in tensor.extents:
        first_row = extent.first_tile
        yield _Run(step, tensor, first_tile + first_row, first_row, extent.num_bytes // row_bytes, extent.chunk)


def _cut_by_chunk(runs: Iterable[_Run], unit_bytes: int) -> Iterator[list[_Run]]:
    for _, together in groupby(runs, lambda run: run.chunk):
        yield from _cut(list(together), unit_bytes)


def _cut(runs: Sequence[_Run], unit_bytes: int) -> Iterator[list[_Run]]:
    """Groups of runs with about the same number of bytes each, at most unit_bytes up to one tile row of rounding."""
    total_bytes = sum(run.tile_bytes * run.num_tiles for run in runs)
    num_groups = -(-total_bytes // max(1, unit_bytes))
    group: list[_Run] = []
    done_bytes, number = 0, 1
    for run in runs:
        start = 0
        while start < run.num_tiles:
            room = round((total_bytes * number / num_groups - done_bytes) / run.tile_bytes)
            if room < 1 and group:
                yield group
                group, number = [], number + 1
                continue
            count = min(run.num_tiles - start, max(1, room))
            group.append(run.slice(start, count))
            done_bytes += count * run.tile_bytes
            start += count
    yield group


def _parts(runs: Sequence[_Run]) -> Iterator[LayerPart]:
    """Runs of one step (q, k and v) that follow each other are one part."""
    for step, together in groupby(runs, lambda run: run.step):
        if step is not None:
            first, *others = together
            yield LayerPart(step, first.first_tile, first.num_tiles + sum(run.num_tiles for run in others))


def _pieces(tensor: TensorEntry, first_row: int, num_tiles: int) -> Iterator[Piece]:
    """Where these tile rows lie; more than one place if the tensor is cut there."""
    row_bytes = tile_row_bytes(tensor.format, tensor.shape[1])
    for extent in tensor.extents:
        start = max(first_row, extent.first_tile)
        end = min(first_row + num_tiles, extent.first_tile + extent.num_bytes // row_bytes)
        if start < end:
            offset = extent.offset + (start - extent.first_tile) * row_bytes
            yield Piece(tensor.name, start, end - start, extent.chunk, offset, (end - start) * row_bytes)
