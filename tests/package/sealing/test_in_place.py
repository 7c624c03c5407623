"""kill -9 or a full disk at any point of seal, unseal and passwd leaves a package that verifies, opens with its key and
comes to the end that was wanted; a finished seal leaves no plaintext, a finished unseal nothing of the key."""

from __future__ import annotations

import errno
import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from package.crashes import count_lines, run_killed_at_line, run_killed_before_change
from package.samples import (
    FILES,
    MEMORY_DISK,
    expected_names,
    flip_bit,
    names_below,
    seed_on_disk,
    stored_bytes,
    write_sample,
)
from package.sealed_samples import (
    CHACHA,
    FAST_KIB,
    GCM,
    files_in,
    key,
    open_seal,
    plaintext_in,
    read_all,
    write_sealed_sample,
)

from pocketseek.errors import BusyError, IntegrityError, SealError, StorageError, UsageError
from pocketseek.package.lock import destination_lock
from pocketseek.package.manifest import read_manifest
from pocketseek.package.reader import Package
from pocketseek.package.sealing.checks import plain_beside
from pocketseek.package.sealing.in_place import change_secret, seal_package, seal_state, unseal_package
from pocketseek.package.sealing.key_slots import Secret, passphrase_secret
from pocketseek.package.sealing.seal_record import read_record
from pocketseek.package.store import ModelStore
from pocketseek.package.verify import verify_package

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

OLD, NEW = key("o"), key("n")
Action = Callable[[Path], object]


def seal(path: Path, secret: Secret = OLD) -> None:
    seal_package(path, lambda: secret, GCM)


def unseal(path: Path) -> None:
    unseal_package(path, OLD)


def passwd(path: Path) -> None:
    change_secret(path, OLD, lambda: NEW)


@pytest.fixture(scope="module")
def samples() -> Iterator[Path]:
    """A plain and a sealed package of few chunks, to be copied."""
    with TemporaryDirectory(dir=MEMORY_DISK) as folder:
        write_sample(Path(folder) / "plain", max_chunk_bytes=10**6)
        shutil.copytree(Path(folder) / "plain", Path(folder) / "sealed")
        seal(Path(folder) / "sealed")
        yield Path(folder)


@dataclass(frozen=True)
class Bench:
    """Makes the same package anew, again and again."""

    samples: Path
    models_dir: Path

    def prepare(self, *, sealed: bool) -> Path:
        shutil.rmtree(self.models_dir, ignore_errors=True)
        return Path(shutil.copytree(self.samples / ("sealed" if sealed else "plain"), self.models_dir / "m"))


@pytest.fixture
def bench(samples: Path, memory_dir: Path) -> Bench:
    return Bench(samples, memory_dir / "models")


def secret_of(path: Path) -> Secret | None:
    """The one that opens it; None: it is plain."""
    if read_record(path) is None:
        return None
    for secret in (OLD, NEW):
        with suppress(SealError):
            open_seal(path, secret)[0].close()
            return secret
    raise AssertionError("no key opens it")


def check_usable(path: Path) -> None:
    """Listed, verified to the byte without the key, and every byte of it can be had with it."""
    store = ModelStore(path.parent)
    assert store.list_broken() == []
    assert [model.name for model in store.list()] == ["m"]
    verify_package(path, full=True)
    secret = secret_of(path)
    assert (seed_on_disk(path) if secret is None else read_all(path, secret)) == 1


def check_sealed(path: Path, secret: Secret) -> None:
    ModelStore(path.parent).clean()  # the lock of who was killed
    assert plaintext_in(path) == []
    assert seal_state(path, read_manifest(path)) == "sealed"
    names = {f"{file.name}.sealed" for file in files_in(path)}
    beside = {"verified.json", "checked.json", "manifest.json", "sealed.json"}
    assert names_below(path) - beside == names | {"chunks", "files"}
    assert read_all(path, secret) == 1
    assert os.listdir(path.parent) == ["m"]


def check_plain(path: Path) -> None:
    ModelStore(path.parent).clean()  # and a sealed.json that was not put in place
    assert seed_on_disk(path) == 1
    assert names_below(path) == expected_names(path)
    assert os.listdir(path.parent) == ["m"]


