"""A published package becomes an installed one, whatever the server does and whenever the process is killed."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from apps.repository.conftest import BIG, a_link
from package.crashes import run_killed_before_change
from package.samples import flip_bit, names_below, seed_on_disk, some_chunk, write_sample
from web_server import Fault, WebServer, serving

from pocketseek.apps.repository import receive
from pocketseek.apps.repository.open_source import Link
from pocketseek.apps.repository.pull import Consent, Pulled, PullOptions, Replacing, pull
from pocketseek.errors import (
    BusyError,
    DownloadError,
    FormatError,
    NotFoundError,
    StorageError,
    UnsupportedError,
    UsageError,
)
from pocketseek.package.lock import destination_lock
from pocketseek.package.manifest import read_manifest
from pocketseek.package.origin import read_origin
from pocketseek.package.paths import chunk_path, partial_path
from pocketseek.package.store import ModelStore

SEED = random.SystemRandom().randrange(2**32)
NUM_KILLS = 6


def pulled(address: str | Path, models_dir: Path, link: Link | None = None, name: str | None = None) -> Pulled:
    downloads = models_dir.parent / "downloads"
    options = PullOptions(name=name)
    return pull(str(address), link or a_link(), models_dir=models_dir, downloads_dir=downloads, options=options)


def test_a_package_is_installed_as_it_was_published(site: WebServer, published: Path, models_dir: Path) -> None:
    result = pulled(f"{site.url}/tiny", models_dir)
    assert result.path == models_dir / "tiny"
    assert seed_on_disk(result.path) == 1
    assert (result.path / "manifest.json").read_bytes() == (published / "tiny" / "manifest.json").read_bytes()
    assert result.fetched_bytes == result.num_bytes == read_manifest(result.path).num_bytes
    assert os.listdir(models_dir) == ["tiny"]
    assert not any(name.endswith(".part") for name in names_below(result.path))


def test_it_is_known_where_it_came_from(site: WebServer, models_dir: Path) -> None:
    address = site.url.replace("http://", "http://me:secret@")
    path = pulled(f"{address}/tiny/", models_dir).path
    origin = read_origin(path)
    assert origin is not None
    assert origin.address == f"{site.url}/tiny"


def test_every_byte_was_hashed_so_the_first_start_need_not(site: WebServer, models_dir: Path) -> None:
    from pocketseek.package.reader import Package

    path = pulled(f"{site.url}/tiny", models_dir).path
    hashed: list[int] = []
    with Package.open(path, progress=lambda done, total: hashed.append(done)):
        assert hashed == []


def test_a_signature_travels_with_the_manifest(published: Path, models_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(published / "tiny", tmp_path / "signed")
    (tmp_path / "signed" / "manifest.sig").write_bytes(b"a signature")
    path = pulled(tmp_path / "signed", models_dir).path
    assert (path / "manifest.sig").read_bytes() == b"a signature"
    pulled(tmp_path / "signed", models_dir)  # the same again, over itself
    assert (path / "manifest.sig").read_bytes() == b"a signature"


def test_a_folder_is_a_source_too(published: Path, models_dir: Path) -> None:
    assert seed_on_disk(pulled(published / "tiny", models_dir).path) == 1


def test_the_same_again_fetches_nothing(site: WebServer, models_dir: Path) -> None:
    pulled(f"{site.url}/tiny", models_dir)
    before = len(site.asked)
    assert pulled(f"{site.url}/tiny", models_dir).fetched_bytes == 0
    assert {path.rpartition("/")[2] for path in site.paths()[before:]} == {
        "manifest.json",
        "manifest.sig",
        "sealed.json",
    }


def test_chunks_of_installed_models_are_shared(site: WebServer, models_dir: Path) -> None:
    write_sample(models_dir / "other", seed=2)  # with the same embedding
    result = pulled(f"{site.url}/tiny", models_dir)
    assert result.local_bytes > 0
    assert result.fetched_bytes + result.local_bytes == result.num_bytes
    assert seed_on_disk(result.path) == 1
    assert seed_on_disk(models_dir / "other") == 2
    shared = {entry.sha256 for entry in read_manifest(models_dir / "other").chunks}
    shared &= {entry.sha256 for entry in read_manifest(result.path).chunks}
    assert not any(sha256 in path for sha256 in shared for path in site.paths())


def test_a_damaged_chunk_of_another_model_is_fetched_after_all(site: WebServer, models_dir: Path) -> None:
    write_sample(models_dir / "other", seed=2)
    for entry in read_manifest(models_dir / "other").chunks:
        flip_bit(chunk_path(models_dir / "other", entry.sha256))
    result = pulled(f"{site.url}/tiny", models_dir)
    assert result.local_bytes == 0
    assert seed_on_disk(result.path) == 1


def test_a_new_version_fetches_what_is_new(published: Path, models_dir: Path, tmp_path: Path) -> None:
    write_sample(models_dir / "tiny", seed=3)
    result = pulled(published / "tiny", models_dir)
    assert 0 < result.fetched_bytes < result.num_bytes
    assert seed_on_disk(result.path) == 1
    assert os.listdir(models_dir) == ["tiny"]


def test_other_content_under_the_name_is_asked_about_first(published: Path, models_dir: Path) -> None:
    write_sample(models_dir / "tiny", seed=3)

    def refuse(replacing: Replacing) -> None:
        raise UsageError(f"not {replacing.name}, of {seed_on_disk(replacing.path)}, {replacing.address}")

    with pytest.raises(UsageError, match=f"not tiny, of 3, {published}/tiny"):
        pull(
            str(published / "tiny"),
            a_link(),
            models_dir=models_dir,
            downloads_dir=models_dir,
            consent=Consent(allow_replacing=refuse),
        )
    assert seed_on_disk(models_dir / "tiny") == 3


def test_damage_on_the_way_is_fetched_again(big_site: WebServer, models_dir: Path) -> None:
    big_site.faults = lambda path, count: Fault("flip", at=1_500_000) if count == 0 and "chunks" in path else None
    assert seed_on_disk(pulled(f"{big_site.url}/big", models_dir).path, BIG) == 1


def test_damage_that_stays_is_one_line_and_installs_nothing(site: WebServer, models_dir: Path) -> None:
    site.faults = lambda path, count: Fault("flip", at=10) if "chunks" in path else None
    with pytest.raises(DownloadError, match="arrives damaged each time"):
        pulled(f"{site.url}/tiny", models_dir)
    assert ModelStore(models_dir).list() == ModelStore(models_dir).list_broken() == []
    site.faults = lambda path, count: None
    assert seed_on_disk(pulled(f"{site.url}/tiny", models_dir).path) == 1


def test_drops_at_random_bytes_cost_nothing_that_was_there(big_site: WebServer, models_dir: Path) -> None:
    rng = random.Random(SEED)
    print("seed", SEED)
    big_site.faults = lambda path, count: (
        Fault("drop", at=rng.randrange(3_000_000)) if "chunks" in path and count % 2 == 0 else None
    )  # never twice in a row: many drops before the first byte are a server that cannot be had
    assert seed_on_disk(pulled(f"{big_site.url}/big", models_dir).path, BIG) == 1


def test_a_server_without_ranges_will_do(published_big: Path, models_dir: Path) -> None:
    with serving(published_big, ranges=False) as server:
        server.faults = lambda path, count: Fault("drop", at=2_000_000) if count == 0 and "chunks" in path else None
        assert seed_on_disk(pulled(f"{server.url}/big", models_dir).path, BIG) == 1


def test_what_arrived_is_kept_after_an_error(big_site: WebServer, models_dir: Path) -> None:
    chunks = sorted(entry.sha256 for entry in read_manifest(big_site.root / "big").unique_chunks())
    big_site.faults = lambda path, count: Fault("status", status=403) if chunks[0] in path else None
    with pytest.raises(DownloadError):
        pulled(f"{big_site.url}/big", models_dir, a_link(num_connections=1))
    (unfinished,) = ModelStore(models_dir).list_unfinished()
    assert unfinished.is_download
    ModelStore(models_dir).clean()
    (still,) = ModelStore(models_dir).list_unfinished()
    assert still.num_bytes == unfinished.num_bytes
    big_site.faults = lambda path, count: None
    result = pulled(f"{big_site.url}/big", models_dir)
    assert result.fetched_bytes <= result.num_bytes
    assert seed_on_disk(result.path, BIG) == 1
    assert os.listdir(models_dir) == ["tiny"]


def test_an_interrupted_download_can_be_removed(site: WebServer, models_dir: Path) -> None:
    chunks = [entry.sha256 for entry in read_manifest(site.root / "tiny").unique_chunks()]
    site.faults = lambda path, count: Fault("status", status=404) if chunks[-1] in path else None
    with pytest.raises(DownloadError, match="which it said that it has"):
        pulled(f"{site.url}/tiny", models_dir)
    ModelStore(models_dir).remove("tiny")
    assert os.listdir(models_dir) == []


def test_half_of_a_chunk_that_was_damaged_on_the_disk_is_fetched_only_where_it_is_bad(
    big_site: WebServer, models_dir: Path
) -> None:
    entry = max(read_manifest(big_site.root / "big").chunks, key=lambda chunk: chunk.num_bytes)
    big_site.faults = lambda path, count: Fault("drop", at=entry.num_bytes - 10) if entry.sha256 in path else None
    with pytest.raises(DownloadError):
        pulled(f"{big_site.url}/big", models_dir)
    part = chunk_path(partial_path(models_dir / "tiny"), f"{entry.sha256}.part")
    flip_bit(part, 1_200_000)
    big_site.asked.clear()
    big_site.faults = lambda path, count: None
    assert seed_on_disk(pulled(f"{big_site.url}/big", models_dir).path, BIG) == 1
    ranges = [asked.range for asked in big_site.asked if entry.sha256 in asked.path]
    assert ranges == ["bytes=1048576-"]


def test_a_full_disk_leaves_nothing_half_installed(big_site: WebServer, models_dir: Path) -> None:
    """A limit on the size of files stands for the disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, hard))
    try:
        with pytest.raises(StorageError, match="file size limit"):
            pulled(f"{big_site.url}/big", models_dir)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert ModelStore(models_dir).list() == ModelStore(models_dir).list_broken() == []
    assert seed_on_disk(pulled(f"{big_site.url}/big", models_dir).path, BIG) == 1


