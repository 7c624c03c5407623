"""When the version before an update goes, and that asking for it never stands in the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from apps.repository.published import Place, make_place
from package.samples import names_below

from pocketseek.apps.repository.versions import VersionNotes, let_go_if_answered
from pocketseek.package.lock import destination_lock
from pocketseek.package.paths import PREVIOUS_NAME


@pytest.fixture
def updated(tmp_path: Path) -> Place:
    place = make_place(tmp_path)
    place.update()
    return place


def has_previous(place: Place) -> bool:
    return (place.installed / PREVIOUS_NAME).exists()


def test_it_goes_at_the_opening_after_an_answer(updated: Place) -> None:
    notes = VersionNotes()
    notes.opening(updated.installed)
    assert has_previous(updated)
    notes.answered(updated.installed)
    assert has_previous(updated)
    VersionNotes().opening(updated.installed)
    assert not has_previous(updated)
    assert updated.check_whole()


def test_opening_without_an_answer_leaves_it(updated: Place) -> None:
    for _ in range(3):
        VersionNotes().opening(updated.installed)
    assert has_previous(updated)


def test_an_answer_of_the_version_before_proves_nothing(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    notes = VersionNotes()
    notes.opening(place.installed)
    place.update()
    notes.answered(place.installed)
    VersionNotes().opening(place.installed)
    assert has_previous(place)


def test_while_somebody_changes_the_model_it_stays(updated: Place) -> None:
    notes = VersionNotes()
    notes.opening(updated.installed)
    notes.answered(updated.installed)
    with destination_lock(updated.installed):
        assert let_go_if_answered(updated.installed) == 0
    assert has_previous(updated)


def test_models_without_an_update_and_other_paths_are_left_alone(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"x")
    before = names_below(tmp_path)
    notes = VersionNotes()
    for path in (place.installed, tmp_path / "absent", tmp_path / "model.onnx"):
        notes.opening(path)
        notes.answered(path)
    assert names_below(tmp_path) == before
