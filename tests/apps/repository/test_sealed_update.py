"""A sealed model is updated, pulled over and gone back with, and is sealed at every moment of it."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from apps.repository.conftest import a_link
from apps.repository.published import DroppingSource
from apps.repository.sealed_place import SealedPlace, make_sealed_place
from package.samples import flip_bit, names_below
from package.sealed_samples import key, open_seal
from package.versions import write_new

from pocketseek.apps.repository import update_work
from pocketseek.apps.repository.pull import Consent, Pulled, PullOptions, pull
from pocketseek.apps.repository.sealed_keeping import SealedKeeping
from pocketseek.apps.repository.source import DirectorySource
from pocketseek.apps.repository.update import look, roll_back
from pocketseek.apps.repository.versions import previous_version
from pocketseek.errors import DownloadError, FormatError, IntegrityError, SealError, StorageError, UsageError
from pocketseek.package.delta.delta_file import DeltaHeader
from pocketseek.package.delta.fit import DeltaFit
from pocketseek.package.manifest import read_manifest, read_manifest_bytes, version_id
from pocketseek.package.origin import read_origin
from pocketseek.package.paths import update_path
from pocketseek.package.sealing.in_place import change_secret, unseal_package
from pocketseek.package.sealing.seal_record import files_of, read_record, write_record
from pocketseek.package.sealing.verify_sealed import verify_with_key
from pocketseek.package.store import ModelStore
from pocketseek.package.switch import drop_previous
from pocketseek.package.verify import verify_package


@pytest.fixture
def place(memory_dir: Path) -> SealedPlace:
    return make_sealed_place(memory_dir)


def sealed_chunk(path: Path) -> Path:
    """A large one."""
    entry = max(read_manifest(path).chunks, key=lambda chunk: chunk.num_bytes)
    return path / "chunks" / f"{entry.sha256}.sealed"


def pulled_over(place: SealedPlace, address: Path | None = None) -> Pulled:
    return pull(
        str(address or place.published),
        a_link(),
        models_dir=place.models,
        downloads_dir=place.models.parent / "downloads",
        options=PullOptions(name="m"),
        consent=Consent(unlocked=lambda _: closing(key())),
    )


def test_looking_takes_no_key_and_tells_the_sizes_of_a_plain_one(place: SealedPlace) -> None:
    before = names_below(place.models)
    plan = look(place.installed, place.source)
    assert 0 < plan.fetch_bytes < plan.whole_bytes
    assert names_below(place.models) == before


@pytest.mark.parametrize("whole", [False, True])
def test_it_is_the_new_version_sealed_with_the_same_key(place: SealedPlace, whole: bool) -> None:
    plan = look(place.installed, place.source, whole=whole)
    done = place.update(whole=whole)
    assert place.check_whole()
    assert done.fetched_bytes == plan.fetch_bytes
    assert (done.num_deltas > 0) is not whole
    assert done.num_failed == 0
    assert os.listdir(place.models) == ["m"]


def test_without_the_key_or_with_another_nothing_is_changed(place: SealedPlace) -> None:
    before = names_below(place.models)
    for secret in (key("x"), key("y")):
        with pytest.raises(SealError, match="does not open it"):
            place.update(secret=secret)
    assert names_below(place.models) == before
    assert not place.check_whole()


def test_back_and_forth_takes_no_key_to_go_back(place: SealedPlace) -> None:
    place.update()
    assert roll_back(place.installed) == version_id(read_manifest_bytes(place.old))
    assert not place.check_whole()
    place.update()
    assert place.check_whole()
    drop_previous(place.installed)
    assert place.check_whole()
    names = {f"{file.folder}/{file.sha256}.sealed" for file in files_of(read_manifest(place.installed))}
    assert {str(path.relative_to(place.installed)) for path in place.installed.glob("*/*")} == names


def test_an_update_after_the_version_before_was_let_go_lists_what_is_there(place: SealedPlace) -> None:
    place.update()
    drop_previous(place.installed)
    roll = write_new(place.old.parent / "third", "q4s")
    place.update(DirectorySource(roll))
    record = read_record(place.installed)
    assert record is not None
    versions = [read_manifest_bytes(path) for path in (place.installed, place.published)]
    assert all(record.is_of(data) for data in versions)
    assert not record.is_of(read_manifest_bytes(place.old))
    wanted = {file.name for data in (roll, place.published) for file in files_of(read_manifest(data))}
    assert set(record.files) == wanted


def test_what_arrived_before_a_drop_is_not_fetched_again_and_not_in_the_clear(place: SealedPlace) -> None:
    total_bytes = look(place.installed, place.source).fetch_bytes
    fetched_bytes, num_drops = 0, 0
    for _ in range(60):
        try:
            fetched_bytes += place.update(DroppingSource(place.published, total_bytes // 2)).fetched_bytes
            break
        except DownloadError:
            num_drops += 1
            assert not place.check_whole()
            fetched_bytes += total_bytes // 2
    assert place.check_whole()
    assert num_drops > 0
    assert fetched_bytes < total_bytes * 2  # of a delta that was on its way, what was no whole segment comes again


def test_a_delta_that_does_not_fit_the_manifests_is_not_applied(
    place: SealedPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fit: DeltaFit, header: DeltaHeader) -> None:
        raise FormatError("it does not fit; fetch the chunk whole")

    monkeypatch.setattr(DeltaFit, "check", refuse)
    done = place.update()
    assert place.check_whole()
    assert (done.num_deltas, done.num_failed) == (0, done.num_whole)


def test_going_on_with_a_part_takes_room_for_it_once_more(place: SealedPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_bytes = look(place.installed, place.source, whole=True).fetch_bytes
    with pytest.raises(DownloadError):
        place.update(DroppingSource(place.published, whole_bytes // 2), whole=True)
    largest_bytes = max(path.stat().st_size for path in update_path(place.installed).rglob("*.part"))
    asked: list[int] = []

    def refuse(parent: Path, needed_bytes: int) -> None:
        asked.append(needed_bytes)
        raise StorageError("too little room; free some")

    monkeypatch.setattr(update_work, "check_free_space", refuse)
    with pytest.raises(StorageError):
        place.update(whole=True)
    monkeypatch.setattr(SealedKeeping, "resumed_bytes", lambda keeping, wanted: 0)
    with pytest.raises(StorageError):
        place.update(whole=True)
    assert largest_bytes > 0
    assert asked[0] - asked[1] == largest_bytes  # from a folder files come one at a time


def test_a_damaged_base_costs_its_chunk_being_fetched_whole(place: SealedPlace) -> None:
    for path in (place.installed / "chunks").iterdir():
        flip_bit(path, path.stat().st_size - 1)
    done = place.update()
    assert place.check_whole()
    assert done.num_failed > 0


def test_a_sealed_file_put_in_the_place_of_another_is_fetched_after_all(place: SealedPlace) -> None:
    whole_bytes = look(place.installed, place.source, whole=True).fetch_bytes
    with pytest.raises(DownloadError):
        place.update(DroppingSource(place.published, whole_bytes - 1), whole=True)
    arrived = [path for path in (update_path(place.installed) / "chunks").iterdir() if path.suffix == ".sealed"]
    assert len(arrived) > 1
    shutil.copyfile(arrived[0], arrived[1])
    place.update(whole=True)
    assert place.check_whole()


def test_a_half_sealed_model_is_brought_to_an_end_first(place: SealedPlace) -> None:
    record = read_record(place.installed)
    assert record is not None
    opened, manifest = open_seal(place.installed)
    opened.close()
    file = files_of(manifest)[0]
    data_key = record.unlock(key(), "")
    write_record(place.installed, record.without_file(file), data_key)
    with pytest.raises(UsageError, match="sealed in part"):
        look(place.installed, place.source)


def test_a_changed_passphrase_opens_both_versions(place: SealedPlace) -> None:
    place.update()
    change_secret(place.installed, key(), lambda: key("n"))
    roll_back(place.installed)
    open_seal(place.installed, key("n"))[0].close()
    with pytest.raises(SealError):
        open_seal(place.installed, key())


def test_unsealing_lets_go_of_what_only_the_key_opens(place: SealedPlace) -> None:
    place.update()
    unseal_package(place.installed, key())
    verify_package(place.installed, full=True)
    assert not list(place.installed.rglob("*.sealed"))
    assert previous_version(place.installed) is None


def test_a_previous_manifest_that_was_not_sealed_is_not_gone_back_to(place: SealedPlace) -> None:
    place.update()
    shutil.copyfile(write_new(place.old.parent / "third", "q4s") / "manifest.json", place.installed / "previous.json")
    with pytest.raises(IntegrityError, match="not the one that was sealed"):
        roll_back(place.installed)
    assert place.check_whole()


def test_pulling_over_it_keeps_it_sealed_and_can_be_taken_back(place: SealedPlace) -> None:
    pulled = pulled_over(place)
    assert place.check_whole()
    assert pulled.has_previous
    origin = read_origin(place.installed)
    assert origin is not None
    assert origin.address == str(place.published)
    roll_back(place.installed)
    assert not place.check_whole()
    assert read_origin(place.installed) is None


def test_pulling_the_same_mends_what_is_damaged(place: SealedPlace) -> None:
    pulled_over(place)
    flip_bit(sealed_chunk(place.installed), 20_000)
    assert pulled_over(place).fetched_bytes > 0
    assert place.check_whole()
    assert previous_version(place.installed) is not None
    assert pulled_over(place).fetched_bytes == 0


def test_chunks_of_a_plain_model_are_taken_and_sealed(place: SealedPlace) -> None:
    shutil.copytree(place.published, place.models / "other", ignore=shutil.ignore_patterns("deltas"))
    pulled = pulled_over(place)
    assert pulled.local_bytes > 0
    shutil.rmtree(place.models / "other")
    assert place.check_whole()


def test_verifying_with_the_key_finds_what_verifying_without_finds(place: SealedPlace) -> None:
    verify_with_key(place.installed, key())
    flip_bit(sealed_chunk(place.installed), 30_000)
    with pytest.raises(IntegrityError, match="is damaged"):
        verify_package(place.installed, full=True)
    with pytest.raises(IntegrityError, match="segment 0 is not what was sealed"):
        verify_with_key(place.installed, key())
    with pytest.raises(UsageError, match="not sealed"):
        verify_with_key(place.old, key())


def test_an_abandoned_update_is_cleaned_up_like_a_plain_one(place: SealedPlace) -> None:
    with pytest.raises(DownloadError):
        place.update(DroppingSource(place.published, 10_000))
    ModelStore(place.models).clean()
    assert update_path(place.installed).is_dir()
    unseal_package(place.installed, key())
    assert not update_path(place.installed).exists()
