from __future__ import annotations

import os
from pathlib import Path

import pytest
from package.samples import expected_names, names_below, seed_on_disk, write_sample

from pocketseek.errors import BusyError, FormatError, NotFoundError, UsageError
from pocketseek.package.lock import destination_lock
from pocketseek.package.manifest import read_manifest
from pocketseek.package.reader import Package
from pocketseek.package.store import ModelStore


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    models = ModelStore(tmp_path / "models")
    write_sample(models.path_for_new("beta"), seed=1)
    write_sample(models.path_for_new("alpha.v2"), seed=2)
    return models


def test_models_are_listed_by_name_with_what_their_manifest_says(store: ModelStore) -> None:
    models = store.list()
    assert [model.name for model in models] == ["alpha.v2", "beta"]
    assert models[0].manifest == read_manifest(store.models_dir / "alpha.v2")
    assert models[0].num_bytes == models[0].manifest.num_bytes
    assert models[0].path == store.models_dir / "alpha.v2"


def test_a_store_without_a_directory_is_empty(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "nothing")
    assert store.list() == []
    assert store.list_broken() == []
    assert store.clean() == 0
    assert not (tmp_path / "nothing").exists()
    with pytest.raises(NotFoundError, match="nothing is installed yet"):
        store.resolve("demo")


def test_broken_models_are_listed_apart_with_a_reason(store: ModelStore) -> None:
    (store.models_dir / "beta" / "manifest.json").write_bytes(b"{")
    next((store.models_dir / "alpha.v2" / "chunks").iterdir()).unlink()
    (store.models_dir / "empty").mkdir()
    (store.models_dir / "note.txt").write_bytes(b"")
    (store.models_dir / ".hidden").mkdir()
    assert store.list() == []
    broken = {model.name: model.reason for model in store.list_broken()}
    assert broken.keys() == {"alpha.v2", "beta", "empty"}
    assert "missing" in broken["alpha.v2"]
    assert "not valid JSON" in broken["beta"]
    assert "not a pocketseek package" in broken["empty"]
    assert all(len(reason.splitlines()) == 1 for reason in broken.values())


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "-x", "a/b", "a\\b", "a b", "ü", "a\n", "x" * 101, "\0", "../m"]
)
def test_impossible_names_are_refused(store: ModelStore, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a model name"):
        store.path_for_new(name)
    with pytest.raises(NotFoundError):
        store.remove(name)


def test_names_and_paths_are_resolved_and_a_name_wins(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = write_sample(tmp_path / "elsewhere" / "beta", seed=3)
    monkeypatch.chdir(outside.parent)
    assert store.resolve("beta") == store.models_dir / "beta"
    assert store.resolve("./beta").resolve() == outside
    assert store.resolve(str(outside)) == outside
    monkeypatch.chdir(outside)
    assert store.resolve(".").resolve() == outside


@pytest.mark.parametrize("name", ["", "nothing", "x" * 5000, "a\0b", "no/such/path", "~nobody-here/x"])
def test_an_unknown_name_gets_the_list_of_installed_ones(store: ModelStore, name: str) -> None:
    with pytest.raises(NotFoundError, match=r"installed: alpha\.v2, beta"):
        store.resolve(name)


def test_a_path_to_something_else_is_called_that(store: ModelStore, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    for path in (tmp_path, tmp_path / "model.gguf"):
        with pytest.raises(FormatError, match="not a pocketseek package; make one with `pocketseek convert`"):
            store.resolve(str(path))


def test_removing_frees_the_bytes_and_leaves_the_others(store: ModelStore) -> None:
    size = sum(path.stat().st_size for path in (store.models_dir / "beta").rglob("*") if path.is_file())
    assert store.remove("beta") == size
    assert os.listdir(store.models_dir) == ["alpha.v2"]
    with pytest.raises(NotFoundError, match=r"installed: alpha\.v2"):
        store.remove("beta")


@pytest.mark.parametrize("damage", ["manifest.json", "chunks"])
def test_broken_models_can_be_removed(store: ModelStore, damage: str) -> None:
    broken = store.models_dir / "beta"
    if damage == "chunks":
        for chunk in (broken / "chunks").iterdir():
            chunk.unlink()
        (broken / "chunks").rmdir()
    else:
        (broken / "manifest.json").unlink()
    store.remove("beta")
    assert os.listdir(store.models_dir) == ["alpha.v2"]


def test_what_is_no_package_is_not_removed(store: ModelStore) -> None:
    (store.models_dir / "photos").mkdir()
    (store.models_dir / "photos" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(UsageError, match="not a pocketseek package"):
        store.remove("photos")
    assert (store.models_dir / "photos" / "cat.jpg").exists()


def test_a_linked_model_is_listed_and_only_its_link_removed(store: ModelStore, tmp_path: Path) -> None:
    outside = write_sample(tmp_path / "card" / "m", seed=3)
    (store.models_dir / "card").symlink_to(outside)
    assert "card" in [model.name for model in store.list()]
    assert store.remove("card") == 0
    assert seed_on_disk(outside) == 3
    assert sorted(os.listdir(store.models_dir)) == ["alpha.v2", "beta"]


def test_a_removed_model_stays_readable_for_who_has_it_open(store: ModelStore) -> None:
    with Package.open(store.resolve("beta")) as package:
        store.remove("beta")
        assert package.tensor("head.norm").parts[0].data.size == 48 * 4


def test_a_model_that_is_being_changed_is_busy(store: ModelStore) -> None:
    with destination_lock(store.models_dir / "beta"), pytest.raises(BusyError):
        store.remove("beta")
    assert [model.name for model in store.list()] == ["alpha.v2", "beta"]


def test_cleaning_removes_leftovers_of_the_dead_and_spares_the_living(store: ModelStore) -> None:
    for name in ("dead", "alive"):
        chunks = store.models_dir / f".{name}.pocketseek-partial" / "chunks"
        chunks.mkdir(parents=True)
        (chunks / "unfinished").write_bytes(b"x" * 1000)
    (store.models_dir / ".dead.pocketseek-lock").touch()
    (store.models_dir / ".gone.pocketseek-trash" / "chunks").mkdir(parents=True)
    (store.models_dir / "beta" / ".verified-0123").touch()
    (store.models_dir / ".mine").mkdir()
    with destination_lock(store.models_dir / "alive"):
        assert store.clean() == 1000
        assert sorted(os.listdir(store.models_dir)) == [
            ".alive.pocketseek-lock",
            ".alive.pocketseek-partial",
            ".mine",
            "alpha.v2",
            "beta",
        ]
    assert names_below(store.models_dir / "beta") == expected_names(store.models_dir / "beta")


def test_cleaning_finishes_a_replacement_that_died_after_its_commit(store: ModelStore) -> None:
    package = store.models_dir / "beta"
    stale = package / "chunks" / ("0" * 64)
    stale.write_bytes(b"x" * 500)
    foreign = package / "chunks" / "README"
    foreign.write_bytes(b"mine")
    (store.models_dir / ".beta.pocketseek-partial").mkdir()
    assert store.clean() == 500
    assert not stale.exists()
    assert foreign.exists()
    assert seed_on_disk(package) == 1
