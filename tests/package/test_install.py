"""kill -9 at any point of writing, replacing or removing leaves the old package or the new one, never a broken one;
and what may be replaced at all."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from package.crashes import count_lines, run_killed_at_line, run_killed_before_change
from package.samples import TINY, expected_names, names_below, sample_tensors, seed_on_disk, stored_bytes, write_sample

from pocketseek.errors import UsageError
from pocketseek.package.manifest import read_manifest
from pocketseek.package.reader import Package
from pocketseek.package.store import ModelStore
from pocketseek.package.writer import PackageWriter

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

NUM_RANDOM_KILLS = 60


def prepare(models_dir: Path, old_seed: int | None) -> Path:
    shutil.rmtree(models_dir, ignore_errors=True)
    if old_seed is not None:
        write_sample(models_dir / "m", seed=old_seed)
    return models_dir / "m"


def check_after_crash(models_dir: Path, allowed_seeds: set[int | None]) -> int | None:
    """Old or new, nothing broken; clean() leaves nothing beside it. The seed that is there (None: no package)."""
    store = ModelStore(models_dir)
    assert store.list_broken() == []
    names = [model.name for model in store.list()]
    assert names in ([], ["m"])
    store.clean()
    assert store.list_broken() == []
    seed = seed_on_disk(models_dir / "m") if names else None
    assert seed in allowed_seeds
    if models_dir.exists():
        assert os.listdir(models_dir) == names
    if names:
        assert names_below(models_dir / "m") == expected_names(models_dir / "m")
    return seed


def kills_until_done(
    models_dir: Path, old_seed: int | None, make_action: Callable[[Path], Callable[[], object]]
) -> int:
    """Kill before every change in turn; the number of kills until the action got through."""
    seen: list[int | None] = []
    change = 0
    while True:
        path = prepare(models_dir, old_seed)
        killed = run_killed_before_change(make_action(path), change)
        seen.append(check_after_crash(models_dir, {old_seed, 2 if old_seed != 2 else None}))
        if not killed:
            assert seen[0] == old_seed
            assert seen[-1] != old_seed
            return change
        change += 1


@pytest.mark.parametrize("old_seed", [None, 1])
def test_a_writer_killed_before_any_change_leaves_old_or_new(memory_dir: Path, old_seed: int | None) -> None:
    num_kills = kills_until_done(memory_dir / "models", old_seed, lambda path: partial(write_sample, path, seed=2))
    assert num_kills > 20


def test_a_removal_killed_before_any_change_leaves_all_or_nothing(memory_dir: Path) -> None:
    models_dir = memory_dir / "models"
    num_kills = kills_until_done(models_dir, 2, lambda path: partial(ModelStore(models_dir).remove, "m"))
    assert num_kills > 10


def test_a_cleaner_killed_before_any_change_can_be_run_again(memory_dir: Path) -> None:
    models_dir = memory_dir / "models"
    change = 0
    killed = True
    while killed:
        path = prepare(models_dir, 1)
        assert run_killed_before_change(partial(write_sample, path, seed=2), 25)
        killed = run_killed_before_change(ModelStore(models_dir).clean, change)
        check_after_crash(models_dir, {1, 2})
        change += 1
    assert change > 5


@pytest.mark.parametrize("old_seed", [None, 1])
def test_a_writer_killed_at_random_lines_leaves_old_or_new_and_the_next_one_works(
    memory_dir: Path, old_seed: int | None
) -> None:
    models_dir = memory_dir / "models"
    path = prepare(models_dir, old_seed)
    num_lines = count_lines(partial(write_sample, path, seed=2))
    draw = random.Random(f"kill {old_seed}")
    for _ in range(NUM_RANDOM_KILLS // 2):
        path = prepare(models_dir, old_seed)
        assert run_killed_at_line(partial(write_sample, path, seed=2), draw.randrange(num_lines - 10))
        assert [model.name for model in ModelStore(models_dir).list()] in ([], ["m"])
        write_sample(path, seed=3)  # without cleaning first
        assert check_after_crash(models_dir, {3}) == 3


def test_replacing_keeps_shared_chunks_and_removes_the_others(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "m", seed=1)
    before = {chunk.sha256 for chunk in read_manifest(path).chunks}
    write_sample(path, seed=2)
    after = {chunk.sha256 for chunk in read_manifest(path).chunks}
    assert before & after
    assert before - after
    assert seed_on_disk(path) == 2
    assert os.listdir(tmp_path) == ["m"]
    assert names_below(path) == expected_names(path)


def test_replacing_does_not_disturb_an_open_reader(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "m", seed=1)
    with Package.open(path) as package:
        write_sample(path, seed=2)
        for name, (_, _, data) in sample_tensors(TINY, 1, "q8s").items():
            assert stored_bytes(package, name) == data


def test_replacing_removes_a_signature_made_for_the_old_manifest(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "m", seed=1)
    (path / "manifest.sig").write_bytes(b"signed")
    write_sample(path, seed=2)
    assert not (path / "manifest.sig").exists()


def test_replacing_heals_a_damaged_package(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "m", seed=1)
    (path / "manifest.json").write_bytes(b"\0" * 100)
    chunk = next((path / "chunks").iterdir())
    chunk.write_bytes(b"x")
    write_sample(path, seed=1)
    assert seed_on_disk(path) == 1


def test_an_empty_directory_is_a_fine_destination(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    assert seed_on_disk(write_sample(tmp_path / "m")) == 1


@pytest.mark.parametrize("make", ["file", "directory", "manifest of something else"])
def test_what_is_not_a_package_is_not_clobbered(tmp_path: Path, make: str) -> None:
    path = tmp_path / "home"
    if make == "file":
        path.write_bytes(b"mine")
    else:
        path.mkdir()
        (path / "letter.txt").write_bytes(b"mine")
        (path / "manifest.json").write_text(json.dumps({"name": "my web page"}))
        (path / "chunks").mkdir()
    before = names_below(tmp_path)
    with pytest.raises(UsageError, match="not a pocketseek package"):
        write_sample(path)
    assert names_below(tmp_path) == before


@pytest.mark.parametrize("path", ["/", "/.."])
def test_the_root_directory_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="name a directory"), PackageWriter(Path(path)):
        pass


def test_a_link_to_a_package_is_written_through(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "real", seed=1)
    (tmp_path / "link").symlink_to(path)
    write_sample(tmp_path / "link", seed=2)
    assert (tmp_path / "link").is_symlink()
    assert seed_on_disk(path) == 2
