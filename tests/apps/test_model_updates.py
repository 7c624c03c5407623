"""Updates of served models: nothing by itself, the size first, and one line for whatever stands against it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from apps.repository.published import Place, make_place, spoil_deltas
from package.sealed_samples import GCM, key

from pocketseek.apps import model_updates
from pocketseek.apps.model_updates import ModelUpdates, UpdateRun
from pocketseek.apps.repository.open_source import Link
from pocketseek.apps.repository.source import DirectorySource
from pocketseek.errors import BusyError, DownloadError, TrustError, UsageError
from pocketseek.package.lock import destination_lock
from pocketseek.package.manifest import read_manifest, read_manifest_bytes, render_manifest, version_id
from pocketseek.package.origin import Origin, write_origin
from pocketseek.package.sealing.in_place import seal_package, seal_state
from pocketseek.settings import NetworkSettings, Settings


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The old version, installed; nobody signed anything."""
    place = make_place(tmp_path)
    for folder in (place.old, place.published, place.installed):
        (folder / "manifest.sig").unlink()
    write_origin(place.installed, Origin.now(str(place.published)))
    return place


@pytest.fixture
def changed() -> list[Path]:
    return []


@pytest.fixture
def updates(tmp_path: Path, changed: list[Path]) -> Iterator[ModelUpdates]:
    settings = Settings(tmp_path, None, 1, "en")
    with closing(ModelUpdates(settings, NetworkSettings, changed=changed.append, metered=lambda: "yes")) as updates:
        yield updates


def ended(updates: ModelUpdates, path: Path) -> UpdateRun:
    until_s = time.monotonic() + 30
    while (run := updates.state(path)).state == "running":
        assert time.monotonic() < until_s
        time.sleep(0.005)
    return run


def is_new(place: Place) -> bool:
    return read_manifest_bytes(place.installed) == read_manifest_bytes(place.published)


def test_the_size_is_told_and_what_was_found_is_installed(
    place: Place, updates: ModelUpdates, changed: list[Path]
) -> None:
    assert updates.state(place.installed).state == "none"
    found = updates.find(place.installed)
    assert not found.up_to_date
    assert 0 < found.fetch_bytes < found.whole_bytes < found.disk_bytes
    assert (found.metered, found.origin) == ("no", str(place.published))  # from a folder: no network
    assert not is_new(place)
    updates.start(place.installed, found.new)
    run = ended(updates, place.installed)
    assert (run.state, run.total_bytes, run.message) == ("done", found.fetch_bytes, "")
    assert is_new(place)
    assert changed == [place.installed]
    assert updates.find(place.installed).up_to_date


def test_a_sealed_model_stays_sealed_and_needs_its_key(place: Place, tmp_path: Path) -> None:
    seal_package(place.installed, key, GCM)
    settings = Settings(tmp_path, None, 1, "en")
    with closing(ModelUpdates(settings, NetworkSettings)) as updates:
        new = updates.find(place.installed).new
        updates.start(place.installed, new)
        run = ended(updates, place.installed)
        assert (run.state, "is sealed" in run.message) == ("failed", True)
    with closing(ModelUpdates(settings, NetworkSettings, secret_of=lambda path: key())) as updates:
        updates.start(place.installed, new)
        assert ended(updates, place.installed).state == "done"
    assert is_new(place)
    assert seal_state(place.installed, read_manifest(place.installed)) == "sealed"


def test_what_is_offered_by_then_instead_is_not_installed(place: Place, updates: ModelUpdates) -> None:
    updates.start(place.installed, "0" * 64)
    run = ended(updates, place.installed)
    assert (run.state, "look once more" in run.message) == ("failed", True)
    assert not is_new(place)


def test_nobody_knows_where_it_is_from(place: Place, updates: ModelUpdates, changed: list[Path]) -> None:
    (place.installed / "origin.json").unlink()
    with pytest.raises(UsageError, match="--from ADDRESS"):
        updates.find(place.installed)
    updates.start(place.installed, "0" * 64)
    assert "--from ADDRESS" in ended(updates, place.installed).message
    assert changed == []


def test_an_error_is_told_and_the_next_try_may_work(place: Place, updates: ModelUpdates) -> None:
    new = updates.find(place.installed).new
    with destination_lock(place.installed):
        updates.start(place.installed, new)
        assert ended(updates, place.installed).state == "failed"
    updates.start(place.installed, new)
    assert ended(updates, place.installed).state == "done"