def test_space_is_looked_for_before_anything_is_fetched(
    site: WebServer, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil._ntuple_diskusage(10**9, 10**9, 10_000)
    monkeypatch.setattr("pocketseek.package.storage.shutil.disk_usage", lambda path: free)
    with pytest.raises(StorageError, match=r"10000 bytes.* are free"):
        pulled(f"{site.url}/tiny", models_dir)
    assert not any("chunks" in path for path in site.paths())


def test_somebody_else_who_changes_it_is_waited_for_by_nobody(published: Path, models_dir: Path) -> None:
    models_dir.mkdir(parents=True)
    with destination_lock(models_dir / "tiny"), pytest.raises(BusyError):
        pulled(published / "tiny", models_dir)


# -- what a malicious server may offer ------------------------------------------------------------------------------


def test_what_was_sealed_while_the_lock_was_waited_for_is_left_alone(
    published: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pulled(published / "tiny", models_dir).path

    def lock_after_a_seal(destination: Path) -> AbstractContextManager[None]:
        (path / "sealed.json").write_bytes(b"{}")
        return destination_lock(destination)

    monkeypatch.setattr(receive, "destination_lock", lock_after_a_seal)
    some_chunk(path).unlink()  # sealed by now, as it were
    before = names_below(models_dir)
    with pytest.raises(UsageError, match="is sealed"):
        pulled(published / "tiny", models_dir)
    assert names_below(models_dir) == before | {str((path / "sealed.json").relative_to(models_dir))}


def manifest_with(published: Path, old: bytes, new: bytes) -> bytes:
    data = (published / "tiny" / "manifest.json").read_bytes()
    assert old in data
    return data.replace(old, new, 1)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"name":"tiny"', b'"name":"../tiny"'),
        (b'"name":"tiny"', b'"name":"/etc/passwd"'),
        (b'"LICENSE":', b'"../../LICENSE":'),
        (b'"sha256":"', b'"sha256":"../../../../../etc/passwd'),
        (b'"num_bytes":', b'"num_bytes":9'),
        (b'"num_bytes":', b'"num_bytes":99999999999999'),
        (b"{", b"{{"),
        (b'"magic"', b'"tragic"'),
    ],
)
def test_a_hostile_manifest_is_refused_before_anything_is_written(
    site: WebServer, published: Path, models_dir: Path, old: bytes, new: bytes
) -> None:
    site.pages["/tiny/manifest.json"] = (manifest_with(published, old, new), {})
    with pytest.raises(FormatError):
        pulled(f"{site.url}/tiny", models_dir)
    assert not models_dir.exists()


