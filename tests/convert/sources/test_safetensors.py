from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from checkpoints import write_safetensors
from tiny_models import tiny_hf_directory, tiny_model, write_hf

from pocketseek.convert.sources.safetensors import open_safetensors
from pocketseek.errors import FormatError, NotFoundError, PocketseekError, UnsupportedError, UsageError

INDEX = "model.safetensors.index.json"
TINY = {"t": ("F32", np.ones(2, np.float32))}


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("num_shards", [1, 3])
def test_a_directory_gives_config_files_and_weights(tmp_path: Path, family: str, num_shards: int) -> None:
    model = tiny_model(family)
    directory = write_hf(tmp_path / "m", model, num_shards=num_shards)
    source = open_safetensors(directory)
    assert source.kind == "safetensors"
    assert source.path == directory
    assert source.metadata == model.config
    assert set(source.files) == {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}
    assert source.files["tokenizer.json"] == (directory / "tokenizer.json").read_bytes()
    assert set(source.tensors) == set(model.weights)
    for name, values in model.weights.items():
        np.testing.assert_array_equal(source.read_rows(name, 0, source.tensors[name].num_rows), values)
    source.close()


@pytest.mark.parametrize(("dtype", "tolerance"), [("F16", 2**-11), ("BF16", 2**-8)])
def test_short_floats_are_widened(tmp_path: Path, dtype: str, tolerance: float) -> None:
    model = tiny_model()
    source = open_safetensors(write_hf(tmp_path / "m", model, dtype=dtype))
    name = "model.layers.0.mlp.down_proj.weight"
    assert source.tensors[name].type == dtype
    np.testing.assert_allclose(source.read_rows(name, 3, 9), model.weights[name][3:9], rtol=tolerance, atol=1e-7)
    source.close()


def test_one_weights_file_takes_the_config_beside_it(tmp_path: Path) -> None:
    directory = tiny_hf_directory(tmp_path / "m")
    source = open_safetensors(directory / "model.safetensors")
    assert source.metadata["model_type"] == "llama"
    assert "tokenizer.json" in source.files
    source.close()


def test_a_single_weights_file_of_another_name_is_found(tmp_path: Path) -> None:
    directory = tiny_hf_directory(tmp_path / "m")
    (directory / "model.safetensors").rename(directory / "weights.safetensors")
    open_safetensors(directory).close()


def test_weights_may_be_links_into_a_download_cache(tmp_path: Path) -> None:
    directory = tiny_hf_directory(tmp_path / "m")
    (directory / "model.safetensors").rename(tmp_path / "blob")
    (directory / "model.safetensors").symlink_to("../blob")
    open_safetensors(directory).close()


def test_templates_and_licences_come_along(tmp_path: Path) -> None:
    directory = tiny_hf_directory(tmp_path / "m")
    (directory / "chat_template.jinja").write_text("{{ messages }}")
    (directory / "LICENSE").write_text("free")
    (directory / "README.md").write_text("not taken")
    source = open_safetensors(directory)
    assert source.files["chat_template.jinja"] == b"{{ messages }}"
    assert source.files["LICENSE"] == b"free"
    assert "README.md" not in source.files
    source.close()


def test_other_types_are_listed_but_not_read(tmp_path: Path) -> None:
    directory = tiny_hf_directory(tmp_path / "m")
    write_safetensors(directory / "model.safetensors", {"ids": ("I64", np.arange(4))})
    source = open_safetensors(directory)
    assert source.tensors["ids"].type == "I64"
    with pytest.raises(UnsupportedError, match="I64 cannot be read; use "):
        source.read_rows("ids", 0, 1)
    source.close()


def directory_with_index(path: Path, weight_map: object) -> Path:
    path.mkdir()
    (path / "config.json").write_text("{}")
    write_safetensors(path / "a.safetensors", TINY)
    (path / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    return path


def test_the_index_decides_which_tensors_there_are(tmp_path: Path) -> None:
    directory = directory_with_index(tmp_path / "m", {"t": "a.safetensors"})
    write_safetensors(directory / "b.safetensors", TINY)
    source = open_safetensors(directory)
    assert list(source.tensors) == ["t"]
    source.close()


@pytest.mark.parametrize(
    ("weight_map", "error", "reason"),
    [
        ({"t": "../a.safetensors"}, FormatError, "not in a file of this directory"),
        ({"t": "/etc/a.safetensors"}, FormatError, "not in a file of this directory"),
        ({"t": "sub/a.safetensors"}, FormatError, "not in a file of this directory"),
        ({"t": "sub\\a.safetensors"}, FormatError, "not in a file of this directory"),
        ({"t": "a\0.safetensors"}, FormatError, "not in a file of this directory"),
        ({"t": "a\n.safetensors"}, FormatError, "not in a file of this directory"),
        ({"t": "config.json"}, FormatError, "not in a file of this directory"),
        ({"t": 5}, FormatError, "not in a file of this directory"),
        ({"t": "n" * 5000 + ".safetensors"}, NotFoundError, "lacks the shard"),
        ({"t": "b.safetensors"}, NotFoundError, "lacks the shard 'b.safetensors'"),
        ({"t": "a.safetensors", "u": "a.safetensors"}, FormatError, "lacks tensor 'u'"),
        ({str(n): f"{n}.safetensors" for n in range(600)}, FormatError, "more than 512 shards"),
        ({}, FormatError, "no weight_map"),
        ([], FormatError, "no weight_map"),
        (None, FormatError, "no weight_map"),
    ],
)
def test_a_hostile_index_is_refused_in_one_line(
    tmp_path: Path, weight_map: object, error: type[PocketseekError], reason: str
) -> None:
    with pytest.raises(error, match=reason) as caught:
        open_safetensors(directory_with_index(tmp_path / "m", weight_map))
    message = str(caught.value)
    assert "\n" not in message
    assert "; download" in message


def test_missing_parts_are_named(tmp_path: Path) -> None:
    directory = tiny_hf_directory(tmp_path / "m")
    (directory / "config.json").rename(directory / "other.json")
    with pytest.raises(NotFoundError, match=r"has no config\.json; put"):
        open_safetensors(directory)
    (directory / "model.safetensors").unlink()
    with pytest.raises(NotFoundError, match=r"has no model\.safetensors"):
        open_safetensors(directory)
    with pytest.raises(NotFoundError, match="no such file"):
        open_safetensors(directory / "model.safetensors")


def test_shards_without_their_index_are_refused(tmp_path: Path) -> None:
    directory = tiny_hf_directory(tmp_path / "m", num_shards=2)
    (directory / INDEX).unlink()
    with pytest.raises(NotFoundError, match="several safetensors files"):
        open_safetensors(directory)


def test_one_shard_of_several_is_refused(tmp_path: Path) -> None:
    directory = tiny_hf_directory(tmp_path / "m", num_shards=2)
    with pytest.raises(UsageError, match="give the directory"):
        open_safetensors(directory / "model-00001-of-00002.safetensors")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": NaN}', '{"a":' * 100_000])
def test_a_broken_config_is_refused(tmp_path: Path, text: str) -> None:
    directory = tiny_hf_directory(tmp_path / "m")
    (directory / "config.json").write_text(text)
    with pytest.raises(FormatError, match=r"config\.json .*; download it again"):
        open_safetensors(directory)


def test_an_oversized_config_is_refused(tmp_path: Path) -> None:
    directory = tiny_hf_directory(tmp_path / "m")
    (directory / "config.json").write_text('{"a": "' + "x" * (4 << 20) + '"}')
    with pytest.raises(FormatError, match="more than 4194304 bytes"):
        open_safetensors(directory)
