"""After sealing, nothing of what was said or read can be found on the disk; after unsealing all of it is back."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("sqlcipher3", reason="sqlcipher3 is not installed (extra `secure`)")
pytest.importorskip("cryptography", reason="cryptography is not installed (extra `secure`)")

from package.sealed_samples import key

from pocketseek.apps import data_sealing, sealed_database
from pocketseek.apps.conversations import ConversationStore
from pocketseek.apps.data_sealing import seal_data, unseal_data
from pocketseek.apps.doc.collections import add_file
from pocketseek.apps.doc.passage_index import Scope
from pocketseek.apps.doc.read import read_document
from pocketseek.apps.serve.kept_files import FileStore
from pocketseek.errors import BusyError, SealError
from pocketseek.package.data_seal import DATA_SEAL_NAME, read_data_seal
from pocketseek.package.key_slots import Secret
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


def test_what_is_written_later_is_sealed_as_well(settings: Settings) -> None:
    seal_data(settings, key)
    later = replace(settings)
    with closing(FileStore(later.uploads_dir / "other", key=database_key(settings))) as files:
        path = files.new_place("notes.txt")
        path.write_text(SECRET)
        file = files.add(path, "user_data")
        add_file(files.documents, path, read_document)
        files.settle(file.id)
    assert SECRET.encode() not in everything(settings)
