from __future__ import annotations

import json
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from package.samples import SPARSE, sample_tensors, write_sample

from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.formats import TENSOR_ALIGNMENT_BYTES
from pocketseek.package.expert_layout import expert_extents
from pocketseek.package.layer_tensors import EXPERT_MATRICES
from pocketseek.package.manifest import Manifest, parse_manifest, read_manifest, read_manifest_bytes
from pocketseek.package.model_fields import stage_of_tensor
from pocketseek.package.paths import chunk_path
from pocketseek.package.verify import verify_package
from pocketseek.package.writer import PackageWriter

EXPERT_BYTES = 2 * TENSOR_ALIGNMENT_BYTES + 1728  # three matrices that each take less than the alignment
MAX_CHUNK_BYTES = 140_000  # three experts
NUM_EXPERTS = 8


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("experts") / "m", SPARSE, max_chunk_bytes=MAX_CHUNK_BYTES)


@pytest.fixture(scope="module")
def manifest(package: Path) -> Manifest:
    return read_manifest(package)


def test_an_expert_is_one_aligned_run_of_one_chunk(package: Path, manifest: Manifest) -> None:
    tensors = sample_tensors(SPARSE, 1, "q8s")
    for layer in (1, 2):
        extents = expert_extents(manifest, layer)
        assert len(extents) == NUM_EXPERTS
        for expert, extent in enumerate(extents):
            assert extent.offset % TENSOR_ALIGNMENT_BYTES == 0
            path = chunk_path(package, manifest.chunks[extent.chunk].sha256)
            data = path.read_bytes()[extent.offset : extent.offset + extent.num_bytes]
            assert len(data) == extent.num_bytes
            place = 0
            for part in EXPERT_MATRICES:
                expected = tensors[f"experts.{layer}.{expert}.{part}"][2]
                assert data[place : place + len(expected)] == expected
                place = -(-(place + len(expected)) // TENSOR_ALIGNMENT_BYTES) * TENSOR_ALIGNMENT_BYTES


def test_a_chunk_holds_as_many_experts_as_fit(manifest: Manifest) -> None:
    for layer in (1, 2):
        extents = expert_extents(manifest, layer)
        assert {extent.num_bytes for extent in extents} == {EXPERT_BYTES}
        counts = np.unique([extent.chunk for extent in extents], return_counts=True)[1]
        assert counts.tolist() == [3, 3, 2]


def test_a_dense_layer_has_none(manifest: Manifest) -> None:
    assert expert_extents(manifest, 0) == ()


def test_every_byte_of_it_can_be_checked(package: Path) -> None:
    verify_package(package, full=True)


def test_an_expert_larger_than_a_chunk_is_refused_and_nothing_stays(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="--quant q8 or q4"):
        write_sample(tmp_path / "m", SPARSE, max_chunk_bytes=EXPERT_BYTES - 1)
    assert not [path for path in tmp_path.iterdir() if not path.name.endswith("-lock")]


def swap_experts(tree: dict[str, Any]) -> None:
    """The tensors of two experts exchange their names."""
    names = {f"experts.1.{expert}.{part}": expert for expert in (0, 1) for part in EXPERT_MATRICES}
    for tensor in tree["tensors"]:
        if tensor["name"] in names:
            expert = names[tensor["name"]]
            tensor["name"] = tensor["name"].replace(f".1.{expert}.", f".1.{1 - expert}.")


def swap_gate_and_up(tree: dict[str, Any]) -> None:
    for tensor in tree["tensors"]:
        if tensor["name"] in ("experts.1.0.gate", "experts.1.0.up"):
            tensor["name"] = "experts.1.0.up" if tensor["name"].endswith("gate") else "experts.1.0.gate"


@pytest.mark.parametrize("change", [swap_experts, swap_gate_and_up])
def test_experts_out_of_order_are_refused(change: Callable[[dict[str, Any]], None], package: Path) -> None:
    tree = json.loads(read_manifest_bytes(package))
    change(tree)
    with pytest.raises(FormatError, match="belongs"):
        parse_manifest(json.dumps(tree).encode())


def test_an_expert_that_is_cut_is_refused(tmp_path: Path) -> None:
    """As a writer would make it that keeps nothing together."""
    tensors = sample_tensors(SPARSE, 1, "q8s")
    with PackageWriter(tmp_path / "m", max_chunk_bytes=60_000) as writer:
        for stage, names in groupby(tensors, key=stage_of_tensor):
            writer.begin_stage(stage)
            for name in names:
                format_name, shape, data = tensors[name]
                writer.add_tensor(name, format_name, shape, [data])
        with pytest.raises(FormatError, match="cut into several chunks"):
            writer.commit(name="m", model=SPARSE, recipe={}, quality={}, provenance={})
