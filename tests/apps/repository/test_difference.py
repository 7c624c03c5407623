"""What a publisher is told, and what is left beside the new version."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from apps.repository.published import Place, make_place
from package.sealed_samples import GCM, key
from package.versions import write_new, write_old

from pocketseek.apps.repository.difference import compare
from pocketseek.errors import SealError, UsageError
from pocketseek.package.delta.delta_index import parse_index
from pocketseek.package.manifest import read_manifest, read_manifest_bytes, version_id
from pocketseek.package.sealing.in_place import seal_package


def test_stages_say_what_travels(tmp_path: Path) -> None:
    old, new = write_old(tmp_path / "old"), write_new(tmp_path / "new")
    found = compare(old, new)
    stages = {stage.stage: stage for stage in found.stages}
    assert stages["embed"].sent_bytes == stages["head"].sent_bytes == 0
    assert 0 < stages["layer.0"].sent_bytes < stages["layer.0"].whole_bytes / 8
    assert stages["layer.1"].sent_bytes > 3 * stages["layer.0"].sent_bytes
    assert 0 < found.files.sent_bytes < 400
    assert found.sent_bytes < found.whole_bytes
    assert sum(stage.whole_bytes for stage in found.stages) == sum(
        chunk.num_bytes for chunk in read_manifest(new).unique_chunks()
    )
    assert not (new / "deltas").exists()


def test_two_equal_packages_differ_in_nothing(tmp_path: Path) -> None:
    old = write_old(tmp_path / "old")
    found = compare(old, old)
    assert found.old == found.new
    assert all(stage.sent_bytes == 0 for stage in (*found.stages, found.files))


def test_deltas_are_named_by_their_hash_and_the_index_names_them_all(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    old_id, new_id = (version_id(read_manifest_bytes(path)) for path in (place.old, place.published))
    folder = place.published / "deltas"
    index = parse_index((folder / f"{old_id}.json").read_bytes(), "index")
    assert (index.old, index.new) == (old_id, new_id)
    names = {delta.sha256: delta.num_bytes for delta in index.deltas}
    assert {path.name for path in folder.iterdir()} == {*names, f"{old_id}.json"}
    for name, num_bytes in names.items():
        data = (folder / name).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (name, num_bytes)


def test_the_same_pair_gives_the_same_bytes(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    before = contents(place)
    compare(place.old, place.published, out=place.published)
    assert contents(place) == before


def test_deltas_into_an_older_version_go_and_those_from_others_stay(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    folder = place.published / "deltas"
    (folder / "notes.json").write_text("{}")
    compare(place.old, place.old, out=place.published)  # an index into another version than the published one
    compare(place.old, place.published, out=place.published)
    compare(write_old(tmp_path / "other", "q4p"), place.published, out=place.published)
    (folder / "notes.json").unlink()  # whatever it is, it is not ours, and still there
    indices = [parse_index(path.read_bytes(), "index") for path in folder.glob("*.json")]
    assert len(indices) == 2
    assert {index.new for index in indices} == {version_id(read_manifest_bytes(place.published))}
    assert {path.name for path in folder.iterdir() if path.suffix != ".json"} == {
        delta.sha256 for index in indices for delta in index.deltas
    }


def contents(place: Place) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (place.published / "deltas").iterdir()}


@pytest.mark.parametrize("sealed", [("old",), ("published",), ("old", "published")])
def test_sealed_sides_give_the_same_deltas(tmp_path: Path, sealed: tuple[str, ...]) -> None:
    place, out = make_place(tmp_path), tmp_path / "out"
    before = contents(place)
    for name in sealed:
        shutil.rmtree(tmp_path / name / "deltas", ignore_errors=True)
        seal_package(tmp_path / name, key, GCM)
    secrets = {f"{side}_secret": key() for side, name in (("old", "old"), ("new", "published")) if name in sealed}
    compare(place.old, place.published, out=out, **secrets)
    assert {path.name: path.read_bytes() for path in (out / "deltas").iterdir()} == before


def test_nothing_is_written_in_the_clear_beside_what_is_sealed(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    seal_package(place.published, key, GCM)
    with pytest.raises(UsageError, match="in the clear"):
        compare(place.old, place.published, out=place.published, new_secret=key())
    assert not (place.published / "deltas").exists()
    with pytest.raises(SealError):
        compare(place.old, place.published)
