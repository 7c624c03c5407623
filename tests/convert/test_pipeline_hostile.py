"""Damaged and hostile checkpoints end in one line of the error tree, or convert; and an error leaves nothing behind."""

from __future__ import annotations

import json
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny_gguf, tiny_hf_directory, tiny_model, write_model_gguf

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.errors import PocketseekError, StorageError
from pocketseek.package.store import ModelStore
from pocketseek.package.verify import verify_package

FAMILIES = ("llama", "qwen2", "qwen3")
fuzzing = settings(max_examples=60, deadline=None)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([0, 1, 2, 2**31, 64]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def gguf_bytes(workspace: Path) -> bytes:
    model = tiny_model(num_layers=1, rope_scaling={"rope_type": "linear", "factor": 2.0})
    return write_model_gguf(workspace / "good.gguf", model, type_name="Q8_0").read_bytes()


@pytest.fixture(scope="module")
def directory(workspace: Path) -> Path:
    return tiny_hf_directory(workspace / "hf", "qwen2")


def convert_or_refuse(source: Path, workspace: Path) -> bool:
    """True if it converted. Anything but a package or a one-line error with nothing left is a failed test."""
    models_dir = workspace / "models"
    shutil.rmtree(models_dir, ignore_errors=True)
    try:
        path = convert_checkpoint(source, models_dir=models_dir, name="m")
    except PocketseekError as error:
        message = str(error)
    else:
        verify_package(path, full=True)
        return True
    assert "\n" not in message
    assert len(message) < 600
    assert ModelStore(models_dir).list_broken() == []
    assert not models_dir.exists() or [name for name in os.listdir(models_dir) if not name.endswith("-lock")] == []
    return False


@fuzzing
@given(data=st.data())
def test_a_gguf_cut_anywhere_is_refused(data: st.DataObject, workspace: Path, gguf_bytes: bytes) -> None:
    length = data.draw(st.integers(0, len(gguf_bytes) - 1))
    path = workspace / "cut.gguf"
    path.write_bytes(gguf_bytes[:length])
    assert not convert_or_refuse(path, workspace)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_gguf_with_changed_header_bytes_never_does_anything_else(
    data: st.DataObject, workspace: Path, gguf_bytes: bytes
) -> None:
    changed = bytearray(gguf_bytes)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, 13_000))] = data.draw(st.integers(0, 255))
    path = workspace / "changed.gguf"
    path.write_bytes(changed)
    convert_or_refuse(path, workspace)


@fuzzing
@given(data=st.data())
def test_a_safetensors_file_cut_anywhere_is_refused(data: st.DataObject, workspace: Path, directory: Path) -> None:
    weights = directory / "model.safetensors"
    whole = weights.read_bytes()
    try:
        weights.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
        assert not convert_or_refuse(directory, workspace)
    finally:
        weights.write_bytes(whole)


@settings(max_examples=150, deadline=None)
@given(
    changes=st.dictionaries(
        st.sampled_from(
            sorted(
                [
                    *tiny_model("qwen2").config,
                    "head_dim",
                    "layer_types",
                    "rope_parameters",
                    "sliding_window",
                    "use_sliding_window",
                    "quantization_config",
                ]
            )
        ),
        anything,
        min_size=1,
        max_size=3,
    )
)
def test_any_settings_convert_or_are_refused(changes: dict[str, Any], workspace: Path, directory: Path) -> None:
    with edited(directory / "config.json", changes):
        convert_or_refuse(directory, workspace)


@fuzzing
@given(
    kind=st.sampled_from(["default", "linear", "llama3", "yarn", "dynamic"]),
    values=st.dictionaries(
        st.sampled_from(["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings",
                         "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "attention_factor", "attn_factor",
                         "truncate", "rope_theta"]),
        st.floats(allow_nan=False, allow_infinity=False) | st.integers(-5, 10**9) | st.booleans(),
    ),
)  # fmt: skip
def test_any_rope_settings_convert_or_are_refused(
    kind: str, values: dict[str, Any], workspace: Path, directory: Path
) -> None:
    with edited(directory / "config.json", {"rope_scaling": {"rope_type": kind} | values}):
        convert_or_refuse(directory, workspace)


@contextmanager
def edited(path: Path, changes: dict[str, Any]) -> Iterator[None]:
    before = path.read_bytes()
    try:
        path.write_text(json.dumps(json.loads(before) | changes))
        yield
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("limit_bytes", [0, 5_000, 20_000])
def test_a_disk_that_fills_up_leaves_no_trace(limit_bytes: int, tmp_path: Path) -> None:
    """A limit on file sizes stands in for the full disk: writing fails in the middle either way."""
    source = tiny_gguf(tmp_path / "model.gguf")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        with pytest.raises(StorageError):
            convert_checkpoint(source, models_dir=tmp_path / "models", name="m")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == ["model.gguf"]