def test_a_huge_or_endless_manifest_is_refused(
    site: WebServer, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketseek.apps.repository.pull.MAX_MANIFEST_BYTES", 1_000_000)
    site.faults = lambda path, count: Fault("endless")
    with pytest.raises(FormatError, match="longer than the 1000000 bytes"):
        pulled(f"{site.url}/tiny", models_dir)
    site.faults = lambda path, count: Fault("length", length=10**12)
    with pytest.raises(FormatError, match="longer than the 1000000 bytes"):
        pulled(f"{site.url}/tiny", models_dir)


def test_no_manifest_no_package(site: WebServer, models_dir: Path) -> None:
    with pytest.raises(NotFoundError, match=r"has no manifest\.json; check the address"):
        pulled(site.url, models_dir)
    with pytest.raises(FormatError, match=r"has no manifest\.json"):
        pulled(site.root, models_dir)


def test_a_sealed_package_is_refused_for_now(site: WebServer, models_dir: Path) -> None:
    site.pages["/tiny/sealed.json"] = (b"{}", {})
    with pytest.raises(UnsupportedError, match="sealed package"):
        pulled(f"{site.url}/tiny", models_dir)
    site.pages["/tiny/sealed.json"] = (b"<html>nothing here</html>", {})  # as some servers say it
    assert seed_on_disk(pulled(f"{site.url}/tiny", models_dir).path) == 1


def test_an_endless_chunk_ends_where_the_manifest_says(site: WebServer, models_dir: Path) -> None:
    site.faults = lambda path, count: Fault("endless") if count == 0 and "chunks" in path else None
    assert seed_on_disk(pulled(f"{site.url}/tiny", models_dir).path) == 1


def test_a_link_among_the_models_is_not_written_through(published: Path, models_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_bytes(b"precious")
    models_dir.mkdir(parents=True)
    os.symlink(tmp_path / "precious", models_dir / "tiny")
    with pytest.raises(UsageError, match="is not a pocketseek package"):
        pulled(published / "tiny", models_dir)
    assert names_below(tmp_path / "precious") == {"file"}


# -- kill -9 --------------------------------------------------------------------------------------------------------


def killed_after(action: Callable[[], object], seconds: float) -> bool:
    """Whether it was still at it."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            action()
            code = 0
        finally:
            os._exit(code)
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def kill_again_and_again(server: WebServer, models_dir: Path, num_pulls: int, *, old_seed: int | None) -> int:
    """Returns how many kills met a download; after each one the old model, the new one, or none is there, whole."""
    rng = random.Random(SEED)
    print("seed", SEED)
    num_met, start_s = 0, time.monotonic()
    pulled(f"{server.url}/big", models_dir, name="big")
    usual_s = time.monotonic() - start_s
    for _ in range(num_pulls):
        shutil.rmtree(models_dir, ignore_errors=True)
        if old_seed is not None:
            write_sample(models_dir / "big", BIG, seed=old_seed, max_chunk_bytes=100_000_000, rows_per_piece=500)
        met, longest_s = True, usual_s
        while met:
            met = killed_after(
                lambda: pulled(f"{server.url}/big", models_dir, name="big"), rng.uniform(longest_s / 20, longest_s)
            )
            num_met += met
            longest_s *= 1.2  # a busy machine gets there, too
            assert ModelStore(models_dir).list_broken() == []
            for model in ModelStore(models_dir).list():
                assert seed_on_disk(model.path, BIG) in {1, old_seed}
            if rng.random() < 0.3:
                ModelStore(models_dir).clean()
        assert seed_on_disk(models_dir / "big", BIG) == 1
        assert os.listdir(models_dir) == ["big"]
    return num_met


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("old_seed", [None, 2])
def test_a_killed_pull_is_gone_on_with(big_site: WebServer, models_dir: Path, old_seed: int | None) -> None:
    assert kill_again_and_again(big_site, models_dir, NUM_KILLS // 2, old_seed=old_seed) > 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("old_seed", [None, 2])
def test_hundreds_of_kills(big_site: WebServer, models_dir: Path, old_seed: int | None) -> None:
    assert kill_again_and_again(big_site, models_dir, 100, old_seed=old_seed) > 100


def killed_before_change(published: Path, models_dir: Path, change: int) -> bool:
    """Over an old version, from a folder, so that no thread has sockets. False if it was over before."""
    shutil.rmtree(models_dir, ignore_errors=True)
    write_sample(models_dir / "tiny", seed=3)
    was_killed = run_killed_before_change(lambda: pulled(published / "tiny", models_dir), change)
    assert ModelStore(models_dir).list_broken() == []
    assert seed_on_disk(models_dir / "tiny") in (1, 3)
    assert seed_on_disk(pulled(published / "tiny", models_dir).path) == 1
    assert os.listdir(models_dir) == ["tiny"]
    return was_killed


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_kill_at_any_change_leaves_what_goes_on(published: Path, memory_dir: Path) -> None:
    print("seed", SEED)
    changes = random.Random(SEED).sample(range(60), NUM_KILLS)
    met = [killed_before_change(published, memory_dir / "models", change) for change in changes]
    assert any(met)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_kill_at_every_change_leaves_what_goes_on(published: Path, memory_dir: Path) -> None:
    change = 0
    while killed_before_change(published, memory_dir / "models", change):
        change += 1
    assert change > 60


def test_the_model_itself_is_no_source_for_itself(published: Path, models_dir: Path) -> None:
    path = pulled(published / "tiny", models_dir).path
    with pytest.raises(UsageError, match="installed model tiny itself"):
        pulled(path, models_dir)
    assert some_chunk(path).exists()