def test_what_nobody_foresaw_ends_it_too(
    place: Place, updates: ModelUpdates, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    new = updates.find(place.installed).new
    monkeypatch.setattr(model_updates, "update", lambda *args, **options: 1 / 0)
    updates.start(place.installed, new)
    run = ended(updates, place.installed)
    assert (run.state, "server's log" in run.message) == ("failed", True)
    until_s = time.monotonic() + 30
    while "ZeroDivisionError" not in caplog.text:
        assert time.monotonic() < until_s
        time.sleep(0.005)


def test_one_at_a_time_and_it_can_be_stopped(
    place: Place, updates: ModelUpdates, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    new = updates.find(place.installed).new
    begun, go_on, usual = threading.Event(), threading.Event(), model_updates.update

    def slow_update(*args: object, **options: object) -> object:
        begun.set()
        assert go_on.wait(30)
        return usual(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(model_updates, "update", slow_update)
    updates.start(place.installed, new)
    assert begun.wait(30)
    with pytest.raises(BusyError):
        updates.start(shutil.copytree(place.installed, tmp_path / "models" / "other"), new)
    updates.stop(place.installed)
    go_on.set()
    assert ended(updates, place.installed).state == "stopped"
    assert not is_new(place)
    monkeypatch.undo()
    updates.start(place.installed, new)
    assert ended(updates, place.installed).state == "done"
    assert is_new(place)


def test_a_network_that_is_paid_for_is_used_only_if_that_is_said(
    place: Place, updates: ModelUpdates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_updates, "DirectorySource", tuple)  # as if the folder were elsewhere
    monkeypatch.setattr(model_updates, "UNASKED_BYTES", 10)
    found = updates.find(place.installed)
    assert found.metered == "yes"
    updates.start(place.installed, found.new)
    assert "paid for by the byte" in ended(updates, place.installed).message
    assert not is_new(place)
    updates.start(place.installed, found.new, allow_metered=True)
    assert ended(updates, place.installed).state == "done"


def test_more_than_was_told_is_not_fetched_before_that_is_told(
    place: Place, updates: ModelUpdates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_updates, "DirectorySource", tuple)  # as if the folder were elsewhere
    told = updates.find(place.installed)
    assert told.fetch_bytes < told.whole_bytes
    spoil_deltas(place.published)
    for _ in range(2):
        updates.start(place.installed, told.new)
        run = ended(updates, place.installed)
        assert (run.state, f"instead of the {told.fetch_bytes} that were told" in run.message) == ("failed", True)
        assert not is_new(place)
    again = updates.find(place.installed)
    assert told.fetch_bytes < again.fetch_bytes
    updates.start(place.installed, told.new)
    assert ended(updates, place.installed).state == "done"
    assert is_new(place)


def test_an_index_of_deltas_that_is_gone_by_then_makes_it_more(
    place: Place, updates: ModelUpdates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_updates, "DirectorySource", tuple)
    told = updates.find(place.installed)
    shutil.rmtree(place.published / "deltas")
    updates.start(place.installed, told.new)
    assert "look once more" in ended(updates, place.installed).message
    assert updates.find(place.installed).fetch_bytes == told.whole_bytes


def test_another_model_in_its_place_is_not_even_shown(place: Place, updates: ModelUpdates) -> None:
    manifest = replace(read_manifest(place.published), name="another")
    (place.published / "manifest.json").write_bytes(render_manifest(manifest))
    with pytest.raises(TrustError, match="another model"):
        updates.find(place.installed)
    updates.start(place.installed, version_id(render_manifest(manifest)))
    assert "another model" in ended(updates, place.installed).message
    assert not is_new(place)


def test_a_signature_that_is_not_trusted_stops_it_before_anything_is_fetched(
    place: Place, updates: ModelUpdates
) -> None:
    (place.published / "manifest.sig").write_bytes(b"of nobody")
    updates.start(place.installed, "0" * 64)
    assert ended(updates, place.installed).state == "failed"
    assert not is_new(place)
    assert not list(place.models.glob(".*update*"))


def test_who_waits_for_a_server_is_stopped_at_once(
    place: Place, updates: ModelUpdates, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, closed = threading.Event(), threading.Event()

    class Silent(DirectorySource):
        def read(self, path: str, max_bytes: int) -> bytes | None:
            begun.set()
            assert closed.wait(30)
            raise DownloadError("the connection was closed; try again")

        def close(self) -> None:
            closed.set()

    monkeypatch.setattr(model_updates, "open_source", lambda address, link: Silent(place.published))
    updates.start(place.installed, "0" * 64)
    assert begun.wait(30)
    updates.stop(place.installed)
    assert ended(updates, place.installed).state == "stopped"


def test_who_stops_it_before_the_source_is_open_waits_for_no_answer(
    place: Place, updates: ModelUpdates, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, asked = threading.Event(), threading.Event(), list[str]()

    class Asked(DirectorySource):
        def read(self, path: str, max_bytes: int) -> bytes | None:
            asked.append(path)
            return super().read(path, max_bytes)

    def open_slowly(address: str, link: Link) -> DirectorySource:
        begun.set()
        assert go_on.wait(30)
        return Asked(place.published)

    monkeypatch.setattr(model_updates, "open_source", open_slowly)
    updates.start(place.installed, "0" * 64)
    assert begun.wait(30)
    updates.stop(place.installed)
    go_on.set()
    assert ended(updates, place.installed).state == "stopped"
    assert asked == []


def test_what_had_not_begun_when_all_ends_was_stopped(place: Place, updates: ModelUpdates) -> None:
    go_on = threading.Event()
    updates._thread.submit(go_on.wait, 30)
    updates.start(place.installed, "0" * 64)
    threading.Timer(0.05, go_on.set).start()
    updates.close()
    assert updates.state(place.installed) == UpdateRun("stopped")
