"""An update fetches what changed, goes on where it was stopped, and leaves the version in use alone until then."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from apps.repository.published import DroppingSource, Place, make_place, spoil_deltas
from package.samples import flip_bit, names_below

from pocketseek.apps.repository.difference import compare
from pocketseek.apps.repository.source import DirectorySource
from pocketseek.apps.repository.update import look, roll_back, update
from pocketseek.apps.repository.versions import PreviousVersion, previous_version
from pocketseek.errors import BusyError, DownloadError, FormatError, NotFoundError, StorageError, UsageError
from pocketseek.package.check_record import read_checked
from pocketseek.package.delta.delta_file import DeltaHeader
from pocketseek.package.delta.fit import DeltaFit
from pocketseek.package.lock import destination_lock
from pocketseek.package.manifest import read_manifest, read_manifest_bytes, version_id
from pocketseek.package.origin import Origin, read_origin, write_origin
from pocketseek.package.paths import update_path
from pocketseek.package.reader import Package
from pocketseek.package.store import ModelStore
from pocketseek.package.switch import note_answered, previous_manifest_bytes


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
    old, new = (read_manifest(path).unique_chunks() for path in (place.old, place.installed))
    assert set(read_checked(place.installed)) == {one.sha256 for one in new} - {one.sha256 for one in old}
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


def test_what_an_earlier_try_fetched_is_not_told_as_to_be_fetched(place: Place) -> None:
    first = look(place.installed, place.source)
    with pytest.raises(DownloadError):
        place.update(DroppingSource(place.published, first.fetch_bytes // 2))
    plan, asked = look(place.installed, place.source), list[int]()
    assert plan.fetch_bytes < first.fetch_bytes
    assert plan.disk_bytes < first.disk_bytes
    done = update(place.installed, place.source, plan.offer, allow=asked.append)
    assert asked == [plan.fetch_bytes]
    assert done.fetched_bytes >= plan.fetch_bytes  # a segment that was on its way is hashed as a whole


def test_how_much_was_put_together_is_told_up_to_all_of_it(place: Place) -> None:
    told: list[tuple[int, int]] = []
    update(
        place.installed,
        place.source,
        look(place.installed, place.source).offer,
        made=lambda done, total: told.append((done, total)),
    )
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] > 0


def test_a_delta_that_lies_is_dropped_and_the_chunk_fetched_whole(place: Place) -> None:
    spoil_deltas(place.published)
    done = place.update()
    assert place.check_whole()
    assert done.num_failed == 2


def test_what_deltas_that_lie_would_cost_is_asked_before_it_is_fetched(place: Place) -> None:
    spoil_deltas(place.published)
    plan, asked = look(place.installed, place.source), list[int]()

    def allow(num_bytes: int) -> None:
        asked.append(num_bytes)
        if num_bytes > plan.fetch_bytes:
            raise UsageError("too much")

    with pytest.raises(UsageError, match="too much"):
        update(place.installed, place.source, plan.offer, allow=allow)
    assert asked[0] == plan.fetch_bytes < asked[1]
    assert not place.check_whole()
    assert place.update().fetched_bytes <= asked[1]
    assert place.check_whole()


@pytest.mark.parametrize("index", [b"", b"{}", b"\x00" * 100, b'{"magic":"pocketseek-deltas","format_version":9}'])
def test_a_damaged_index_is_as_good_as_none(place: Place, index: bytes) -> None:
    next((place.published / "deltas").glob("*.json")).write_bytes(index)
    assert place.update().num_deltas == 0
    assert place.check_whole()


def test_a_delta_that_does_not_fit_the_manifests_is_not_applied(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fit: DeltaFit, header: DeltaHeader) -> None:
        raise FormatError("it does not fit; fetch the chunk whole")

    monkeypatch.setattr(DeltaFit, "check", refuse)
    done = place.update()
    assert place.check_whole()
    assert (done.num_deltas, done.num_failed) == (0, done.num_whole)


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


def test_chunks_of_other_models_are_not_fetched(place: Place) -> None:
    shutil.copytree(place.published, place.models / "other", ignore=shutil.ignore_patterns("deltas"))
    plan = look(place.installed, place.source, models_dir=place.models)
    assert plan.fetch_bytes < look(place.installed, place.source).fetch_bytes
    done = update(place.installed, place.source, plan.offer, models_dir=place.models)
    assert done.num_local > 0
    assert done.fetched_bytes == plan.fetch_bytes
    assert place.check_whole()


def test_an_origin_that_came_with_an_update_goes_with_it(place: Place) -> None:
    write_origin(place.installed, Origin.now("the old place"))
    offer = look(place.installed, place.source).offer
    update(place.installed, place.source, offer, address="the new place")
    assert origin_of(place) == "the new place"
    roll_back(place.installed)
    assert origin_of(place) == "the old place"
    update(place.installed, place.source, offer)
    assert origin_of(place) == "the old place"


def origin_of(place: Place) -> str | None:
    origin = read_origin(place.installed)
    return origin.address if origin is not None else None


def test_what_could_be_gone_back_to_is_known_and_how_long(place: Place) -> None:
    assert previous_version(place.installed) is None
    place.update()
    old, new = (version_id(read_manifest_bytes(path)) for path in (place.old, place.installed))
    assert previous_version(place.installed) == PreviousVersion(old, 0, "tiny", "until it has answered")
    note_answered(place.installed, new)
    found = previous_version(place.installed)
    assert found is not None
    assert found.kept == "until it is opened"
    roll_back(place.installed)
    place.update(keep=True)
    found = previous_version(place.installed)
    assert found is not None
    assert found.kept == "until the next update"


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