def finish(action: Action, path: Path) -> None:
    """As a user would, who runs the same command again."""
    if action is passwd:
        if secret_of(path) is OLD:
            passwd(path)
        check_sealed(path, NEW)
    elif action is seal:
        seal(path)
        check_sealed(path, OLD)
    else:
        if read_record(path) is not None:
            unseal(path)
        check_plain(path)


ACTIONS = pytest.mark.parametrize("action", [seal, unseal, passwd], ids=["seal", "unseal", "passwd"])


@ACTIONS
def test_killed_before_any_change_it_is_usable_and_comes_to_its_end(bench: Bench, action: Action) -> None:
    """Every other change of the long ones: the other half is in the test of hundreds."""
    step = 1 if action is passwd else 2
    num_changes = killed_at_changes(bench, action, random.Random().randrange(step), step)
    assert num_changes > (2 if action is passwd else 30)


def killed_at_changes(bench: Bench, action: Action, change: int, step: int) -> int:
    """From `change` on in steps until it gets through; how many changes there are, about."""
    while True:
        path = bench.prepare(sealed=action is not seal)
        killed = run_killed_before_change(partial(action, path), change)
        check_usable(path)
        finish(action, path)
        if not killed:
            return change
        change += step


@pytest.mark.parametrize("action", [seal, unseal], ids=["seal", "unseal"])
def test_killed_before_any_change_the_other_command_takes_it_back(bench: Bench, action: Action) -> None:
    for change in range(0, 200, 7):
        path = bench.prepare(sealed=action is unseal)
        killed = run_killed_before_change(partial(action, path), change)
        finish(unseal if action is seal else seal, path)
        if not killed:
            return
    raise AssertionError("it never ended")


def killed_at_random_lines(bench: Bench, action: Action, num_kills: int) -> None:
    path = bench.prepare(sealed=action is not seal)
    num_lines = count_lines(partial(action, path))
    draw = random.Random(f"kill {num_kills}")
    for _ in range(num_kills):
        path = bench.prepare(sealed=action is not seal)
        run_killed_at_line(partial(action, path), draw.randrange(num_lines))
        check_usable(path)
        finish(action, path)


@ACTIONS
def test_killed_at_random_lines_it_is_usable_and_comes_to_its_end(bench: Bench, action: Action) -> None:
    killed_at_random_lines(bench, action, 8)


@pytest.mark.slow
@ACTIONS
def test_killed_at_hundreds_of_random_lines(bench: Bench, action: Action) -> None:
    killed_at_changes(bench, action, 0, 1)
    killed_at_random_lines(bench, action, 400)


@pytest.mark.slow
def test_killed_again_and_again_it_comes_to_its_end(bench: Bench) -> None:
    draw = random.Random("again")
    for _ in range(40):
        path = bench.prepare(sealed=False)
        for _ in range(12):
            action = draw.choice([seal, unseal]) if read_record(path) is not None else seal
            run_killed_at_line(partial(action, path), draw.randrange(3000))
            check_usable(path)
        finish(seal, path)


@contextmanager
def full_disk(allowed_bytes: int) -> Iterator[None]:
    """Writing more than that in all fails, in the middle of a write too."""
    left = allowed_bytes
    real_write = os.write

    def write(descriptor: int, data: memoryview | bytes) -> int:
        nonlocal left
        if left <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = memoryview(data)[:left]
        left -= len(taken)
        return real_write(descriptor, taken)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", write)
        yield


@ACTIONS
def test_a_disk_that_becomes_full_at_any_point_loses_nothing(bench: Bench, action: Action) -> None:
    total_bytes = sum(file.num_bytes + 20_000 for file in files_in(bench.prepare(sealed=False)))
    draw = random.Random("full")
    for _ in range(12):
        path = bench.prepare(sealed=action is not seal)
        with full_disk(draw.randrange(3000 if action is passwd else total_bytes)), suppress(StorageError):
            action(path)
        check_usable(path)
        assert not [name for name in names_below(path) if name.endswith((".work", "-new.json"))]
        finish(action, path)


