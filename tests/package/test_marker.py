from __future__ import annotations

import os
from pathlib import Path

import pytest
from package.samples import flip_bit, names_below, some_chunk, write_sample

from pocketseek.errors import IntegrityError
from pocketseek.package import verify
from pocketseek.package.manifest import read_manifest
from pocketseek.package.reader import Package


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_sample(tmp_path / "m")


def test_a_fresh_package_is_vouched_for_by_its_writer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_hashing(monkeypatch)
    Package.open(path).close()


def forbid_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("hashed")

    monkeypatch.setattr(verify, "find_damage", refuse)


def test_auto_hashes_once_and_then_trusts_the_marker(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path / "verified.json").unlink()
    calls: list[tuple[int, int]] = []
    Package.open(path, progress=lambda done, total: calls.append((done, total))).close()
    total = sum(chunk.num_bytes for chunk in read_manifest(path).chunks)
    assert calls[-1] == (total, total)
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})
    forbid_hashing(monkeypatch)
    Package.open(path).close()


def test_auto_finds_a_flipped_bit_right_after_writing(path: Path) -> None:
    flip_bit(some_chunk(path))
    with pytest.raises(
        IntegrityError, match=r"of stage head is damaged in segment 0 .*, head\.weight; run `pocketseek verify"
    ):
        Package.open(path)


def test_a_touched_but_equal_chunk_is_hashed_and_accepted(path: Path) -> None:
    os.utime(some_chunk(path), ns=(1, 1))
    calls: list[int] = []
    Package.open(path, progress=lambda done, total: calls.append(total)).close()
    assert calls == [read_manifest(path).chunks[-1].num_bytes]
    Package.open(path, progress=lambda done, total: calls.append(total)).close()
    assert len(calls) == 1


def test_a_just_changed_chunk_is_not_vouched_for_yet(path: Path) -> None:
    chunk = some_chunk(path)
    flip_bit(chunk)
    flip_bit(chunk)
    chunk.touch()
    Package.open(path).close()
    flip_bit(chunk)  # perhaps within the same tick of the clock
    with pytest.raises(IntegrityError):
        Package.open(path)


def test_full_does_not_trust_the_marker(path: Path) -> None:
    flip_bit(some_chunk(path), keep_times=True)
    Package.open(path).close()
    with pytest.raises(IntegrityError, match="damaged"):
        Package.open(path, verify="full")


@pytest.mark.parametrize("marker", [b"", b"{", b"[]", b'{"chunks":[]}', b'{"chunks":{"x":"1:2:3"}}', b"\xff" * 10])
def test_a_damaged_marker_only_costs_time(path: Path, marker: bytes) -> None:
    (path / "verified.json").write_bytes(marker)
    Package.open(path).close()
    flip_bit(some_chunk(path))
    (path / "verified.json").write_bytes(marker)
    with pytest.raises(IntegrityError):
        Package.open(path)


def test_a_package_that_cannot_be_written_works_without_a_marker(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path / "verified.json").unlink()

    def refuse(*args: object, **kwargs: object) -> int:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("pocketseek.package.marker.os.replace", refuse)
        Package.open(path).close()
    assert not {name for name in names_below(path) if "verified" in name}
