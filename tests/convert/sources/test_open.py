from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from checkpoints import Typed, gguf_bytes, safetensors_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny_gguf, tiny_hf_directory

from pocketseek.convert.sources.ggml_types import READABLE_TYPES
from pocketseek.convert.sources.open import open_source
from pocketseek.errors import FormatError, NotFoundError, PocketseekError, UnsupportedError, UsageError

VALUES = np.arange(64, dtype=np.float32).reshape(2, 32)
GGUF = gguf_bytes(
    {"general.architecture": "llama", "words": ["a", "bc"], "nested": [[1], [2, 3]], "flag": Typed("bool", [True])},
    {"a": ("F32", VALUES), "b": ("Q8_0", VALUES), "c": ("BF16", VALUES[0])},
)
SAFETENSORS = safetensors_bytes({"a": ("F32", VALUES), "b": ("BF16", VALUES[0]), "c": ("F16", VALUES)}, {"k": "v"})
CONFIG = json.dumps({"model_type": "llama", "rope_scaling": {"factor": 2.0}}).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that examples of one test overwrite in turn."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "config.json").write_bytes(CONFIG)
    return folder


def read_all(path: Path) -> dict[str, tuple[int, ...]] | None:
    """Names and shapes of everything that could be read, or None if the checkpoint was refused as it should be."""
    try:
        source = open_source(path)
    except PocketseekError as error:
        check_message(error)
        return None
    for name, tensor in source.tensors.items():
        if tensor.type in READABLE_TYPES:
            source.read_raw(name, 0, tensor.num_rows)
            source.read_rows(name, 0, tensor.num_rows)
    source.close()
    return {name: tensor.shape for name, tensor in source.tensors.items()}


def check_message(error: PocketseekError) -> None:
    assert str(error).isprintable()
    assert "; " in str(error)


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    source = open_source(tiny_gguf(tmp_path / "weights.safetensors"))
    assert source.kind == "gguf"
    source.close()
    directory = tiny_hf_directory(tmp_path / "m")
    source = open_source((directory / "model.safetensors").rename(directory / "model.gguf"))
    assert source.kind == "safetensors"
    source.close()


def test_directories_and_indexes_are_opened(tmp_path: Path) -> None:
    directory = tiny_hf_directory(tmp_path / "hf", num_shards=2)
    for path in (directory, str(directory), directory / "model.safetensors.index.json"):
        source = open_source(path)
        assert len(source.tensors) == 21
        source.close()


def test_a_directory_with_one_gguf_file_is_opened(tmp_path: Path) -> None:
    tiny_gguf(tmp_path / "a.gguf")
    open_source(tmp_path).close()
    tiny_gguf(tmp_path / "b.gguf")
    with pytest.raises(UsageError, match="holds 2 GGUF files; give one"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("data", "error", "reason"),
    [
        (b"PK\x03\x04" + bytes(60), UnsupportedError, "PyTorch checkpoint; convert it to safetensors first"),
        (b"\x80\x02}q\x00." + bytes(60), UnsupportedError, "PyTorch checkpoint; convert it to safetensors first"),
        (b"\x89HDF\r\n", UnsupportedError, "convert it to safetensors first"),
        (b"tjgg" + bytes(60), UnsupportedError, "get the GGUF version"),
        (b"version https://git-lfs.github.com/spec/v1\n", FormatError, "git lfs pull"),
        (b"<!DOCTYPE html><html>", FormatError, "web page"),
        (b"\x1f\x8b\x08", FormatError, "unpack it first"),
        (b"", FormatError, "is empty"),
        (b"hello", FormatError, "neither GGUF nor safetensors"),
    ],
)
def test_other_files_are_named_with_a_remedy(
    tmp_path: Path, data: bytes, error: type[PocketseekError], reason: str
) -> None:
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(data)
    with pytest.raises(error, match=reason) as caught:
        open_source(path)
    check_message(caught.value)


def test_a_lfs_pointer_inside_a_directory_is_recognised(tmp_path: Path) -> None:
    directory = tiny_hf_directory(tmp_path / "m")
    (directory / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(FormatError, match="git lfs pull"):
        open_source(directory)


def test_directories_without_a_checkpoint_are_explained(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="holds no checkpoint"):
        open_source(tmp_path)
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(UnsupportedError, match="convert them to safetensors first"):
        open_source(tmp_path)
    (tmp_path / "manifest.json").touch()
    (tmp_path / "chunks").mkdir()
    with pytest.raises(UsageError, match="package already"):
        open_source(tmp_path)


@pytest.mark.parametrize("name", ["missing", "nul\0", "n" * 5000])
def test_a_path_without_a_file_gives_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(PocketseekError) as caught:
        open_source(tmp_path / name)
    check_message(caught.value)


def test_every_truncated_gguf_is_refused(folder: Path) -> None:
    path = folder / "cut.gguf"
    shapes = []
    for size in range(len(GGUF)):
        path.write_bytes(GGUF[:size])
        shapes.append(read_all(path))
    assert set(map(type, shapes)) == {type(None)}


def test_every_truncated_safetensors_is_refused(folder: Path) -> None:
    path = folder / "cut.safetensors"
    for size in range(len(SAFETENSORS)):
        path.write_bytes(SAFETENSORS[:size])
        assert read_all(path) is None


def flipped(data: bytes, flips: list[tuple[int, int]]) -> bytes:
    changed = bytearray(data)
    for position, bits in flips:
        changed[position % len(data)] ^= bits
    return bytes(changed)


flips = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(1, 255)), min_size=1, max_size=4)


@settings(max_examples=300, deadline=None)
@given(flips=flips)
def test_flipped_bytes_of_a_gguf_are_read_or_refused(folder: Path, flips: list[tuple[int, int]]) -> None:
    path = folder / "flipped.gguf"
    path.write_bytes(flipped(GGUF, flips))
    read_all(path)


@settings(max_examples=300, deadline=None)
@given(flips=flips)
def test_flipped_bytes_of_a_safetensors_are_read_or_refused(folder: Path, flips: list[tuple[int, int]]) -> None:
    path = folder / "flipped.safetensors"
    path.write_bytes(flipped(SAFETENSORS, flips))
    read_all(path)


@settings(max_examples=100, deadline=None)
@given(position=st.integers(0, 399), bits=st.integers(1, 255))
def test_flips_in_the_data_change_no_listing(folder: Path, position: int, bits: int) -> None:
    for data, name in ((GGUF, "data.gguf"), (SAFETENSORS, "data.safetensors")):
        path = folder / name
        path.write_bytes(flipped(data, [(len(data) - 1 - position, bits)]))
        assert set(read_all(path) or {}) == {"a", "b", "c"}


@settings(max_examples=200, deadline=None)
@given(kind=st.sampled_from([b"", b"GGUF\x03\0\0\0", b"\x20\0\0\0\0\0\0\0{"]), data=st.binary(max_size=300))
def test_random_bytes_are_refused_or_read(folder: Path, kind: bytes, data: bytes) -> None:
    path = folder / "random"
    path.write_bytes(kind + data)
    read_all(path)


@settings(max_examples=100, deadline=None)
@given(flips=flips, truncate=st.booleans())
def test_damaged_configs_are_read_or_refused(folder: Path, flips: list[tuple[int, int]], truncate: bool) -> None:
    directory = folder / "config"
    directory.mkdir(exist_ok=True)
    (directory / "model.safetensors").write_bytes(SAFETENSORS)
    config = CONFIG[: flips[0][0] % len(CONFIG)] if truncate else flipped(CONFIG, flips)
    (directory / "config.json").write_bytes(config)
    read_all(directory)
