"""A pass cut into units: every tile row once, in the order of use, in pieces of about the size asked for."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from package.samples import SPARSE, write_sample

from pocketseek.errors import UnsupportedError
from pocketseek.formats import num_tile_rows, tile_row_bytes
from pocketseek.package.manifest import Manifest, read_manifest
from pocketseek.runtime.residency.units import HEAD, Unit, units_of

STEPS = {"qkv": ("q", "k", "v"), "o": ("o",), "gate": ("gate",), "up": ("up",), "down": ("down",)}
SIZES = (1, 3000, 16_384, 50_000, 1 << 30)


@pytest.fixture(scope="module")
def manifest(layered_package: Path) -> Manifest:
    return read_manifest(layered_package)


@pytest.mark.parametrize("unit_bytes", SIZES)
def test_pieces_cover_every_tile_row_once_and_lie_where_the_manifest_says(manifest: Manifest, unit_bytes: int) -> None:
    covered = defaultdict[str, list[int]](list)
    entries = {tensor.name: tensor for tensor in manifest.tensors}
    for unit in units_of(manifest, unit_bytes):
        for piece in unit.pieces:
            tensor = entries[piece.tensor]
            row_bytes = tile_row_bytes(tensor.format, tensor.shape[1])
            assert piece.num_bytes == piece.num_tiles * row_bytes
            (extent,) = (one for one in tensor.extents if one.chunk == piece.chunk)
            assert piece.offset == extent.offset + (piece.first_tile - extent.first_tile) * row_bytes
            covered[piece.tensor] += range(piece.first_tile, piece.first_tile + piece.num_tiles)
    matrices = {name for name, tensor in entries.items() if len(tensor.shape) == 2} - {"embed.weight"}
    assert covered.keys() == matrices
    assert all(rows == list(range(num_tile_rows(entries[name].shape[0]))) for name, rows in covered.items())


@pytest.mark.parametrize("unit_bytes", SIZES)
def test_parts_of_a_layer_are_its_steps_in_order_without_gaps(manifest: Manifest, unit_bytes: int) -> None:
    entries = {tensor.name: tensor for tensor in manifest.tensors}
    by_layer = defaultdict[int | None, list[Unit]](list)
    for unit in units_of(manifest, unit_bytes):
        by_layer[unit.layer].append(unit)
    head = by_layer.pop(None)
    assert list(by_layer) == list(range(manifest.model.num_layers))
    for layer, units in by_layer.items():
        tiles = defaultdict[str, list[int]](list)
        for part in (part for unit in units for part in unit.parts):
            assert part.num_tiles > 0
            tiles[part.step] += range(part.first_tile, part.first_tile + part.num_tiles)
        assert list(tiles) == list(STEPS)
        for step, names in STEPS.items():
            rows = [num_tile_rows(entries[f"layer.{layer}.{name}"].shape[0]) for name in names]
            assert tiles[step] == list(range(sum(rows)))
    rows_of_head = [tile for unit in head for tile in range(unit.tiles[0], sum(unit.tiles))]
    assert rows_of_head == list(range(num_tile_rows(entries[HEAD].shape[0])))


@pytest.mark.parametrize("unit_bytes", SIZES)
def test_units_of_a_stage_have_about_the_same_size(manifest: Manifest, unit_bytes: int) -> None:
    most = max(tile_row_bytes(tensor.format, tensor.shape[1]) for tensor in manifest.tensors if len(tensor.shape) == 2)
    sizes = defaultdict[int | None, list[int]](list)
    for unit in units_of(manifest, unit_bytes):
        sizes[unit.layer].append(unit.num_bytes)
    for of_stage in sizes.values():
        assert max(of_stage) <= unit_bytes + 3 * most
        assert max(of_stage) - min(of_stage) <= 4 * most


@pytest.mark.parametrize("unit_bytes", SIZES)
def test_no_unit_lies_in_two_chunks(manifest: Manifest, unit_bytes: int) -> None:
    """Also where a tensor is cut into extents of two chunks."""
    name = "layer.2.up"
    (tensor,) = (tensor for tensor in manifest.tensors if tensor.name == name)
    (extent,) = tensor.extents
    row_bytes = tile_row_bytes(tensor.format, tensor.shape[1])
    cut = replace(
        tensor,
        extents=(
            replace(extent, num_bytes=3 * row_bytes),
            replace(extent, first_tile=3, chunk=77, offset=0, num_bytes=extent.num_bytes - 3 * row_bytes),
        ),
    )
    cut_up = replace(manifest, tensors=tuple(cut if one is tensor else one for one in manifest.tensors))
    units = units_of(cut_up, unit_bytes)
    assert all(len({piece.chunk for piece in unit.pieces}) == 1 for unit in units)
    parts = [part for unit in units if unit.layer == 2 for part in unit.parts if part.step == "up"]
    tiles = [tile for part in parts for tile in range(part.first_tile, part.first_tile + part.num_tiles)]
    assert tiles == list(range(num_tile_rows(tensor.shape[0])))


def test_models_with_experts_are_refused_in_one_line(tmp_path: Path) -> None:
    sparse = read_manifest(write_sample(tmp_path / "m", SPARSE, max_chunk_bytes=140_000))
    with pytest.raises(UnsupportedError, match="is not foretold") as refusal:
        units_of(sparse)
    assert "\n" not in str(refusal.value)