def test_a_disk_without_room_for_one_chunk_is_refused_before_anything_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_sample(tmp_path / "m")
    usage = shutil.disk_usage(path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(StorageError, match="free space are needed"):
        seal(path)
    check_plain(path)


@pytest.mark.parametrize("cipher", [GCM, CHACHA])
def test_it_goes_there_and_back(tmp_path: Path, cipher: str) -> None:
    path = write_sample(tmp_path / "m")
    before = {name: (path / name).read_bytes() for name in names_below(path) if (path / name).is_file()}
    seen: list[tuple[int, int]] = []
    report = seal_package(path, key, GCM if cipher == GCM else CHACHA, lambda done, total: seen.append((done, total)))
    assert (report.state, report.cipher, report.num_files) == ("sealed", cipher, len(files_in(path)))
    assert seen[-1][0] == seen[-1][1] == 2 * report.num_bytes
    assert seen == sorted(seen)
    check_sealed(path, key())
    unseal_package(path, key())
    check_plain(path)
    assert {name: (path / name).read_bytes() for name in before if name != "verified.json"} == {
        name: data for name, data in before.items() if name != "verified.json"
    }


def test_a_passphrase_opens_it_until_it_is_changed(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "m")
    first, second = passphrase_secret("one"), passphrase_secret("two")
    seal_package(path, lambda: first, GCM, memory_kib=FAST_KIB)
    sealed = {file.name: file.sealed_path(path).read_bytes() for file in files_in(path)}
    change_secret(path, first, lambda: second, memory_kib=FAST_KIB)
    with pytest.raises(SealError, match="passphrase does not open"):
        read_all(path, first)
    check_sealed(path, second)
    assert sealed == {file.name: file.sealed_path(path).read_bytes() for file in files_in(path)}


def test_sealing_anew_takes_another_key_and_leaves_no_trace_of_the_old_one(tmp_path: Path) -> None:
    path = write_sealed_sample(tmp_path / "m")
    old = (path / "sealed.json").read_bytes()
    unseal_package(path, key())
    seal_package(path, key, GCM)
    (path / "sealed.json").write_bytes(old)
    with pytest.raises((SealError, IntegrityError)):
        read_all(path)


def test_sealing_what_is_sealed_does_nothing(tmp_path: Path) -> None:
    path = write_sealed_sample(tmp_path / "m")
    before = (path / "sealed.json").read_bytes()
    assert seal_package(path, key, GCM).num_files == 0
    assert (path / "sealed.json").read_bytes() == before


@pytest.mark.parametrize("action", [seal, unseal, passwd])
def test_the_wrong_key_changes_nothing(tmp_path: Path, action: Action) -> None:
    path = write_sealed_sample(tmp_path / "m", key("x"))
    before = {name: (path / name).stat().st_mtime_ns for name in names_below(path)}
    with pytest.raises(SealError, match="does not open"):
        action(path)
    after = {name: (path / name).stat().st_mtime_ns for name in names_below(path)}
    assert before == {name: time for name, time in after.items() if name in before}
    assert before.keys() == after.keys()


def refused() -> Secret:
    raise SealError("no key; give one")


@pytest.mark.parametrize("reason", ["no secret", "a link", "a stray", "a missing chunk", "a cut file"])
def test_a_seal_that_is_refused_lets_go_of_nothing(tmp_path: Path, reason: str) -> None:
    path = write_sample(tmp_path / "m")
    for folder in (path / "quarantine", path / "deltas", tmp_path / ".m.pocketseek-update"):
        folder.mkdir()
        (folder / "manifest.json").write_text("kept")
    if reason == "no secret":  # then the version before would go, too
        (path / "previous.json").write_bytes((path / "manifest.json").read_bytes().rstrip() + b" \n")
    elif reason == "a link":
        os.link(next((path / "chunks").iterdir()), tmp_path / "other name")
    elif reason == "a missing chunk":
        files_in(path)[-1].plain_path(path).unlink()
    elif reason == "a cut file":
        os.truncate(files_in(path)[-1].plain_path(path), 1)
    else:
        (path / "chunks" / ("0" * 64)).write_text("of another version")
    before = names_below(tmp_path)
    refusals = r"no key|link|not part of the model|missing|has 1 bytes instead"
    with pytest.raises((SealError, UsageError, IntegrityError), match=refusals):
        seal_package(path, refused, GCM)
    assert names_below(tmp_path) == before


@pytest.mark.parametrize("action", [unseal, passwd])
def test_what_is_plain_is_told_so(tmp_path: Path, action: Action) -> None:
    path = write_sample(tmp_path / "m")
    with pytest.raises(UsageError, match="not sealed"):
        action(path)
    check_plain(path)


@pytest.mark.parametrize("action", [seal, unseal, passwd])
def test_who_changes_it_already_is_not_disturbed(tmp_path: Path, action: Action) -> None:
    path = write_sealed_sample(tmp_path / "m", OLD)
    with destination_lock(path), pytest.raises(BusyError):
        action(path)


def test_a_damaged_chunk_is_not_sealed_and_not_removed(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "m")
    damaged = files_in(path)[3]
    flip_bit(damaged.plain_path(path), 10)
    with pytest.raises(IntegrityError, match=damaged.sha256):
        seal(path)
    assert damaged.plain_path(path).exists()
    flip_bit(damaged.plain_path(path), 10)
    seal(path)
    check_sealed(path, OLD)


def test_a_damaged_sealed_chunk_is_not_unsealed_and_not_removed(tmp_path: Path) -> None:
    path = write_sealed_sample(tmp_path / "m", OLD)
    damaged = files_in(path)[3]
    flip_bit(damaged.sealed_path(path), 20_000)
    with pytest.raises(IntegrityError, match=damaged.sha256):
        unseal(path)
    assert damaged.sealed_path(path).exists()
    assert not damaged.plain_path(path).exists()
    flip_bit(damaged.sealed_path(path), 20_000)
    unseal(path)
    check_plain(path)


def test_who_has_it_open_reads_on(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "m")
    with Package.open(path) as package:
        before = stored_bytes(package, "head.weight")
        seal(path)
        assert stored_bytes(package, "head.weight") == before


def test_who_looks_while_it_is_sealed_never_finds_it_broken(memory_dir: Path) -> None:
    path = write_sample(memory_dir / "models" / "m")
    store, done, broken = ModelStore(path.parent), threading.Event(), []

    def look() -> None:
        while not done.is_set():
            broken.extend(store.list_broken())

    looker = threading.Thread(target=look)
    looker.start()
    for _ in range(3):
        seal(path)
        unseal(path)
    done.set()
    looker.join()
    assert broken == []


def test_a_sealed_package_is_not_replaced(tmp_path: Path) -> None:
    path = write_sealed_sample(tmp_path / "m")
    with pytest.raises(UsageError, match="is sealed and is not replaced"):
        write_sample(path, seed=2)
    check_sealed(path, key())


def test_a_sealed_package_is_removed_like_others(tmp_path: Path) -> None:
    path = write_sealed_sample(tmp_path / "m")
    num_bytes = sum(file.num_bytes for file in files_in(path))
    assert ModelStore(tmp_path).remove("m") > num_bytes
    assert os.listdir(tmp_path) == []


def test_a_link_to_a_package_is_sealed_through(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "real")
    (tmp_path / "link").symlink_to(path)
    seal(tmp_path / "link")
    assert plaintext_in(path) == []
    assert read_all(tmp_path / "link", OLD) == 1


def test_nothing_is_written_through_a_link_in_the_package(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "m")
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    for file in files_in(path):
        for twin in (file.sealed_path(path), Path(f"{file.sealed_path(path)}.work")):
            twin.symlink_to(victim)
    (path / ".sealed-new.json").symlink_to(victim)
    seal(path)
    assert victim.read_bytes() == b"mine"
    assert all(not file.sealed_path(path).is_symlink() for file in files_in(path))
    assert read_all(path, OLD) == 1


@pytest.mark.parametrize("make", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_a_chunk_that_lies_elsewhere_too_is_refused(tmp_path: Path, make: Callable[[Path, Path], None]) -> None:
    """Its plaintext would stay under the other name."""
    path = write_sample(tmp_path / "m")
    chunk = files_in(path)[0].plain_path(path)
    os.rename(chunk, tmp_path / "elsewhere")
    make(tmp_path / "elsewhere", chunk)
    with pytest.raises(UsageError, match="another name"):
        seal(path)
    assert seed_on_disk(path) == 1
    assert read_record(path) is None


def test_a_chunk_that_a_model_beside_shares_stays_in_the_clear_there_alone(tmp_path: Path) -> None:
    """`pull` links what is here already."""
    path, other = write_sample(tmp_path / "m"), tmp_path / "other"
    shared = files_in(path)[0].plain_path(path)
    (other / "chunks").mkdir(parents=True)
    os.link(shared, other / "chunks" / shared.name)
    before = shared.read_bytes()
    seal(path)
    assert not shared.exists()
    assert seal_state(path, read_manifest(path)) == "sealed"
    assert (other / "chunks" / shared.name).read_bytes() == before
    assert plain_beside(path, read_manifest(path)) == {"other": len(before)}


def test_chunks_of_another_version_are_refused(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "m")
    stray = path / "chunks" / ("ab" * 32)
    stray.write_bytes(b"weights of yesterday")
    with pytest.raises(UsageError, match="not part of the model"):
        seal(path)
    assert read_record(path) is None
    stray.unlink()
    seal(path)
    check_sealed(path, OLD)


def test_what_a_killed_replacement_left_is_swept_before_sealing(bench: Bench) -> None:
    """Between the commit and the end of a replacement the old chunks are still there."""
    for change in range(100):
        path = bench.prepare(sealed=False)
        run_killed_before_change(partial(write_sample, path, seed=2), change)
        if read_manifest(path).recipe["seed"] == 2 and len(list((path / "chunks").iterdir())) > len(
            read_manifest(path).unique_chunks()
        ):
            break
    else:
        raise AssertionError("no kill left old chunks")
    seal(path)
    assert all(name.suffix == ".sealed" for folder in ("chunks", "files") for name in (path / folder).iterdir())
    assert read_all(path, OLD) == 2


def test_a_plaintext_that_was_being_made_shows_in_the_state(tmp_path: Path) -> None:
    path = write_sealed_sample(tmp_path / "m", OLD)
    (path / "chunks" / f"{'ab' * 32}.work").write_bytes(b"plaintext")
    assert seal_state(path, read_manifest(path)) == "mixed"
    seal(path)
    check_sealed(path, OLD)


@pytest.mark.parametrize("where", ["header", "ciphertext", "end"])
def test_damage_is_found_without_the_key(tmp_path: Path, where: str) -> None:
    path = write_sealed_sample(tmp_path / "m")
    file = files_in(path)[-1]
    flip_bit(file.sealed_path(path), {"header": 300, "ciphertext": 16_384, "end": 16_384 + file.num_bytes - 1}[where])
    verify_package(path, full=False)
    with pytest.raises(IntegrityError, match=file.sha256):
        verify_package(path, full=True)


def test_a_missing_or_cut_file_is_found_quickly(tmp_path: Path) -> None:
    path = write_sealed_sample(tmp_path / "m")
    sealed = files_in(path)[0].sealed_path(path)
    os.truncate(sealed, 17_000)
    with pytest.raises(IntegrityError, match="17000 bytes"):
        verify_package(path, full=False)
    sealed.unlink()
    with pytest.raises(IntegrityError, match="missing"):
        verify_package(path, full=False)


def test_without_a_key_it_does_not_open(tmp_path: Path) -> None:
    path = write_sealed_sample(tmp_path / "m")
    with pytest.raises(SealError, match="is sealed with"):
        Package.open(path)
    with Package.open(path, secret=key()) as package:
        assert package.file("LICENSE") == FILES["LICENSE"]


def test_files_do_not_serve_in_another_sealing_with_the_same_key(tmp_path: Path) -> None:
    """Two copies of one model, sealed with one key file: even the same chunk of the other is refused."""
    first, second = write_sealed_sample(tmp_path / "a"), write_sealed_sample(tmp_path / "b")
    file = files_in(first)[2]
    shutil.copy(file.sealed_path(second), file.sealed_path(first))
    with pytest.raises(IntegrityError):
        read_all(first)
    shutil.copy(second / "sealed.json", first / "sealed.json")
    with pytest.raises(IntegrityError):
        read_all(first)


def test_chunks_cannot_change_places(tmp_path: Path) -> None:
    path = write_sealed_sample(tmp_path / "m")
    by_size: dict[int, list[Path]] = {}
    for file in files_in(path):
        by_size.setdefault(file.num_bytes, []).append(file.sealed_path(path))
    pair = next((paths for paths in by_size.values() if len(paths) > 1), None)
    assert pair is not None, "the sample has no two chunks of one size"
    os.rename(pair[0], tmp_path / "held")
    os.rename(pair[1], pair[0])
    os.rename(tmp_path / "held", pair[1])
    verify_package(path, full=False)
    with pytest.raises(IntegrityError):
        read_all(path)
