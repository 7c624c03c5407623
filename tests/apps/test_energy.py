"""The formula of docs/benchmarks.md, and what a pass of a model reads and multiplies."""

from __future__ import annotations

from pathlib import Path

import pytest
from package.samples import SPARSE, write_sample
from tiny_models import tiny_gguf

from pocketseek.apps.energy import DRAM_J_PER_BYTE, MULTIPLY_ADD_J, STORAGE_J_PER_BYTE, joules, model_work
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.package.manifest import read_manifest
from pocketseek.package.model_fields import expected_tensors


def test_a_byte_from_storage_is_written_to_memory_as_well() -> None:
    assert joules(1e9, 0, 0) == pytest.approx(1e9 * (STORAGE_J_PER_BYTE + DRAM_J_PER_BYTE))


def test_the_worked_example_of_the_documentation() -> None:
    in_memory = joules(0, 0.87e9, 1.54e9)
    streamed = joules(0.45e9, 0.87e9, 1.54e9)
    assert in_memory == pytest.approx(0.0726, abs=1e-4)
    assert streamed == pytest.approx(0.3642, abs=1e-4)
    assert in_memory == pytest.approx(0.87e9 * DRAM_J_PER_BYTE + 1.54e9 * MULTIPLY_ADD_J)


def test_every_matrix_but_the_embedding_is_read_and_multiplied_once(tmp_path: Path) -> None:
    package = convert_checkpoint(tiny_gguf(tmp_path / "tiny.gguf"), tmp_path / "tiny", models_dir=tmp_path)
    manifest = read_manifest(package)
    shapes = expected_tensors(manifest.model)
    assert shapes is not None
    work = model_work(manifest)
    matrices = {name: shape for name, shape in shapes.items() if len(shape) == 2 and name != "embed.weight"}
    assert work.multiply_adds == sum(rows * cols for rows, cols in matrices.values())
    stored_bytes = sum(chunk.num_bytes for chunk in manifest.chunks if chunk.stage != "embed")
    assert 0 < work.weight_bytes <= stored_bytes  # chunks have padding between tensors


def test_of_experts_those_count_that_a_token_chooses(tmp_path: Path) -> None:
    manifest = read_manifest(write_sample(tmp_path / "m", SPARSE, max_chunk_bytes=140_000))
    shapes = expected_tensors(SPARSE) or {}
    matrices = {name: shape for name, shape in shapes.items() if len(shape) == 2 and name != "embed.weight"}
    always = sum(rows * cols for name, (rows, cols) in matrices.items() if not name.startswith("experts."))
    chosen = 3 * (3 * 32 * 48)  # experts of a token, each of three matrices
    assert model_work(manifest).multiply_adds == always + 2 * chosen
