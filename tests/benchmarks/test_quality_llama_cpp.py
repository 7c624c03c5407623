"""benchmarks/quality_llama_cpp.py: our blocks as GGUF's, and files that convert to the model they were made of."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_hf_directory

from pocketseek.convert.families.choose import choose_planner
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.convert.quantize import dequantize, quantize
from pocketseek.convert.slabs import read_matrix
from pocketseek.convert.sources.ggml_types import dequantise
from pocketseek.convert.sources.open import open_source
from pocketseek.package.manifest import read_manifest

pytest.importorskip("gguf")
import quality_llama_cpp


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return tiny_hf_directory(tmp_path / "checkpoint", dtype="F16")


@pytest.mark.parametrize(("format_name", "stored"), [("q4s", "Q4_0"), ("q8s", "Q8_0")])
def test_blocks_in_a_gguf_file_stand_for_the_values_of_our_format(format_name: str, stored: str) -> None:
    values = np.random.default_rng(7).standard_normal((5, 96)).astype(np.float32)
    encode = {"q4s": quality_llama_cpp.q4_0_blocks, "q8s": quality_llama_cpp.q8_0_blocks}[format_name]
    expected = dequantize(format_name, quantize(format_name, values))
    np.testing.assert_array_equal(dequantise(stored, encode(values)), expected)


def test_a_float16_file_holds_the_checkpoint_s_matrices(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "f16.gguf"
    quality_llama_cpp.write_gguf(checkpoint, path, quality_llama_cpp.as_float16)
    with closing(open_source(checkpoint)) as original, closing(open_source(path)) as written:
        plans = [choose_planner(source)(source) for source in (original, written)]
        eps = plans[0].model.rms_norm_eps  # GGUF has it in float32
        assert plans[0].model == replace(plans[1].model, rms_norm_eps=eps)
        for ours, theirs in zip(plans[0].tensors, plans[1].tensors, strict=True):
            assert ours.name == theirs.name
            if len(ours.shape) == 2:
                np.testing.assert_array_equal(read_matrix(original, ours), read_matrix(written, theirs))


def test_plain_four_bits_are_imported_as_they_are(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "q4s.gguf"
    quality_llama_cpp.write_gguf(checkpoint, path, quality_llama_cpp.q4s_encoder("q8s"))
    manifest = read_manifest(convert_checkpoint(path, tmp_path / "package", quant="keep"))
    formats = {tensor.name: tensor.format for tensor in manifest.tensors if len(tensor.shape) == 2}
    assert manifest.quality["exact"] is True
    assert formats["head.weight"] == "q8s"
    assert {kind for name, kind in formats.items() if name.startswith("layer.")} == {"q4s"}


def test_input_squares_are_there_for_every_matrix_that_is_multiplied(checkpoint: Path) -> None:
    windows = np.random.default_rng(3).integers(0, 300, (2, 32)).astype(np.int32)
    squares = quality_llama_cpp.input_squares(checkpoint, windows)
    assert len(squares) == 2 * 7 + 1
    assert squares["blk.0.ffn_down.weight"].shape == (96,)
    assert all((values > 0).all() for values in squares.values())
