"""Where a package came from is noted beside it, and anything that is no such note is no note."""

import os
from pathlib import Path

import pytest
from package.samples import seed_on_disk, write_sample

from pocketseek.package.manifest import read_manifest
from pocketseek.package.origin import Origin, read_origin, write_origin
from pocketseek.package.store import ModelStore

ORIGIN = Origin("https://example.org/tiny", "2026-01-31T12:00:00Z")


def test_what_was_noted_is_read(tmp_path: Path) -> None:
    assert read_origin(tmp_path) is None
    write_origin(tmp_path, ORIGIN)
    assert read_origin(tmp_path) == ORIGIN


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"address":"x"}',
        b'{"address":"a\\nb","pulled_at":"2026-01-31T12:00:00Z"}',
        b'{"address":"x","pulled_at":"yesterday"}',
        b'{"address":"x","pulled_at":"2026-01-31T12:00:00Z","more":1}',
        b"[" * 20_000,
    ],
)
def test_anything_else_is_no_note(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "origin.json").write_bytes(data)
    assert read_origin(tmp_path) is None


def test_the_origin_of_an_older_package_is_not_kept_for_a_newer_one(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "models" / "m", seed=1)
    write_origin(path, ORIGIN)
    (path / "manifest.sig").write_bytes(b"old")
    write_sample(path, seed=2)
    assert read_origin(path) is None
    assert not (path / "manifest.sig").exists()
    assert seed_on_disk(path) == 2


def test_a_package_with_a_damaged_manifest_and_notes_can_be_removed(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "models" / "m", seed=1)
    write_origin(path, ORIGIN)
    (path / "quarantine").mkdir()
    (path / "checked.json").write_bytes(b"{}")
    (path / "manifest.json").write_bytes(b"damaged")
    ModelStore(tmp_path / "models").remove("m")
    assert os.listdir(tmp_path / "models") == []


def test_what_was_moved_aside_goes_when_it_was_replaced_and_not_before(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "models" / "m", seed=1)
    first, last = (read_manifest(path).chunks[index].sha256 for index in (0, -1))
    (path / "quarantine").mkdir()
    os.rename(path / "chunks" / last, path / "quarantine" / f"{last}.damaged")
    (path / "quarantine" / f"{first}.damaged").touch()
    (tmp_path / "models" / ".m.pocketseek-partial").mkdir()
    ModelStore(tmp_path / "models").clean()
    assert os.listdir(path / "quarantine") == [f"{last}.damaged"]
    write_sample(path, seed=1)
    assert not (path / "quarantine").exists()
    assert seed_on_disk(path) == 1
