"""`seal --data`: chats and documents go on as before, given the passphrase, and are closed without it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("sqlcipher3", reason="sqlcipher3 is not installed (extra `secure`)")
pytest.importorskip("cryptography", reason="cryptography is not installed (extra `secure`)")

from pocketseek.apps.sealed_database import is_plain
from pocketseek.cli.guard import state_key
from pocketseek.errors import SealError, UsageError
from pocketseek.package.sealing import key_slots

SECRET = "herons of Nieuwegein"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least that a slot may ask for: these passphrases guard nothing."""
    monkeypatch.setattr("pocketseek.package.sealing.key_slots.new_slot.__kwdefaults__", {"memory_kib": 8192})
    assert key_slots.new_slot.__kwdefaults__ == {"memory_kib": 8192}


@pytest.fixture
def note(tmp_path: Path) -> Path:
    path = tmp_path / "note.txt"
    path.write_text(f"The {SECRET} stand in shallow water.")
    return path


def everything(home: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file())


def found(run: Callable) -> int:
    state_key._keys_of.cache_clear()  # as in a process of its own
    return len(run("doc", "search", "herons", "--json").json["passages"])


def test_documents_are_sealed_searched_and_unsealed(
    run: Callable, home: Path, note: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("doc", "add", note)
    assert SECRET.encode() in everything(home)
    monkeypatch.setenv("POCKETSEEK_PASSPHRASE", "one")
    assert "sealed" in run("seal", "--data").out
    assert SECRET.encode() not in everything(home)
    assert found(run) == 1
    monkeypatch.setenv("POCKETSEEK_NEW_PASSPHRASE", "two")
    assert run("passwd", "--data", "--json").json["state"] == "sealed"
    state_key._keys_of.cache_clear()
    assert run("doc", "search", "herons").code == SealError.exit_code
    monkeypatch.setenv("POCKETSEEK_PASSPHRASE", "two")
    assert found(run) == 1
    assert run("unseal", "--data", "--json").json == {"path": str(home), "state": "plain", "num_databases": 1}
    monkeypatch.delenv("POCKETSEEK_PASSPHRASE")
    assert found(run) == 1
    assert is_plain(home / "documents.db")


def test_a_key_file_serves_as_well(
    run: Callable, home: Path, note: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("doc", "add", note)
    key = tmp_path / "data.key"
    run("seal", "--data", "--new-key-file", key)
    state_key._keys_of.cache_clear()
    assert run("doc", "search", "herons").code == SealError.exit_code
    monkeypatch.setenv("POCKETSEEK_PASSPHRASE", "one")
    assert "give it with POCKETSEEK_DATA_KEY=FILE" in run("doc", "search", "herons").error
    monkeypatch.setenv("POCKETSEEK_DATA_KEY", str(key))
    assert found(run) == 1
    assert "--to-key-file or --new-key-file" in run("passwd", "--data").error
    assert run("passwd", "--data", "--new-key-file", tmp_path / "new").code == 0
    assert run("unseal", "--data", "--key-file", tmp_path / "new").code == 0
    events = run("audit", "--json").json["events"]
    assert isinstance(events, list)
    assert [event["event"] for event in events] == ["data-sealed", "data-secret-changed", "data-unsealed"]


def test_a_model_or_the_data_but_not_both_or_none(run: Callable, installed: Path) -> None:
    for command in ("seal", "unseal", "passwd"):
        assert run(command).code == UsageError.exit_code
        assert run(command, "tiny", "--data").code == UsageError.exit_code
    assert "nothing to unseal" in run("unseal", "--data").error
    assert "not sealed" in run("passwd", "--data").error
