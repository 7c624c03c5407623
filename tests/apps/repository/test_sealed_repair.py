"""Damage in a sealed model is found without its key, and mended with it, without a byte of plaintext on the disk."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest
from apps.repository.conftest import a_link
from apps.repository.test_receive import pulled
from package.samples import flip_bit
from package.sealed_samples import GCM, key
from web_server import WebServer

from pocketseek.apps.repository.quarantine import quarantined
from pocketseek.apps.repository.repair import examine, repair
from pocketseek.apps.repository.scrub import check_chunk
from pocketseek.apps.repository.state import package_state
from pocketseek.apps.repository.supply import Repaired
from pocketseek.apps.repository.upkeep import Upkeep
from pocketseek.errors import SealError
from pocketseek.package.check_record import read_checked
from pocketseek.package.manifest import ChunkEntry, read_manifest
from pocketseek.package.sealing.in_place import seal_package
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.package.sealing.seal_record import PackageFile, read_record, write_record
from pocketseek.package.sealing.sealed_file import HEADER_BYTES
from pocketseek.package.sealing.verify_sealed import verify_with_key


@pytest.fixture
def path(site: WebServer, models_dir: Path) -> Path:
    """Pulled from the site, then sealed."""
    found = pulled(f"{site.url}/tiny", models_dir).path
    seal_package(found, key, GCM)
    site.asked.clear()
    return found


def sealed_chunk(path: Path, index: int = 0) -> Path:
    entry = read_manifest(path).unique_chunks()[index]
    return path / "chunks" / f"{entry.sha256}.sealed"


def mended(path: Path, secret: Secret | None) -> Repaired:
    return repair(path, examine(path), a_link(), models_dir=path.parent, secret=secret)


def check_good(path: Path) -> None:
    with closing(key()) as secret:
        verify_with_key(path, secret)
    assert not examine(path)
    assert not (path / "quarantine").exists()
    names = {name for folder in ("chunks", "files") for name in os.listdir(path / folder)}
    assert all(name.endswith(".sealed") for name in names)


def test_damaged_missing_and_cut_files_come_back_sealed(path: Path, site: WebServer) -> None:
    flip_bit(sealed_chunk(path, 0), HEADER_BYTES + 3, keep_times=True)
    sealed_chunk(path, 1).unlink()
    os.truncate(sealed_chunk(path, 2), 100)
    flip_bit(path / "files" / f"{read_manifest(path).files['LICENSE'].sha256}.sealed", 40)
    damaged = examine(path)
    assert (len(damaged.chunks), len(damaged.files)) == (3, 1)
    result = mended(path, key())
    assert (result.num_chunks, result.num_files, result.address) == (3, 1, f"{site.url}/tiny")
    check_good(path)


def test_without_the_key_one_line_says_so_and_the_damaged_chunk_is_kept_aside(path: Path) -> None:
    entry = read_manifest(path).unique_chunks()[0]
    flip_bit(sealed_chunk(path), HEADER_BYTES + 3)
    data = sealed_chunk(path).read_bytes()
    with pytest.raises(SealError, match=r"can be replaced only with its key; `pocketseek verify tiny --repair` asks"):
        mended(path, None)
    assert quarantined(path) == (entry.sha256,)
    assert (path / "quarantine" / f"{entry.sha256}.damaged").read_bytes() == data
    assert package_state(path, read_manifest(path)).damaged == (entry.sha256,)
    mended(path, key())
    check_good(path)


def test_the_wrong_key_changes_nothing(path: Path) -> None:
    flip_bit(sealed_chunk(path), HEADER_BYTES + 3)
    with pytest.raises(SealError, match="does not open it"):
        mended(path, key("x"))
    assert quarantined(path) == ()


def test_only_the_bad_segments_are_fetched(big_site: WebServer, models_dir: Path) -> None:
    path = pulled(f"{big_site.url}/big", models_dir).path
    seal_package(path, key, GCM)
    entry = max(read_manifest(path).chunks, key=lambda chunk: chunk.num_bytes)
    assert len(entry.segments) > 2
    flip_bit(path / "chunks" / f"{entry.sha256}.sealed", HEADER_BYTES + 1_100_000)
    big_site.asked.clear()
    mended(path, key())
    (asked,) = [asked for asked in big_site.asked if "chunks" in asked.path]
    assert asked.range == "bytes=1048576-"
    check_good(path)


def test_a_chunk_that_a_plain_model_has_is_sealed_from_there(path: Path, site: WebServer) -> None:
    pulled(f"{site.url}/tiny", path.parent, name="other")
    site.asked.clear()
    sealed_chunk(path).unlink()
    assert mended(path, key()) == Repaired(1, 0, 0, None)
    assert site.asked == []
    check_good(path)


def test_a_good_file_that_is_listed_wrongly_is_listed_anew(path: Path, site: WebServer) -> None:
    record = read_record(path)
    assert record is not None
    entry = read_manifest(path).unique_chunks()[0]
    file = PackageFile("chunks", entry.sha256, entry.num_bytes)
    write_record(path, record.with_file(file, "0" * 64), record.unlock(key(), ""))
    assert examine(path).chunks == (entry,)
    assert mended(path, key()).fetched_bytes == 0
    assert site.asked == []
    check_good(path)


def test_a_half_sealed_model_is_mended_and_sealed_there(path: Path) -> None:
    entry = read_manifest(path).unique_chunks()[0]
    record, file = read_record(path), PackageFile("chunks", entry.sha256, entry.num_bytes)
    assert record is not None
    write_record(path, record.without_file(file), record.unlock(key(), ""))
    sealed_chunk(path).unlink()
    (path / "chunks" / entry.sha256).write_bytes(b"damaged")
    assert examine(path).chunks == (entry,)
    mended(path, key())
    check_good(path)


def checked(path: Path, entry: ChunkEntry) -> str:
    return check_chunk(path, entry, lambda: True, Event(), bytes_per_s=1e12)


def test_sealed_chunks_are_checked_in_the_background_without_the_key(path: Path) -> None:
    entries = read_manifest(path).unique_chunks()
    assert {checked(path, entry) for entry in entries} == {"good"}
    flip_bit(sealed_chunk(path, 1), HEADER_BYTES + 3, keep_times=True)
    assert [checked(path, entry) for entry in entries[:2]] == ["good", "damaged"]


@pytest.mark.parametrize("has_key", [True, False])
def test_the_background_mends_with_the_key_that_is_at_hand_or_tells(path: Path, has_key: bool) -> None:
    said: list[str] = []
    entries = read_manifest(path).unique_chunks()
    flip_bit(sealed_chunk(path), HEADER_BYTES + 3, keep_times=True)
    (path / "checked.json").unlink(missing_ok=True)
    upkeep = Upkeep(
        lambda: [path],
        may_work=lambda: True,
        report=said.append,
        link=a_link,
        models_dir=path.parent,
        days=30,
        unlock=lambda _: key() if has_key else None,
        bytes_per_s=1e12,
    )
    for _ in entries:
        assert upkeep.turn()
    assert not upkeep.turn()
    (line,) = said
    assert ("it was replaced from" if has_key else "can be replaced only with its key") in line
    if has_key:
        check_good(path)
    assert len(read_checked(path)) == len(entries) - (not has_key)
    assert max(read_checked(path).values()) <= time.time()
