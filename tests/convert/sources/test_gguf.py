from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from checkpoints import GGUF_TYPES, gguf_bytes, random_blocks, write_gguf
from tiny_models import gguf_metadata, tiny_gguf, tiny_model, write_model_gguf

from pocketseek.convert.sources.ggml_types import READABLE_TYPES, dequantise
from pocketseek.convert.sources.gguf import open_gguf
from pocketseek.errors import NotFoundError, UnsupportedError


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_a_model_file_gives_its_metadata_and_weights(tmp_path: Path, family: str) -> None:
    model = tiny_model(family)
    source = open_gguf(write_model_gguf(tmp_path / "m.gguf", model))
    assert source.kind == "gguf"
    assert source.path == tmp_path / "m.gguf"
    assert source.files == {}
    assert source.metadata["general.architecture"] == family
    assert source.metadata["tokenizer.ggml.tokens"] == gguf_metadata(model)["tokenizer.ggml.tokens"]
    assert source.tensors["output.weight"].shape == (320, 64)
    np.testing.assert_array_equal(source.read_rows("output.weight", 0, 320), model.weights["lm_head.weight"])
    np.testing.assert_array_equal(source.read_rows("output_norm.weight", 3, 9), model.weights["model.norm.weight"][3:9])
    source.close()


@pytest.mark.parametrize("type_name", sorted(READABLE_TYPES))
def test_slabs_of_every_type_join_to_the_whole(tmp_path: Path, type_name: str) -> None:
    source = open_gguf(tiny_gguf(tmp_path / "m.gguf", type_name=type_name))
    name = "blk.1.ffn_down.weight"
    tensor = source.tensors[name]
    assert tensor.type == type_name
    whole = source.read_rows(name, 0, tensor.num_rows)
    assert whole.shape == tensor.shape
    slabs = [source.read_rows(name, start, min(start + 7, len(whole))) for start in range(0, len(whole), 7)]
    np.testing.assert_array_equal(np.concatenate(slabs), whole)
    np.testing.assert_array_equal(dequantise(type_name, source.read_raw(name, 2, 5)), whole[2:5])
    source.close()


def test_raw_rows_are_the_stored_bytes(tmp_path: Path) -> None:
    raw = random_blocks("Q6_K", 5, 512, np.random.default_rng(0))
    source = open_gguf(write_gguf(tmp_path / "m.gguf", {}, {"t": ("Q6_K", raw)}))
    assert source.read_raw("t", 1, 4).tobytes() == raw[1:4].tobytes()
    assert source.read_raw("t", 5, 5).shape == (0, 2 * GGUF_TYPES["Q6_K"][2])
    source.close()


def test_one_part_of_a_split_checkpoint_is_refused(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m-00001-of-00002.gguf", {"split.count": 2, "split.no": 0}, {})
    with pytest.raises(UnsupportedError, match="one of 2 parts of a checkpoint; join them"):
        open_gguf(path)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="check the path"):
        open_gguf(tmp_path / "m.gguf")


def test_missing_padding_after_the_last_tensor_is_accepted(tmp_path: Path) -> None:
    data = gguf_bytes({}, {"t": ("F32", np.ones(3, np.float32))})
    (tmp_path / "m.gguf").write_bytes(data[:-20])
    source = open_gguf(tmp_path / "m.gguf")
    np.testing.assert_array_equal(source.read_rows("t", 0, 3), np.ones(3))
    source.close()
