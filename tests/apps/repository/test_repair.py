"""A damaged package is made whole from wherever the bytes are, and nothing is deleted before it is replaced."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from apps.repository.conftest import BIG, a_link
from apps.repository.test_receive import pulled
from package.crashes import run_killed_before_change
from package.samples import flip_bit, seed_on_disk, some_chunk, write_sample
from web_server import Fault, WebServer

from pocketseek.apps.repository.quarantine import quarantined
from pocketseek.apps.repository.repair import examine, repair
from pocketseek.apps.repository.state import package_state
from pocketseek.apps.repository.supply import Repaired
from pocketseek.errors import DownloadError, IntegrityError
from pocketseek.package.manifest import read_manifest
from pocketseek.package.paths import chunk_path, file_path


def mended(path: Path, models_dir: Path) -> Repaired:
    return repair(path, examine(path), a_link(), models_dir=models_dir)


def test_nothing_damaged_nothing_done(published: Path, models_dir: Path) -> None:
    path = pulled(published / "tiny", models_dir).path
    assert not examine(path)
    assert mended(path, models_dir) == Repaired(0, 0, 0, None)


def test_damaged_missing_and_cut_chunks_and_files_come_back(site: WebServer, models_dir: Path) -> None:
    path = pulled(f"{site.url}/tiny", models_dir).path
    manifest = read_manifest(path)
    hashes = [entry.sha256 for entry in manifest.unique_chunks()]
    flip_bit(chunk_path(path, hashes[0]), keep_times=True)
    chunk_path(path, hashes[1]).unlink()
    os.truncate(chunk_path(path, hashes[2]), 100)
    file_path(path, manifest.files["LICENSE"].sha256).write_bytes(b"changed")
    result = mended(path, models_dir)
    assert (result.num_chunks, result.num_files, result.address) == (3, 1, f"{site.url}/tiny")
    assert seed_on_disk(path) == 1
    assert quarantined(path) == ()
    assert not (path / "quarantine").exists()


def test_only_the_bad_segments_are_fetched(big_site: WebServer, models_dir: Path) -> None:
    path = pulled(f"{big_site.url}/big", models_dir).path
    entry = max(read_manifest(path).chunks, key=lambda chunk: chunk.num_bytes)
    assert len(entry.segments) > 2
    flip_bit(chunk_path(path, entry.sha256), 1_100_000)
    big_site.asked.clear()
    mended(path, models_dir)
    (asked,) = [asked for asked in big_site.asked if "chunks" in asked.path]
    assert asked.range == "bytes=1048576-"
    assert seed_on_disk(path, BIG) == 1


def test_a_chunk_that_another_model_has_is_not_fetched(site: WebServer, models_dir: Path) -> None:
    write_sample(models_dir / "other", seed=2)
    path = pulled(f"{site.url}/tiny", models_dir).path
    shared = {entry.sha256 for entry in read_manifest(models_dir / "other").chunks}
    entry = next(entry for entry in read_manifest(path).chunks if entry.sha256 in shared)
    chunk_path(path, entry.sha256).unlink()
    assert mended(path, models_dir) == Repaired(1, 0, 0, None)
    assert seed_on_disk(path) == 1


def test_a_hard_link_to_the_same_damage_is_no_help(site: WebServer, models_dir: Path) -> None:
    write_sample(models_dir / "other", seed=2)
    path = pulled(f"{site.url}/tiny", models_dir).path
    shared = {entry.sha256 for entry in read_manifest(models_dir / "other").chunks}
    entry = next(entry for entry in read_manifest(path).chunks if entry.sha256 in shared)
    flip_bit(chunk_path(path, entry.sha256), keep_times=True)  # as flash forgets: nobody wrote
    assert mended(path, models_dir).fetched_bytes > 0
    assert seed_on_disk(path) == 1
    assert examine(models_dir / "other").chunks == (entry,)
    assert mended(models_dir / "other", models_dir).fetched_bytes == 0
    assert seed_on_disk(models_dir / "other") == 2


def test_without_an_origin_the_damaged_chunk_stays_aside(models_dir: Path) -> None:
    path = write_sample(models_dir / "mine")
    flip_bit(some_chunk(path))
    damaged = some_chunk(path).read_bytes()
    with pytest.raises(IntegrityError, match=r"nobody noted where it came from; pull it again, or convert it again"):
        mended(path, models_dir)
    (sha256,) = quarantined(path)
    assert (path / "quarantine" / f"{sha256}.damaged").read_bytes() == damaged
    assert package_state(path, read_manifest(path)).damaged == (sha256,)


def test_what_was_moved_aside_and_is_good_comes_back_by_itself(models_dir: Path) -> None:
    path = write_sample(models_dir / "mine")
    good = some_chunk(path).read_bytes()
    flip_bit(some_chunk(path))
    with pytest.raises(IntegrityError):
        mended(path, models_dir)
    (sha256,) = quarantined(path)
    (path / "quarantine" / f"{sha256}.damaged").write_bytes(good)
    assert mended(path, models_dir) == Repaired(1, 0, 0, None)
    assert seed_on_disk(path) == 1


def test_an_origin_that_is_gone_is_told_and_the_next_repair_goes_on(site: WebServer, models_dir: Path) -> None:
    path = pulled(f"{site.url}/tiny", models_dir).path
    flip_bit(some_chunk(path))
    site.faults = lambda path, count: Fault("status", status=404)
    with pytest.raises(DownloadError, match="tiny has no chunks/"):
        mended(path, models_dir)
    assert len(quarantined(path)) == 1
    site.faults = lambda path, count: None
    mended(path, models_dir)
    assert seed_on_disk(path) == 1
    assert quarantined(path) == ()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_kill_at_any_change_leaves_what_the_next_repair_mends(published: Path, memory_dir: Path) -> None:
    models_dir = memory_dir / "models"
    whole = pulled(published / "tiny", models_dir).path
    kept = models_dir.parent / "kept"
    shutil.copytree(whole, kept)
    change, was_killed = 0, True
    while was_killed:
        shutil.rmtree(whole)
        shutil.copytree(kept, whole)
        flip_bit(some_chunk(whole))
        was_killed = run_killed_before_change(lambda: mended(whole, models_dir), change)
        mended(whole, models_dir)
        assert seed_on_disk(whole) == 1
        assert quarantined(whole) == ()
        change += 1
    assert change > 8
