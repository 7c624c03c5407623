"""An update fetches what changed, goes on where it was stopped, and leaves the version in use alone until then."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from apps.repository.published import DroppingSource, Place, make_place
from package.samples import flip_bit, names_below

from pocketseek.apps.repository.difference import compare
from pocketseek.apps.repository.source import DirectorySource
from pocketseek.apps.repository.update import look, roll_back, update
from pocketseek.errors import BusyError, DownloadError, NotFoundError, StorageError, UnsupportedError
from pocketseek.package.lock import destination_lock
from pocketseek.package.manifest import read_manifest, read_manifest_bytes
from pocketseek.package.paths import update_path
from pocketseek.package.reader import Package
from pocketseek.package.store import ModelStore
from pocketseek.package.switch import previous_manifest_bytes, version_id


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_place(tmp_path)


def only_in_old(place: Place) -> list[str]:
    new = {chunk.sha256 for chunk in read_manifest(place.published).chunks}
    return [chunk.sha256 for chunk in read_manifest(place.old).chunks if chunk.sha256 not in new]


def test_looking_tells_the_sizes_and_changes_nothing(place: Place) -> None:
    before = names_below(place.models)
    plan = look(place.installed, place.source)
    assert not plan.is_up_to_date
    assert 0 < plan.fetch_bytes < plan.whole_bytes < plan.disk_bytes
    assert plan.fetch_bytes < look(place.installed, place.source, whole=True).fetch_bytes == plan.whole_bytes
    assert names_below(place.models) == before


def test_it_is_the_new_version_afterwards_for_the_bytes_that_were_told(place: Place) -> None:
    plan = look(place.installed, place.source)
    done = place.update()
    assert place.check_whole()
    assert done.fetched_bytes == plan.fetch_bytes
    assert (done.old, done.new) == (plan.old, plan.new)
    assert done.num_deltas > 0
    assert done.num_failed == 0
    assert (place.installed / "manifest.sig").read_bytes() == b"of the new"
    assert previous_manifest_bytes(place.installed) == read_manifest_bytes(place.old)
    assert os.listdir(place.models) == ["m"]
    assert look(place.installed, place.source).is_up_to_date


def test_a_second_update_has_nothing_to_do(place: Place) -> None:
    place.update()
    before = names_below(place.models)
    assert place.update().fetched_bytes == 0
    assert names_below(place.models) == before


def test_chunks_that_exist_are_not_fetched_without_deltas_either(place: Place) -> None:
    done = place.update(whole=True)
    assert place.check_whole()
    assert done.num_deltas == 0
    assert done.fetched_bytes < read_manifest(place.published).num_bytes * 0.8


def test_the_next_start_hashes_nothing(place: Place) -> None:
    place.update()
    hashed: list[int] = []
    Package.open(place.installed, progress=lambda done, total: hashed.append(done)).close()
    assert hashed == []


def test_back_and_forth(place: Place) -> None:
    place.update()
    assert roll_back(place.installed) == version_id(read_manifest_bytes(place.old))
    assert not place.check_whole()
    place.update()
    assert place.check_whole()


def test_without_an_update_there_is_nothing_to_go_back_to(place: Place) -> None:
    with pytest.raises(NotFoundError, match="no version to go back to"):
        roll_back(place.installed)


def test_what_arrived_before_a_drop_is_not_fetched_again(place: Place) -> None:
    total_bytes = look(place.installed, place.source).fetch_bytes
    fetched_bytes = 0
    for _ in range(60):
        source = DroppingSource(place.published, total_bytes // 10)
        try:
            fetched_bytes += place.update(source).fetched_bytes
            break
        except DownloadError:
            assert not place.check_whole()
            fetched_bytes += total_bytes // 10
    assert place.check_whole()
    assert fetched_bytes < total_bytes * 1.3  # what was on its way comes again


def test_a_delta_that_lies_is_dropped_and_the_chunk_fetched_whole(place: Place) -> None:
    folder = place.published / "deltas"
    index_path = next(folder.glob("*.json"))
    index = json.loads(index_path.read_bytes())
    first, second = index["deltas"][:2]
    first["sha256"], second["sha256"] = second["sha256"], first["sha256"]
    first["num_bytes"], second["num_bytes"] = second["num_bytes"], first["num_bytes"]
    first["bases"], second["bases"] = second["bases"], first["bases"]
    index_path.write_text(json.dumps(index))
    done = place.update()
    assert place.check_whole()
    assert done.num_failed == 2


@pytest.mark.parametrize("index", [b"", b"{}", b"\x00" * 100, b'{"magic":"pocketseek-deltas","format_version":9}'])
def test_a_damaged_index_is_as_good_as_none(place: Place, index: bytes) -> None:
    next((place.published / "deltas").glob("*.json")).write_bytes(index)
    assert place.update().num_deltas == 0
    assert place.check_whole()


def test_a_damaged_chunk_here_costs_a_whole_one_and_no_more(place: Place) -> None:
    for sha256 in only_in_old(place):
        flip_bit(place.installed / "chunks" / sha256, 100, keep_times=True)
    assert place.update().num_failed > 0
    assert place.check_whole()


def test_a_damaged_chunk_that_both_versions_have_is_fetched(place: Place) -> None:
    shared = {chunk.sha256 for chunk in read_manifest(place.old).chunks} - set(only_in_old(place))
    flip_bit(place.installed / "chunks" / sorted(shared)[0], 100)
    place.update()
    assert place.check_whole()


def test_a_source_without_the_chunks_of_its_manifest_changes_nothing(place: Place) -> None:
    shutil.rmtree(place.published / "chunks")
    shutil.rmtree(place.published / "deltas")
    with pytest.raises(DownloadError, match="has no chunks"):
        place.update()
    assert not place.check_whole()


def test_what_arrived_for_another_version_is_no_hindrance(place: Place, tmp_path: Path) -> None:
    total_bytes = look(place.installed, place.source).fetch_bytes
    with pytest.raises(DownloadError):
        place.update(DroppingSource(place.published, total_bytes // 2))
    other = shutil.copytree(place.old, tmp_path / "other")
    manifest = json.loads((other / "manifest.json").read_bytes())
    manifest["recipe"] = {"version": "another"}
    (other / "manifest.json").write_text(json.dumps(manifest))
    place.update(DirectorySource(other))
    assert read_manifest(place.installed).recipe == {"version": "another"}
    assert ModelStore(place.models).list_broken() == []


def test_who_is_asked_may_refuse(place: Place) -> None:
    def refuse(num_bytes: int) -> None:
        raise StorageError(f"{num_bytes} bytes are too many; no")

    with pytest.raises(StorageError, match="too many"):
        update(place.installed, place.source, look(place.installed, place.source).offer, allow=refuse)
    assert not place.check_whole()


def test_a_disk_that_is_too_small_is_refused_before_anything_is_fetched(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(place.models)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(StorageError, match="are free"):
        place.update()
    assert list((update_path(place.installed) / "chunks").iterdir()) == []
    assert not place.check_whole()


def test_somebody_else_who_changes_the_model_is_respected(place: Place) -> None:
    with destination_lock(place.installed), pytest.raises(BusyError):
        place.update()
    with destination_lock(place.installed), pytest.raises(BusyError):
        roll_back(place.installed)


def test_sealed_models_are_refused_clearly(place: Place) -> None:
    (place.installed / "sealed.json").write_text("{}")
    with pytest.raises(UnsupportedError, match="unseal"):
        look(place.installed, place.source)


def test_deltas_from_two_versions_back_lead_to_the_present_one(place: Place, tmp_path: Path) -> None:
    """Each old version has an index of its own."""
    other = shutil.copytree(place.old, tmp_path / "older")
    manifest = json.loads((other / "manifest.json").read_bytes())
    manifest["recipe"] = {"version": "older"}
    (other / "manifest.json").write_text(json.dumps(manifest))
    compare(other, place.published, out=place.published)
    shutil.rmtree(place.installed)
    shutil.copytree(other, place.installed)
    assert place.update().num_deltas > 0
    assert place.check_whole()
