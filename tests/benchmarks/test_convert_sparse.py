"""The checkpoint whose conversion is watched: of the real shape's form, holes where nothing was written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import convert_sparse
import random_package

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.package.manifest import read_manifest

SHAPE = replace(random_package.SPARSE_SHAPES["deepseek-v2-tiny"], num_layers=3)


def test_it_is_converted_to_the_shape_and_zeros_take_no_disk(tmp_path: Path) -> None:
    checkpoint = tmp_path / "hf"
    num_bytes = convert_sparse.write_checkpoint(checkpoint, SHAPE, ["vocabulary", "head", "layer-1"], seed=1)
    shards = list(checkpoint.glob("*.safetensors"))
    assert sum(shard.stat().st_size for shard in shards) == num_bytes
    zeros, values = (checkpoint / f"model-layer-{index}.safetensors" for index in (2, 1))
    assert zeros.stat().st_size == values.stat().st_size
    assert zeros.stat().st_blocks < values.stat().st_blocks
    package = convert_checkpoint(checkpoint, tmp_path / "m", models_dir=tmp_path)
    assert replace(read_manifest(package).model, context_length=SHAPE.context_length) == SHAPE


def test_a_conversion_is_watched_whether_a_group_can_be_made_or_not(tmp_path: Path) -> None:
    num_bytes = convert_sparse.write_checkpoint(tmp_path / "hf", SHAPE, ["layer-1"], seed=1)
    figures = convert_sparse.convert(tmp_path / "hf", tmp_path / "m", "q8", 1_000_000_000, num_bytes)
    assert 0 < figures.peak_anonymous_bytes < figures.peak_rss_bytes < 1_000_000_000
    assert 0 < figures.package_bytes < num_bytes
    json.dumps(vars(figures))
