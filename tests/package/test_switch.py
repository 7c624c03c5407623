"""Changing to a new version, going back and letting go: killed before any change, one of the two versions is there,
whole, with its own signature, and what is done next works."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from package.crashes import run_killed_before_change
from package.samples import expected_names, flip_bit, names_below
from package.versions import write_new, write_old

from pocketseek.errors import IntegrityError, NotFoundError
from pocketseek.package.install import is_package_dir
from pocketseek.package.manifest import read_manifest, read_manifest_bytes, version_id
from pocketseek.package.origin import Origin, read_origin, write_origin
from pocketseek.package.paths import update_path
from pocketseek.package.settle import is_settled, settle
from pocketseek.package.store import ModelStore
from pocketseek.package.switch import (
    drop_previous,
    go_back,
    has_answered,
    note_answered,
    previous_manifest_bytes,
    read_signature,
    switch_to_update,
)
from pocketseek.package.verify import verify_package

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

SIGNED = [(True, True), (True, False), (False, True), (False, False)]


class Stage:
    """The two versions, and a package at m that stands before or after an update."""

    def __init__(
        self, folder: Path, *, old_signed: bool = True, new_signed: bool = True, has_origins: bool = False
    ) -> None:
        self.old, self.new = write_old(folder / "old"), write_new(folder / "new")
        self.models = folder / "models"
        self.path = self.models / "m"
        self.signatures = {
            read_manifest_bytes(self.old): b"of the old" if old_signed else None,
            read_manifest_bytes(self.new): b"of the new" if new_signed else None,
        }
        self.origins = {
            read_manifest_bytes(self.old): Origin.now("https://old.example/m") if has_origins else None,
            read_manifest_bytes(self.new): Origin.now("https://new.example/m") if has_origins else None,
        }

    def before(self) -> Path:
        """The old version installed, the new one fetched."""
        shutil.rmtree(self.models, ignore_errors=True)
        self._copy(self.old, self.path)
        known = {path.name for path in (self.old / "chunks").iterdir()} | {
            path.name for path in (self.old / "files").iterdir()
        }
        update = update_path(self.path)
        self._copy(self.new, update)
        (update / "verified.json").unlink()
        (update / "deltas").mkdir()
        for folder in ("chunks", "files"):
            for path in list((update / folder).iterdir()):
                if path.name in known:
                    path.unlink()
        return self.path

    def after(self, *, keep: bool = False) -> Path:
        """The new version installed, the old one kept."""
        self.before()
        switch_to_update(self.path, keep_previous=keep)
        return self.path

    def _copy(self, source: Path, target: Path) -> None:
        shutil.copytree(source, target)
        signature = self.signatures[read_manifest_bytes(source)]
        if signature is not None:
            (target / "manifest.sig").write_bytes(signature)
        origin = self.origins[read_manifest_bytes(source)]
        if origin is not None:
            write_origin(target, origin)

    def check_whole(self) -> bytes:
        """What is there is one of the versions, every byte of it, and its signature is found."""
        data = read_manifest_bytes(self.path)
        assert ModelStore(self.models).list_broken() == []
        verify_package(self.path, full=True)
        assert read_signature(self.path) == self.signatures[data]
        return data

    def check_settled(self) -> bytes:
        data = self.check_whole()
        assert is_settled(self.path)
        assert (self.path / "manifest.sig").exists() is (self.signatures[data] is not None)
        assert read_origin(self.path) == self.origins[data]
        return data


@pytest.fixture
def stage(memory_dir: Path) -> Stage:
    return Stage(memory_dir)


def names_of(path: Path) -> set[str]:
    return {name for name in names_below(path) if name != "verified.json" and name != "checked.json"}


def test_the_new_version_is_in_use_and_the_old_one_can_be_gone_back_to(stage: Stage) -> None:
    stage.after()
    assert stage.check_settled() == read_manifest_bytes(stage.new)
    assert previous_manifest_bytes(stage.path) == read_manifest_bytes(stage.old)
    assert os.listdir(stage.models) == ["m"]
    go_back(stage.path)
    assert stage.check_settled() == read_manifest_bytes(stage.old)
    assert names_of(stage.path) == names_of(stage.old) | {"manifest.sig"}


def test_there_is_nothing_to_go_back_to_twice(stage: Stage) -> None:
    stage.after()
    go_back(stage.path)
    before = names_below(stage.models)
    with pytest.raises(NotFoundError, match="no version to go back to"):
        go_back(stage.path)
    assert names_below(stage.models) == before


def test_a_damaged_old_version_is_not_gone_back_to(stage: Stage) -> None:
    stage.after()
    only_old = {chunk.sha256 for chunk in read_manifest(stage.old).chunks} - {
        chunk.sha256 for chunk in read_manifest(stage.new).chunks
    }
    (stage.path / "chunks" / only_old.pop()).unlink()
    with pytest.raises(IntegrityError):
        go_back(stage.path)
    assert stage.check_settled() == read_manifest_bytes(stage.new)


def test_an_old_version_with_a_damaged_file_is_not_gone_back_to(stage: Stage) -> None:
    stage.after()
    file = next(iter(read_manifest(stage.old).files.values()))
    flip_bit(stage.path / "files" / file.sha256, 1, keep_times=True)
    for _ in range(2):
        with pytest.raises(IntegrityError, match="is damaged"):
            go_back(stage.path)
    assert read_manifest_bytes(stage.path) == read_manifest_bytes(stage.new)
    assert previous_manifest_bytes(stage.path) is not None


def test_an_update_that_is_half_removed_changes_nothing(memory_dir: Path) -> None:
    """As a kill leaves what was let go of, however far changing to it had come."""
    stage = Stage(memory_dir, new_signed=False, has_origins=True)
    num_cut_short = 0
    for change in range(40):
        stage.before()
        run_killed_before_change(partial(switch_to_update, stage.path, keep_previous=False), change)
        if read_manifest_bytes(stage.path) == read_manifest_bytes(stage.old):
            (update_path(stage.path) / "manifest.json").unlink()
            assert read_signature(stage.path) == b"of the old"
            settle(stage.path)
            assert stage.check_settled() == read_manifest_bytes(stage.old)
            assert not update_path(stage.path).exists()
            num_cut_short += 1
    assert num_cut_short > 10


def test_letting_go_leaves_the_new_version_alone(stage: Stage) -> None:
    stage.after()
    assert drop_previous(stage.path) > 0
    assert stage.check_settled() == read_manifest_bytes(stage.new)
    assert names_below(stage.path) == expected_names(stage.path) | {"manifest.sig"}


def test_letting_go_of_an_unsigned_version_that_nothing_else_tells_of_removes_its_chunks(memory_dir: Path) -> None:
    stage = Stage(memory_dir, old_signed=False, new_signed=False)
    stage.after()
    assert drop_previous(stage.path) > 0
    assert names_of(stage.path) == names_of(stage.new)


def test_only_an_answer_of_the_version_in_use_counts(stage: Stage) -> None:
    stage.after()
    assert not has_answered(stage.path)
    note_answered(stage.path, version_id(read_manifest_bytes(stage.old)))
    assert not has_answered(stage.path)
    note_answered(stage.path, version_id(read_manifest_bytes(stage.new)))
    assert has_answered(stage.path)
    stage.after(keep=True)
    note_answered(stage.path, version_id(read_manifest_bytes(stage.new)))
    assert not has_answered(stage.path)


def test_an_answer_is_not_noted_where_there_was_no_update(stage: Stage) -> None:
    path = write_old(stage.models / "m")
    before = names_below(path)
    note_answered(path, version_id(read_manifest_bytes(path)))
    assert names_below(path) == before


def test_all_names_are_those_of_a_package(stage: Stage) -> None:
    stage.after(keep=True)
    note_answered(stage.path, version_id(read_manifest_bytes(stage.new)))
    (stage.path / "manifest.json").write_bytes(b"")
    assert is_package_dir(stage.path)


def test_a_model_that_is_converted_anew_forgets_the_version_before(stage: Stage) -> None:
    write_old(stage.after())
    assert names_below(stage.path) == expected_names(stage.path)


def test_removing_a_model_removes_what_arrived_for_it(stage: Stage) -> None:
    stage.before()
    ModelStore(stage.models).remove("m")
    assert os.listdir(stage.models) == []


def test_cleaning_leaves_what_arrived_for_an_update(stage: Stage) -> None:
    stage.before()
    before = names_below(stage.models)
    ModelStore(stage.models).clean()
    assert names_below(stage.models) == before


def kills_until_done(stage: Stage, prepare: Callable[[], Path], action: Callable[[], object]) -> int:
    """Kill before every change in turn, settle (killed itself before every change, too), and look."""
    change = 0
    while True:
        prepare()
        killed = run_killed_before_change(action, change)
        stage.check_whole()
        second = 0
        while run_killed_before_change(partial(settle, stage.path), second % 7) and second < 3:
            stage.check_whole()
            second += 1
        ModelStore(stage.models).clean()
        stage.check_settled()
        if not killed:
            return change
        change += 1


@pytest.mark.parametrize(("old_signed", "new_signed"), SIGNED)
def test_switching_killed_before_any_change(memory_dir: Path, old_signed: bool, new_signed: bool) -> None:
    stage = Stage(memory_dir, old_signed=old_signed, new_signed=new_signed, has_origins=True)
    action = partial(switch_to_update, stage.path, keep_previous=True)
    assert kills_until_done(stage, stage.before, action) > 15
    assert read_manifest_bytes(stage.path) == read_manifest_bytes(stage.new)


@pytest.mark.parametrize(("old_signed", "new_signed"), SIGNED)
def test_going_back_killed_before_any_change(memory_dir: Path, old_signed: bool, new_signed: bool) -> None:
    stage = Stage(memory_dir, old_signed=old_signed, new_signed=new_signed, has_origins=True)
    assert kills_until_done(stage, partial(stage.after, keep=True), partial(go_back, stage.path)) > 10
    assert read_manifest_bytes(stage.path) == read_manifest_bytes(stage.old)


def test_letting_go_killed_before_any_change(stage: Stage) -> None:
    assert kills_until_done(stage, partial(stage.after, keep=True), partial(drop_previous, stage.path)) > 8
    assert read_manifest_bytes(stage.path) == read_manifest_bytes(stage.new)


def test_letting_go_killed_with_nothing_else_to_tell_of_it_leaves_no_chunks(memory_dir: Path) -> None:
    stage = Stage(memory_dir, old_signed=False, new_signed=False)
    change, killed = 0, True
    while killed:
        stage.after()
        killed = run_killed_before_change(partial(drop_previous, stage.path), change)
        ModelStore(stage.models).clean()
        stage.check_settled()
        assert (stage.path / "previous.json").exists() or names_of(stage.path) == names_of(stage.new)
        change += 1
    assert change > 4


def test_switching_that_was_cut_short_can_be_done_again(stage: Stage) -> None:
    for change in range(0, 40, 3):
        stage.before()
        run_killed_before_change(partial(switch_to_update, stage.path, keep_previous=False), change)
        settle(stage.path)
        if read_manifest_bytes(stage.path) == read_manifest_bytes(stage.old):
            switch_to_update(stage.path, keep_previous=False)
        assert stage.check_settled() == read_manifest_bytes(stage.new)
        go_back(stage.path)
        assert stage.check_settled() == read_manifest_bytes(stage.old)
