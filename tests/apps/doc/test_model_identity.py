"""Two models that could answer differently are two."""

from pathlib import Path

import pytest

from pocketseek.apps.doc.model_identity import model_identity
from pocketseek.errors import PocketseekError


def test_a_package_is_what_its_manifest_says_wherever_it_is(tmp_path: Path) -> None:
    for name, manifest in (("a", b"{}"), ("b", b"{}"), ("c", b"{ }")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_bytes(manifest)
    first, second, third = (model_identity(tmp_path / name, "native", "f16") for name in "abc")
    assert first == second != third
    assert model_identity(tmp_path / "a", "native", "q8") != first
    assert model_identity(tmp_path / "a", "onnx", "f16") != first


def test_an_onnx_model_is_known_by_its_files(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"abc")
    first = model_identity(tmp_path, "onnx", "")
    assert model_identity(tmp_path / "model.onnx", "onnx", "") == first
    (tmp_path / "model.onnx").write_bytes(b"abcd")
    assert model_identity(tmp_path, "onnx", "") != first


def test_a_model_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PocketseekError):
        model_identity(tmp_path / "gone" / "model", "native", "")
