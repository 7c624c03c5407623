"""After sealing, nothing of what was said or read can be found on the disk; after unsealing all of it is back."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("sqlcipher3", reason="sqlcipher3 is not installed (extra `secure`)")
pytest.importorskip("cryptography", reason="cryptography is not installed (extra `secure`)")

from package.crashes import run_killed_before_change
from package.sealed_samples import key

from pocketseek.apps import data_sealing, sealed_database
from pocketseek.apps.conversations import ConversationStore
from pocketseek.apps.data_sealing import seal_data, unseal_data
from pocketseek.apps.database import Database
from pocketseek.apps.doc.collections import add_file
from pocketseek.apps.doc.passage_index import Scope
from pocketseek.apps.doc.read import read_document
from pocketseek.apps.serve.kept_files import FileStore, KeptFile
from pocketseek.errors import BusyError, PocketseekError, SealError, StorageError
from pocketseek.package.sealing.data_seal import DATA_SEAL_NAME, read_data_seal
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.settings import Settings

SECRET = "the heron of Nieuwegein"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A data directory in use."""
    settings = Settings(tmp_path / "home", None, 1, "en")
    with closing(ConversationStore(settings.conversations_path)) as conversations:
        conversations.create("demo", title=SECRET, system=SECRET)
    with closing(FileStore(settings.uploads_dir / "local")) as files:
        path = files.new_place("birds.txt")
        path.write_text(f"{SECRET} stands in shallow water.")
        file = files.add(path, "user_data")
        add_file(files.documents, path, read_document)
        files.settle(file.id)
    for name in ("prefix", "swap"):
        (settings.home / "cache" / name).mkdir(parents=True)
        (settings.home / "cache" / name / "page").write_text(SECRET)
    return settings


def everything(settings: Settings) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(settings.home.rglob("*")) if path.is_file())


def titles(settings: Settings, database_key: bytes | None) -> list[str]:
    with closing(ConversationStore(settings.conversations_path, key=database_key)) as conversations:
        return [one.title for one in conversations.list()]


def database_key(settings: Settings) -> bytes:
    seal = read_data_seal(settings.home)
    assert seal is not None
    return seal.open(key(), "it").databases


def test_nothing_is_found_on_the_disk_and_all_of_it_with_the_key(settings: Settings) -> None:
    assert SECRET.encode() in everything(settings)
    report = seal_data(settings, key)
    assert report.num_databases == 4
    assert SECRET.encode() not in everything(settings)
    assert titles(settings, database_key(settings)) == [SECRET]
    with closing(FileStore(settings.uploads_dir / "local", key=database_key(settings))) as files:
        (file,) = files.list()
        document = files.document(file)
        assert document is not None
        assert [SECRET in one.text for one in files.documents.index.all(Scope(document_id=document.id))] == [True]
        assert not files.path(file).exists()


def test_what_lies_elsewhere_under_a_link_is_not_passed_over(settings: Settings, tmp_path: Path) -> None:
    settings.summaries_path.symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(StorageError, match="symbolic link"):
        seal_data(settings, key)
    settings.summaries_path.unlink()
    seal_data(settings, key)
    assert SECRET.encode() not in everything(settings)


def test_without_the_key_nothing_opens(settings: Settings) -> None:
    seal_data(settings, key)
    with pytest.raises(SealError):
        titles(settings, bytes(32))
    with pytest.raises(SealError):
        seal_data(settings, lambda: Secret("key", bytearray(b"q" * 40)))
    with pytest.raises(SealError):
        unseal_data(settings, Secret("key", bytearray(b"q" * 40)))


def test_unsealing_brings_it_back_and_leaves_no_key(settings: Settings) -> None:
    seal_data(settings, key)
    assert unseal_data(settings, key()).num_databases == 4
    assert titles(settings, None) == [SECRET]
    assert not (settings.home / DATA_SEAL_NAME).exists()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("action", ["seal", "unseal"])
def test_killed_before_any_change_it_goes_on_and_nothing_is_lost(
    settings: Settings, tmp_path: Path, action: str
) -> None:
    if action == "unseal":
        seal_data(settings, key)
    (change, step), killed = (random.Random().randrange(6), 6), True
    while killed:
        trial = replace(settings, home=Path(shutil.copytree(settings.home, tmp_path / f"killed{change}")))
        run = partial(seal_data, trial, key) if action == "seal" else partial(unseal_data, trial, key())
        killed = run_killed_before_change(run, change)
        if action == "seal" or (trial.home / DATA_SEAL_NAME).exists():
            run()  # what was begun goes on
        assert (trial.home / DATA_SEAL_NAME).exists() == (action == "seal")
        assert titles(trial, database_key(trial) if action == "seal" else None) == [SECRET]
        assert (SECRET.encode() in everything(trial)) == (action == "unseal")
        change += step
    assert change > 2 * step


