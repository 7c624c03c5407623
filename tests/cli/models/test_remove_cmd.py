"""`remove` deletes an installed model, after asking, and nothing else."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketseek.cli.models import remove_cmd
from pocketseek.errors import NotFoundError, StorageError, UsageError


def test_it_is_gone_afterwards(run: Callable, installed: Path) -> None:
    freed_bytes = run("remove", "tiny", "--yes", "--json").json["freed_bytes"]
    assert isinstance(freed_bytes, int)
    assert freed_bytes > 0
    assert list(installed.parent.iterdir()) == []


def test_a_script_must_confirm_in_advance(run: Callable, installed: Path) -> None:
    ended = run("remove", "tiny")
    assert ended.code == UsageError.exit_code
    assert "--yes" in ended.error
    assert installed.exists()


@pytest.mark.parametrize(("answer", "remains"), [("n\n", True), ("\n", True), ("y\n", False)])
def test_a_person_is_asked(
    run: Callable, installed: Path, monkeypatch: pytest.MonkeyPatch, answer: str, remains: bool
) -> None:
    monkeypatch.setattr(remove_cmd, "is_interactive", lambda: True)
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    assert run("remove", "tiny").code == 0
    assert installed.exists() is remains


@pytest.mark.parametrize("name", ["absent", "../models"])
def test_only_installed_names_can_be_removed(run: Callable, installed: Path, name: str) -> None:
    assert run("remove", name, "--yes").code in (NotFoundError.exit_code, UsageError.exit_code)
    assert installed.exists()


def test_a_broken_model_can_be_removed(run: Callable, installed: Path) -> None:
    (installed / "manifest.json").write_text("{}")
    assert run("remove", "tiny", "--yes").code == 0
    assert not installed.exists()


def test_leftovers_of_killed_conversions_go_too(run: Callable, installed: Path) -> None:
    partial = installed.parent / ".other.pocketseek-partial"
    partial.mkdir()
    (partial / "half").write_bytes(bytes(1_000_000))
    freed_bytes = run("remove", "tiny", "--yes", "--json").json["freed_bytes"]
    assert isinstance(freed_bytes, int)
    assert freed_bytes > 1_000_000
    assert list(installed.parent.iterdir()) == []


def test_a_path_is_not_a_name(run: Callable, tiny_package: Path) -> None:
    ended = run("remove", tiny_package, "--yes")
    assert ended.code == UsageError.exit_code
    assert "name of an installed model" in ended.error
    assert tiny_package.exists()


@pytest.mark.parametrize("command", ["remove", "inspect"])
def test_a_forbidden_data_directory_is_a_storage_error(
    run: Callable, installed: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def forbid(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_dir", forbid)
    assert run(command, "tiny").code == StorageError.exit_code


def test_what_was_made_of_it_for_onnx_runtime_goes_with_it(run: Callable, home: Path, installed: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    assert run("generate", "tiny", "Hello", "--max-tokens", 2, "--engine", "onnx").code == 0
    folders = [home / "cache" / "onnx", home / "cache" / "onnx-exports"]
    assert all(list(folder.iterdir()) for folder in folders)
    run("remove", "tiny", "--yes")
    assert not any(list(folder.iterdir()) for folder in folders)
