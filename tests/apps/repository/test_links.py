"""Symbolic links that somebody left where an update writes: nothing goes through them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from apps.repository.published import make_place
from package.samples import names_below

from pocketseek.apps.repository.receive import Offer, receive
from pocketseek.errors import UsageError
from pocketseek.package.install import prune
from pocketseek.package.manifest import parse_manifest, read_manifest_bytes
from pocketseek.package.paths import (
    DOWNLOAD_NAME,
    KEEP_NAME,
    PREVIOUS_NAME,
    PREVIOUS_SIGNATURE_NAME,
    partial_path,
    resume_path,
    update_path,
)
from pocketseek.package.verify import verify_package


def test_a_link_in_the_place_of_what_arrived_is_not_written_through(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "chunks").mkdir(parents=True)
    for name in ("manifest.json", "chunks/precious"):
        (elsewhere / name).write_bytes(b"precious")
    before = names_below(elsewhere)
    update_path(place.installed).symlink_to(elsewhere)
    place.update()
    assert place.check_whole()
    assert names_below(elsewhere) == before


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Somebody's folder."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "precious").write_bytes(b"precious")
    (folder / ("a" * 64)).write_bytes(b"precious, too")
    return folder


@pytest.mark.parametrize("name", ["chunks", "files", "deltas"])
@pytest.mark.parametrize("is_resumed", [False, True])
def test_folders_of_an_update_are_its_own(tmp_path: Path, elsewhere: Path, name: str, is_resumed: bool) -> None:
    place, before = make_place(tmp_path), names_below(elsewhere)
    update_path(place.installed).mkdir()
    if is_resumed:  # of another version, so that what it does not want is removed
        shutil.copy(place.old / "manifest.json", update_path(place.installed))
    (update_path(place.installed) / name).symlink_to(elsewhere)
    place.update()
    assert place.check_whole()
    assert names_below(elsewhere) == before


@pytest.mark.parametrize("name", ["", "chunks", "files"])
def test_folders_of_a_download_are_its_own(tmp_path: Path, elsewhere: Path, name: str) -> None:
    place, before = make_place(tmp_path), names_below(elsewhere)
    destination = tmp_path / "models" / "other"
    resume_path(destination).mkdir()
    (resume_path(destination) / DOWNLOAD_NAME).touch()
    link = partial_path(destination) / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(elsewhere)
    data = read_manifest_bytes(place.published)
    offer = Offer(parse_manifest(data), data, None)
    receive(place.source, offer, destination, models_dir=tmp_path / "none", address="x")
    verify_package(destination, full=True)
    assert names_below(elsewhere) == before


@pytest.mark.parametrize("name", ["chunks", "files"])
def test_a_package_with_somebody_elses_folder_is_left_as_it_is(tmp_path: Path, elsewhere: Path, name: str) -> None:
    place = make_place(tmp_path)
    shutil.copytree(place.installed / name, elsewhere, dirs_exist_ok=True)
    shutil.rmtree(place.installed / name)
    (place.installed / name).symlink_to(elsewhere)
    before = names_below(elsewhere)
    with pytest.raises(UsageError, match="symbolic link"):
        place.update()
    prune(place.installed)
    assert names_below(elsewhere) == before


def test_a_quarantine_that_leads_elsewhere_is_not_emptied(tmp_path: Path, elsewhere: Path) -> None:
    place, before = make_place(tmp_path), names_below(elsewhere)
    (place.installed / "quarantine").symlink_to(elsewhere)
    prune(place.installed)
    assert names_below(elsewhere) == before
    assert not (place.installed / "quarantine").is_symlink()


def test_no_file_is_written_through_a_link(tmp_path: Path, elsewhere: Path) -> None:
    """Of the names that a package's files have until they are renamed."""
    place = make_place(tmp_path)
    update = update_path(place.installed)
    update.mkdir()
    links = [place.installed / f".verified-{name}" for name in (PREVIOUS_NAME, PREVIOUS_SIGNATURE_NAME, "manifest.sig")]
    for link in (*links, place.installed / KEEP_NAME, update / "manifest.json.new", update / "switching"):
        link.symlink_to(elsewhere / "precious")
    place.update(keep=True)
    assert place.check_whole()
    assert (elsewhere / "precious").read_bytes() == b"precious"
