"""Which chunk is due, and that damage is found, believed only twice, and given up for who needs the machine."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from threading import Event

import pytest
from apps.repository.conftest import a_link
from apps.repository.test_receive import pulled
from package.samples import flip_bit, seed_on_disk, some_chunk, write_sample
from web_server import Fault, WebServer

from pocketseek.apps.repository.quarantine import quarantined
from pocketseek.apps.repository.scrub import check_chunk, next_due
from pocketseek.apps.repository.upkeep import Upkeep
from pocketseek.errors import IntegrityError, UsageError
from pocketseek.package.check_record import read_checked, write_checked
from pocketseek.package.manifest import ChunkEntry, read_manifest
from pocketseek.package.reader import Package
from pocketseek.runtime.residency.chunk_files import ChunkFiles

DAY_S = 86_400
NOW_S = 1_800_000_000


@pytest.fixture
def path(models_dir: Path) -> Path:
    return write_sample(models_dir / "tiny")


def checked(path: Path, entry: ChunkEntry) -> str:
    return check_chunk(path, entry, lambda: True, Event(), bytes_per_s=1e12)


def test_the_one_longest_unseen_is_next_and_never_later_than_half_the_time(path: Path) -> None:
    manifest = read_manifest(path)
    hashes = [entry.sha256 for entry in manifest.unique_chunks()]
    fresh = dict.fromkeys(hashes, NOW_S - 14 * DAY_S)
    assert next_due(manifest, fresh, NOW_S, days=30) is None
    for due in (fresh | {hashes[2]: NOW_S - 15 * DAY_S}, {k: v for k, v in fresh.items() if k != hashes[2]}):
        entry = next_due(manifest, due, NOW_S, days=30)
        assert entry is not None
        assert entry.sha256 == hashes[2]


def test_a_time_of_the_future_counts_for_nothing(path: Path) -> None:
    manifest = read_manifest(path)
    times = {entry.sha256: NOW_S + DAY_S for entry in manifest.chunks}
    assert next_due(manifest, times, NOW_S, days=30) is not None


def test_good_and_damaged_chunks_are_told_apart(path: Path) -> None:
    for entry in read_manifest(path).unique_chunks():
        assert checked(path, entry) == "good"
    entry = read_manifest(path).chunks[-1]
    flip_bit(some_chunk(path), entry.num_bytes - 1, keep_times=True)
    assert checked(path, entry) == "damaged"
    os.truncate(some_chunk(path), 10)
    assert checked(path, entry) == "damaged"
    some_chunk(path).unlink()
    assert checked(path, entry) == "damaged"


def test_it_gives_up_at_once_for_who_needs_the_machine(path: Path) -> None:
    entry = read_manifest(path).chunks[-1]
    assert check_chunk(path, entry, lambda: False, Event()) == "given up"
    stop = Event()
    stop.set()
    assert check_chunk(path, entry, lambda: True, stop) == "given up"


class Site:
    """An upkeep whose turns a test takes."""

    def __init__(self, path: Path, models_dir: Path, *others: Path, days: float = 30, may_work: bool = True) -> None:
        self.said: list[str] = []
        self.may_work = may_work
        self.upkeep = Upkeep(
            lambda: [path, *others],
            may_work=lambda: self.may_work,
            report=self.said.append,
            link=a_link,
            models_dir=models_dir,
            days=days,
            bytes_per_s=1e12,
        )


def test_every_chunk_comes_once_and_then_none_is_due(path: Path, models_dir: Path) -> None:
    site = Site(path, models_dir)
    num_chunks = len(read_manifest(path).unique_chunks())
    assert [site.upkeep.turn() for _ in range(num_chunks + 1)] == [True] * num_chunks + [False]
    assert len(read_checked(path)) == num_chunks
    assert site.said == []


def test_the_same_chunk_of_another_package_is_another_file(path: Path, models_dir: Path) -> None:
    other = Path(shutil.copytree(path, models_dir / "copy"))
    num_chunks = len(read_manifest(path).unique_chunks())
    site = Site(path, models_dir, other)
    assert [site.upkeep.turn() for _ in range(2 * num_chunks + 1)] == [True] * 2 * num_chunks + [False]
    assert len(read_checked(other)) == num_chunks


def test_another_upkeep_goes_on_where_the_first_was(path: Path, models_dir: Path) -> None:
    Site(path, models_dir).upkeep.turn()
    (first,) = read_checked(path)
    site = Site(path, models_dir)
    site.upkeep.turn()
    assert len(read_checked(path)) == 2
    assert first in read_checked(path)


def test_a_package_that_cannot_be_written_is_not_hashed_again_and_again(
    path: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketseek.apps.repository.upkeep.note_checked", lambda *_: None)
    site = Site(path, models_dir)
    num_chunks = len(read_manifest(path).unique_chunks())
    assert [site.upkeep.turn() for _ in range(num_chunks + 1)] == [True] * num_chunks + [False]


def test_nothing_is_done_while_it_may_not(path: Path, models_dir: Path) -> None:
    site = Site(path, models_dir, may_work=False)
    assert not site.upkeep.turn()
    assert read_checked(path) == {}


def test_a_damaged_chunk_is_replaced_and_a_reader_that_has_it_open_goes_on(site: WebServer, models_dir: Path) -> None:
    path = pulled(f"{site.url}/tiny", models_dir).path
    write_checked(path, {})
    with Package.open(path) as package:
        files = ChunkFiles(package)
        flip_bit(some_chunk(path), keep_times=True)
        here = Site(path, models_dir)
        while here.upkeep.turn():
            pass
        assert len(here.said) == 1
        assert f"is damaged; it was replaced from {site.url}/tiny" in here.said[0]
        with pytest.raises(IntegrityError):  # the open file is known to be bad now
            files.check_all()
        assert files.heal() == [len(package.manifest.chunks) - 1]
        files.check_all()
        files.close()
    assert seed_on_disk(path) == 1
    assert quarantined(path) == ()


def test_what_cannot_be_replaced_is_told_once_and_tried_again_later(path: Path, models_dir: Path) -> None:
    flip_bit(some_chunk(path), keep_times=True)
    here = Site(path, models_dir)
    while here.upkeep.turn():
        pass
    (line,) = here.said
    assert "could not be replaced" in line
    assert "nobody noted where it came from" in line
    assert len(quarantined(path)) == 1


def test_a_network_that_is_paid_for_is_not_used(site: WebServer, models_dir: Path) -> None:
    path = pulled(f"{site.url}/tiny", models_dir).path
    write_checked(path, {})
    flip_bit(some_chunk(path), keep_times=True)
    here = Site(path, models_dir)

    def refuse(num_bytes: int) -> None:
        raise UsageError(f"{num_bytes} bytes are not fetched")

    here.upkeep._allow_fetching = refuse
    site.asked.clear()
    while here.upkeep.turn():
        pass
    assert "bytes are not fetched" in here.said[0]
    assert site.asked == []


def test_a_server_that_is_away_does_not_stop_it(site: WebServer, models_dir: Path) -> None:
    path = pulled(f"{site.url}/tiny", models_dir).path
    write_checked(path, {})
    flip_bit(some_chunk(path), keep_times=True)
    site.faults = lambda path, count: Fault("status", status=503)
    here = Site(path, models_dir)
    while here.upkeep.turn():
        pass
    assert "answers 503" in here.said[0]
    assert len(read_checked(path)) == len(read_manifest(path).unique_chunks()) - 1


def test_the_thread_works_and_ends(path: Path, models_dir: Path) -> None:
    site = Site(path, models_dir)
    site.upkeep._rest_s = 0.01
    with site.upkeep:
        end_s = time.monotonic() + 20
        while len(read_checked(path)) < len(read_manifest(path).unique_chunks()) and time.monotonic() < end_s:
            time.sleep(0.01)
    assert len(read_checked(path)) == len(read_manifest(path).unique_chunks())
    assert not site.upkeep._thread.is_alive()


def test_zero_days_means_never(path: Path, models_dir: Path) -> None:
    site = Site(path, models_dir, days=0)
    with site.upkeep:
        assert not site.upkeep._thread.is_alive()
