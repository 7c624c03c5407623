"""A writer that is interrupted is gone on with, by the same and by nobody else, and nothing damaged is used."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from package.crashes import run_killed_before_change
from package.samples import (
    FILES,
    SMALL_CHUNK_BYTES,
    TINY,
    flip_bit,
    names_below,
    pieces_of,
    sample_tensors,
    seed_on_disk,
)

from pocketseek.errors import FormatError, StorageError
from pocketseek.package.journal import Journal, is_unfinished
from pocketseek.package.layout import cut_bytes
from pocketseek.package.model_fields import stage_of_tensor
from pocketseek.package.paths import partial_path, resume_path
from pocketseek.package.store import ModelStore
from pocketseek.package.verify import verify_package
from pocketseek.package.writer import PackageWriter

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

KEY: dict[str, dict[str, Any]] = {"version": {"pocketseek": "1"}, "source": {"bytes": [7]}, "settings": {"quant": "q4"}}


class StopHereError(Exception):
    pass


def write(
    destination: Path,
    *,
    key: Mapping[str, Any] | None = KEY,
    stop_after: int | None = None,
    error: Exception | None = None,
    fresh: bool = False,
) -> tuple[int | None, str | None]:
    """Stage by stage, each kept with a number and an array; returns the number that was found, and what was refused."""
    tensors = sample_tensors(TINY, 1, "q8s")
    stages = [(stage, list(names)) for stage, names in groupby(tensors, key=stage_of_tensor)]
    with PackageWriter(destination, resume_key=key, fresh=fresh, max_chunk_bytes=SMALL_CHUNK_BYTES) as writer:
        found = writer.found_work["done"] if writer.found_work is not None else None
        assert found is None or isinstance(found, int)
        if found is not None:
            assert writer.found_array(f"a-{found}", (2, 3)).tolist() == [[found] * 3] * 2
        for index, (stage, names) in enumerate(stages):
            if found is not None and index <= found:
                continue
            writer.begin_stage(stage)
            for name in names:
                format_name, shape, data = tensors[name]
                writer.add_tensor(name, format_name, shape, pieces_of(data, cut_bytes(format_name, shape), 1))
            writer.keep({"done": index}, {f"a-{index}": np.full((2, 3), index, np.float32)})
            if index == stop_after:
                raise error or StopHereError
        for name, data in FILES.items():
            writer.add_file(name, data)
        writer.commit(name="tiny", model=TINY, recipe={"seed": 1}, quality={}, provenance={})
    return found, writer.refused


def interrupted(tmp_path: Path, stop_after: int = 1) -> Path:
    with pytest.raises(StopHereError):
        write(tmp_path / "m", stop_after=stop_after)
    assert is_unfinished(tmp_path / "m")
    return tmp_path / "m"


def resume_dir(destination: Path) -> Path:
    return destination.with_name(f".{destination.name}.pocketseek-resume")


def names_beside(destination: Path) -> list[str]:
    return sorted(path.name for path in destination.parent.iterdir())


@pytest.mark.parametrize("stop_after", [0, 1, 2])
def test_whole_stages_are_found_and_the_package_is_the_same(tmp_path: Path, stop_after: int) -> None:
    write(tmp_path / "reference")
    path = interrupted(tmp_path, stop_after)
    assert write(path) == (stop_after, None)
    assert (path / "manifest.json").read_bytes() == (tmp_path / "reference" / "manifest.json").read_bytes()
    assert seed_on_disk(path) == 1
    assert names_beside(path) == ["m", "reference"]


@pytest.mark.parametrize("part", ["version", "source", "settings"])
def test_what_another_key_left_is_refused_with_the_part_that_differs(tmp_path: Path, part: str) -> None:
    path = interrupted(tmp_path)
    assert write(path, key=KEY | {part: {"other": True}}) == (None, part)
    assert seed_on_disk(path) == 1
    assert names_beside(path) == ["m"]


def test_a_writer_without_a_key_says_that_it_drops_what_was_kept(tmp_path: Path) -> None:
    path = interrupted(tmp_path)
    assert write(path, key=None) == (None, "settings")
    assert names_beside(path) == ["m"]


def test_fresh_begins_anew_without_a_word(tmp_path: Path) -> None:
    assert write(interrupted(tmp_path), fresh=True) == (None, None)


@pytest.mark.parametrize("where", ["state", "array", "chunk"])
@pytest.mark.parametrize("damage", ["flipped", "shorter", "gone"])
def test_what_is_damaged_is_not_used(tmp_path: Path, where: str, damage: str) -> None:
    path = interrupted(tmp_path)
    partial_dir = path.with_name(".m.pocketseek-partial")
    victims = {"state": resume_dir(path) / "state", "array": resume_dir(path) / "a-1.f32"}
    victim = victims[where] if where in victims else sorted((partial_dir / "chunks").iterdir())[0]
    if damage == "flipped":
        flip_bit(victim, victim.stat().st_size - 2)
    elif damage == "shorter":
        victim.write_bytes(victim.read_bytes()[:-1])
    else:
        victim.unlink()
    refused = None if (where, damage) == ("state", "gone") else "damaged"
    assert write(path) == (None, refused)
    assert seed_on_disk(path) == 1
    assert names_beside(path) == ["m"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"key":{},"package":{},"arrays":{},"work":{}}', b"\xff"])
def test_a_state_with_the_right_hash_and_nonsense_in_it_is_not_used(tmp_path: Path, body: bytes) -> None:
    path = interrupted(tmp_path)
    (resume_dir(path) / "state").write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    found, refused = write(path)
    assert found is None
    assert refused in ("damaged", "version")


@pytest.mark.parametrize("place", ["resume", "partial", "partial/chunks", "chunk", "array"])
def test_through_a_link_nothing_is_gone_on_with_written_or_removed(tmp_path: Path, place: str) -> None:
    destination = interrupted(tmp_path)
    resume, partial_dir = resume_path(destination), partial_path(destination)
    chunk = next(path for path in sorted((partial_dir / "chunks").iterdir()) if len(path.name) == 64)
    places = {"resume": resume, "partial": partial_dir, "partial/chunks": partial_dir / "chunks", "chunk": chunk}
    link = places.get(place) or next(resume.glob("*.f32"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_bytes(b"precious")
    link.rename(elsewhere / "moved")
    if (elsewhere / "moved").is_dir():
        (elsewhere / "moved" / "precious").write_bytes(b"precious")
    link.symlink_to(elsewhere / "moved")
    before = names_below(elsewhere)
    assert write(destination)[0] is None
    assert names_below(elsewhere) == before
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
    verify_package(destination, full=True)


@pytest.mark.parametrize("place", ["resume", "partial", "partial/chunks", "partial/files"])
def test_links_that_were_there_before_the_first_write_are_none_of_ours(tmp_path: Path, place: str) -> None:
    destination, elsewhere = tmp_path / "m", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_bytes(b"precious")
    places = {"resume": resume_path(destination), "partial": partial_path(destination)}
    link = places.get(place) or places["partial"] / place.removeprefix("partial/")
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(elsewhere)
    with pytest.raises(StopHereError):
        write(destination, stop_after=1)
    assert write(destination)[0] == 1
    assert names_below(elsewhere) == {"precious"}
    verify_package(destination, full=True)


def test_an_error_that_would_come_again_keeps_nothing_and_a_full_disk_does(tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        write(tmp_path / "m", stop_after=1, error=FormatError("holds NaN"))
    assert names_beside(tmp_path / "m") == []
    with pytest.raises(StorageError):
        write(tmp_path / "m", stop_after=1, error=StorageError("full"))
    assert write(tmp_path / "m") == (1, None)


def test_half_a_stage_and_strange_files_are_removed_before_going_on(tmp_path: Path) -> None:
    path = interrupted(tmp_path)
    partial_dir = path.with_name(".m.pocketseek-partial")
    for name in ("chunks/unfinished", f"chunks/{'0' * 64}", f"files/{'1' * 64}", "manifest.json", ".verified-1"):
        (partial_dir / name).write_bytes(b"left")
    (resume_dir(path) / "a-9.f32").write_bytes(b"left")
    assert write(path) == (1, None)
    assert seed_on_disk(path) == 1
    assert not list(path.rglob(".verified-*"))
    assert names_beside(path) == ["m"]


def test_killed_before_any_change_the_next_writers_end_with_the_same_package(tmp_path: Path) -> None:
    """Again and again, going on each time: what was kept once is never lost."""
    write(tmp_path / "reference")
    path = tmp_path / "m"
    change, furthest = 0, -1
    while run_killed_before_change(partial(write, path), change) and not path.exists():
        if furthest >= 0 or is_unfinished(path):
            journal = Journal(path, KEY)
            assert journal.open(), journal.refused
            assert journal.work is not None
            done = journal.work["done"]
            assert isinstance(done, int)
            assert done >= furthest
            furthest = done
        change += 1
    assert furthest >= 2
    assert change > 20
    ModelStore(tmp_path).clean()
    assert (path / "manifest.json").read_bytes() == (tmp_path / "reference" / "manifest.json").read_bytes()
    assert seed_on_disk(path) == 1
    assert names_beside(path) == ["m", "reference"]


def test_the_old_package_is_there_until_the_new_one_is(tmp_path: Path) -> None:
    write(tmp_path / "m")
    path = interrupted(tmp_path)
    assert seed_on_disk(path) == 1
    assert write(path) == (1, None)
    assert seed_on_disk(path) == 1
    assert names_beside(path) == ["m"]


def test_the_store_lists_what_is_unfinished_cleans_around_it_and_removes_it_by_name(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    interrupted(tmp_path)
    (tmp_path / ".other.pocketseek-partial").mkdir()
    store.clean()
    (unfinished,) = store.list_unfinished()
    assert unfinished.name == "m"
    assert unfinished.num_bytes > 1000
    assert names_beside(tmp_path / "m") == [".m.pocketseek-partial", ".m.pocketseek-resume"]
    assert store.remove("m") == unfinished.num_bytes
    assert names_beside(tmp_path / "m") == []


def test_the_space_needed_is_less_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(tmp_path)
    with PackageWriter(tmp_path / "m", resume_key=KEY) as writer:
        asked: list[int] = []
        monkeypatch.setattr("pocketseek.package.writer.check_free_space", lambda _, num_bytes: asked.append(num_bytes))
        writer.require_space(10**9)
        raised_with = asked[0]
    assert 0 < 10**9 - raised_with < 10**6