def test_an_interrupted_seal_goes_on(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path, key: bytes) -> None:
        if path.name == "documents.db":
            raise KeyboardInterrupt
        sealed_database.seal(path, key)

    monkeypatch.setattr(data_sealing, "seal", interrupted)
    with pytest.raises(KeyboardInterrupt):
        seal_data(settings, key)
    monkeypatch.undo()
    assert titles(settings, database_key(settings)) == [SECRET]
    assert seal_data(settings, key).num_databases == 3
    assert SECRET.encode() not in everything(settings)


def test_an_interrupted_unseal_goes_on(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    seal_data(settings, key)

    def interrupted(path: Path, key: bytes) -> None:
        if path.name == "documents.db":
            raise BusyError("open in another program; end it")  # the others are unsealed
        sealed_database.unseal(path, key)

    monkeypatch.setattr(data_sealing, "unseal", interrupted)
    with pytest.raises(BusyError):
        unseal_data(settings, key())
    monkeypatch.undo()
    assert read_data_seal(settings.home) is not None
    assert unseal_data(settings, key()).num_databases == 1
    assert titles(settings, None) == [SECRET]


def test_whoever_opens_it_while_it_is_unsealed_loses_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal_data(settings, key)
    old_key = database_key(settings)

    def looked_at(path: Path, key: bytes) -> None:
        """Somebody who has the key opens each database as soon as it is plain, and one that is new."""
        sealed_database.unseal(path, key)
        with pytest.raises(BusyError, match="being unsealed"):
            Database(path, application_id=1, migrations=(), key=old_key)
        with pytest.raises(BusyError, match="being unsealed"):
            Database(settings.home / "new.db", application_id=1, migrations=(("CREATE TABLE a(b)",),), key=old_key)

    monkeypatch.setattr(data_sealing, "unseal", looked_at)
    unseal_data(settings, key())
    assert titles(settings, None) == [SECRET]
    assert not any(sealed_database.is_sealed(path) for path in settings.home.rglob("*.db"))


def test_who_still_has_the_key_seals_nothing_once_it_is_unsealed_or_sealed_anew(settings: Settings) -> None:
    seal_data(settings, key)
    old_key = database_key(settings)
    unseal_data(settings, key())
    with pytest.raises(SealError, match="not sealed with this key any more"):
        titles(settings, old_key)
    assert titles(settings, None) == [SECRET]
    seal_data(settings, key)
    new = settings.home / "new.db"
    with pytest.raises(SealError, match="not sealed with this key any more"):
        Database(new, application_id=1, migrations=(("CREATE TABLE a(b)",),), key=old_key)
    Database(new, application_id=1, migrations=(("CREATE TABLE a(b)",),), key=database_key(settings)).close()
    assert sealed_database.is_sealed(new)


def test_what_was_sealed_meanwhile_all_the_same_keeps_its_key(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal_data(settings, key)

    def sealed_again(path: Path, key: bytes) -> None:
        sealed_database.unseal(path, key)
        sealed_database.seal(path, key)

    monkeypatch.setattr(data_sealing, "unseal", sealed_again)
    monkeypatch.setattr(FileStore, "unseal_bytes", lambda self, key: None)
    with pytest.raises(PocketseekError):
        unseal_data(settings, key())
    monkeypatch.undo()
    unseal_data(settings, key())
    assert titles(settings, None) == [SECRET]


def test_an_unseal_that_was_interrupted_can_be_taken_back(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    seal_data(settings, key)
    monkeypatch.setattr(data_sealing, "remove_data_seal", interrupt)
    with pytest.raises(KeyboardInterrupt):
        unseal_data(settings, key())
    with pytest.raises(BusyError, match="unseal --data"):
        titles(settings, database_key(settings))
    assert seal_data(settings, key).num_databases == 4
    assert titles(settings, database_key(settings)) == [SECRET]
    assert SECRET.encode() not in everything(settings)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("is_sealed", [False, True])
def test_what_a_killed_unseal_had_begun_goes_whatever_comes_next(settings: Settings, is_sealed: bool) -> None:
    left = [settings.home / name for name in ("conversations.db.sealing", "conversations.db.sealing-journal")]
    seal_data(settings, key)
    for path in left:
        path.write_text(SECRET)
    (settings.home / ".seal.json-0123").write_text("{}")
    if is_sealed:
        seal_data(settings, key)
        assert SECRET.encode() not in everything(settings)
    else:
        unseal_data(settings, key())
        assert not (settings.home / ".seal.json-0123").exists()
    assert not any(path.exists() for path in left)


def killed_at_every(
    settings: Settings, step: int, begin: Callable[[Settings], object], end: Callable[[Settings], object]
) -> int:
    """`begin` in a copy of the data directory, killed before every step-th change of a directory; then `end`."""
    change, was_killed, num_kills = step // 2, True, 0
    while was_killed:
        copy = replace(settings, home=settings.home.parent / "copy")
        shutil.rmtree(copy.home, ignore_errors=True)
        shutil.copytree(settings.home, copy.home)
        was_killed = run_killed_before_change(partial(begin, copy), change)
        end(copy)
        change, num_kills = change + step, num_kills + was_killed
    return num_kills


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_an_unseal_killed_before_every_change_comes_to_its_end(settings: Settings) -> None:
    seal_data(settings, key)

    def end(copy: Settings) -> None:
        if read_data_seal(copy.home) is not None:
            unseal_data(copy, key())
        assert titles(copy, None) == [SECRET]
        assert read_data_seal(copy.home) is None
        assert not any(sealed_database.is_sealed(path) for path in copy.home.rglob("*.db"))
        assert not list(copy.home.rglob("*.sealing*"))
        assert not list(copy.home.glob(".seal.json-*"))

    assert killed_at_every(settings, 1, lambda copy: unseal_data(copy, key()), end) > 20


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("step", [11, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])])
def test_an_unseal_that_was_killed_and_is_taken_back_leaves_nothing_in_the_clear(settings: Settings, step: int) -> None:
    seal_data(settings, key)

    def take_back(copy: Settings) -> None:
        seal_data(copy, key)
        assert SECRET.encode() not in everything(copy)
        assert titles(copy, database_key(copy)) == [SECRET]
        assert not list(copy.home.rglob("*.sealing*"))

    assert killed_at_every(settings, step, lambda copy: unseal_data(copy, key()), take_back) > 20 // step


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_seal_killed_before_every_change_comes_to_its_end(settings: Settings) -> None:
    def end(copy: Settings) -> None:
        seal_data(copy, key)
        assert SECRET.encode() not in everything(copy)
        assert titles(copy, database_key(copy)) == [SECRET]
        assert not list(copy.home.rglob("*.sealing*"))

    assert killed_at_every(settings, 1, lambda copy: seal_data(copy, key), end) > 20


def test_what_is_written_later_is_sealed_as_well(settings: Settings) -> None:
    seal_data(settings, key)
    later = replace(settings)
    with closing(FileStore(later.uploads_dir / "other", key=database_key(settings))) as files:
        file = upload(files, "notes.txt", SECRET.encode())
        assert SECRET.encode() not in everything(settings)
        with files.bytes.readable(files.path(file)) as path:
            add_file(files.documents, path, read_document)
        files.settle(file.id)
        assert not files.bytes.has(files.path(file))
    assert SECRET.encode() not in everything(settings)


def upload(files: FileStore, name: str, data: bytes) -> KeptFile:
    path = files.new_place(name)
    sink = files.bytes.sink(path)
    sink.write(memoryview(data))
    sink.finish()
    sink.close()
    return files.add(path, "user_data")


def test_what_was_not_read_yet_is_sealed_and_comes_back(settings: Settings) -> None:
    with closing(FileStore(settings.uploads_dir / "local")) as files:
        waiting = upload(files, "later.txt", SECRET.encode() * 99)
    seal_data(settings, key)
    assert SECRET.encode() not in everything(settings)
    with closing(FileStore(settings.uploads_dir / "local", key=database_key(settings))) as files:
        assert files.get(waiting.id).num_bytes == len(SECRET) * 99
        with files.bytes.readable(files.path(waiting)) as path:
            assert path.read_text() == SECRET * 99
    unseal_data(settings, key())
    with closing(FileStore(settings.uploads_dir / "local")) as files:
        assert files.path(files.get(waiting.id)).read_text() == SECRET * 99
