"""Bytes of an export are hashed once, and again when something touched them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from pocketseek.errors import IntegrityError, UnsupportedError
from pocketseek.runtime.onnx.file_hashes import check_files, verify_export
from pocketseek.runtime.onnx.model_files import OnnxModel, StageFile, TensorNames
from pocketseek.types import ModelConfig

CONFIG = ModelConfig(
    family="llama", num_layers=1, hidden_size=8, intermediate_size=8, num_heads=1, num_kv_heads=1, head_dim=8,
    vocab_size=8, context_length=8, rms_norm_eps=1e-6, rope_theta=1e4,
)  # fmt: skip
LONG_AGO_NS = 1_700_000_000_000_000_000


@pytest.fixture
def model(tmp_path: Path) -> OnnxModel:
    sha256 = {}
    for name, data in (("embed.ort", b"embedding"), ("head.ort", b"head" * 1000)):
        path = tmp_path / name
        path.write_bytes(data)
        os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))
        sha256[path] = hashlib.sha256(data).hexdigest()
    stages = tuple(StageFile(path, (0, 1)) for path in sha256)
    return OnnxModel("m", tmp_path, "pocketseek", CONFIG, stages, TensorNames(), True, sha256=sha256)


def hashed_bytes(model: OnnxModel, *, full: bool = False) -> int:
    seen = [0]
    check_files(model, lambda done, _total: seen.append(done), full=full)
    return seen[-1]


def test_bytes_are_hashed_before_the_first_use_and_not_again(model: OnnxModel) -> None:
    assert hashed_bytes(model) == 4009
    assert hashed_bytes(model) == 0
    assert hashed_bytes(model, full=True) == 4009


def test_a_file_that_was_touched_is_hashed_again(model: OnnxModel) -> None:
    check_files(model)
    os.utime(model.folder / "embed.ort", ns=(LONG_AGO_NS, LONG_AGO_NS + 5))
    assert hashed_bytes(model) == 9


def test_a_flipped_byte_is_found_and_named(model: OnnxModel) -> None:
    check_files(model)
    (model.folder / "head.ort").write_bytes(b"head" * 999 + b"hand")
    for _ in range(2):
        with pytest.raises(IntegrityError, match=r"head\.ort is damaged"):
            check_files(model)


def test_a_flipped_byte_with_the_old_mtime_is_found_by_a_full_check(model: OnnxModel) -> None:
    check_files(model)
    with (model.folder / "head.ort").open("r+b") as file:
        file.write(b"H")
    os.utime(model.folder / "head.ort", ns=(LONG_AGO_NS, LONG_AGO_NS))
    verify_export(model, full=False)
    with pytest.raises(IntegrityError, match=r"head\.ort is damaged"):
        verify_export(model, full=True)


def test_a_folder_that_cannot_be_written_is_hashed_each_time(model: OnnxModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "open", refuse)
    assert hashed_bytes(model) == 4009
    assert hashed_bytes(model) == 4009


def test_other_tools_models_cannot_be_verified(model: OnnxModel) -> None:
    foreign = replace(model, maker="genai", sha256={})
    check_files(foreign)
    with pytest.raises(UnsupportedError, match="another tool"):
        verify_export(foreign, full=True)
