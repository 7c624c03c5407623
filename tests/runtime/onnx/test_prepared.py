"""Prepared copies: made where there is room, and gone when their model is."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from pocketseek.errors import FormatError
from pocketseek.runtime.onnx.prepared import PreparedCopies, sweep

Usage = namedtuple("Usage", ["total", "used", "free"])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"x" * 1000)
    return path


@pytest.fixture
def copies(tmp_path: Path) -> PreparedCopies:
    return PreparedCopies(tmp_path / "copies", library_version="1", processor="this")


def make(folder: Path) -> None:
    (folder / "stage-000.onnx").write_bytes(b"copy")


def left(tmp_path: Path) -> int:
    return len(list((tmp_path / "copies").iterdir()))


def test_a_copy_is_made_once_and_anew_when_the_model_changes(
    source: Path, copies: PreparedCopies, tmp_path: Path
) -> None:
    first = copies.find_or_make([source], make)
    assert first is not None
    assert copies.find_or_make([source], lambda _folder: pytest.fail("made again")) == first
    source.write_bytes(b"another")
    assert copies.find_or_make([source], make) != first
    assert left(tmp_path) == 1


def test_copies_of_models_that_are_gone_are_swept_and_others_stay(
    source: Path, copies: PreparedCopies, tmp_path: Path
) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(b"other")
    copies.find_or_make([source], make)
    kept = copies.find_or_make([other], make)
    (tmp_path / "copies" / ".abc.99999999").mkdir()
    (tmp_path / "copies" / f".abc.{os.getpid()}").mkdir()
    source.unlink()
    assert sweep(tmp_path / "copies") > 0
    assert {path.name for path in (tmp_path / "copies").iterdir()} == {kept.name, f".abc.{os.getpid()}"}


def test_a_model_named_from_its_own_folder_is_the_same_model(
    source: Path, copies: PreparedCopies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = copies.find_or_make([Path("model.onnx")], make)
    monkeypatch.chdir("/")
    assert sweep(tmp_path / "copies") == 0
    assert copies.find_or_make([source], make) == place


def test_without_room_for_five_times_the_model_none_is_made(
    source: Path, copies: PreparedCopies, monkeypatch: pytest.MonkeyPatch
) -> None:
    for free, is_made in ((4999, False), (5000, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _path, free=free: Usage(0, 0, free))
        assert (copies.find_or_make([source], make) is not None) == is_made


@pytest.mark.parametrize("error", [OSError("full"), FormatError("ONNX Runtime could not write")])
def test_what_fails_leaves_nothing(source: Path, copies: PreparedCopies, tmp_path: Path, error: Exception) -> None:
    def fail(folder: Path) -> None:
        make(folder)
        raise error

    assert copies.find_or_make([source], fail) is None
    assert left(tmp_path) == 0
