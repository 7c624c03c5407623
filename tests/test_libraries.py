"""Libraries that are there or not, or do not load."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pocketseek.errors import UnsupportedError
from pocketseek.libraries import check_onnxruntime, load_library, numbers_of


@pytest.mark.parametrize("failure", ["ImportError('bad\\nELF')", "TypeError('another protobuf')", "OSError('no .so')"])
def test_whatever_importing_raises_is_one_line_with_the_remedy(
    failure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_library.py").write_text(f"raise {failure}")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UnsupportedError, match=r"^flying needs .*; install wings$") as error:
        load_library("broken_library", "install wings", needed_for="flying")
    assert "\n" not in str(error.value)
    assert "broken_library" not in sys.modules


@pytest.mark.parametrize(("version", "least"), [("1.21.1", "1.22"), ("1.9.0", "1.20"), ("0.99", "1.0")])
def test_an_older_onnx_runtime_than_is_needed_is_told(version: str, least: str) -> None:
    with pytest.raises(UnsupportedError, match=f"int8 needs ONNX Runtime {least} or newer, and {version}"):
        check_onnxruntime(version, least, "int8")


def test_versions_are_compared_by_number() -> None:
    check_onnxruntime("1.32.0", "1.22", "int8")
    check_onnxruntime("2.0", "1.22", "int8")
    assert numbers_of("1.22.0+cpu") == (1, 22)
