"""What is fetched is judged before it is fetched: pull, update and rollback with signatures, as they are typed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed (extra `secure`)")

from cli.conftest import Run

from pocketseek.errors import TrustError, UsageError
from pocketseek.package.manifest import read_manifest, render_manifest

GENERATE = ("--max-tokens", "2", "--seed", "1", "--no-prefix-cache")


@pytest.fixture
def release(run: Run, installed: Path, tmp_path: Path) -> Callable[[int], Path]:
    """A folder with "tiny" as its publisher signs it under that version; the publisher's key is not trusted here."""
    run("keygen", "--name", "alice", "--no-trust")
    shutil.copytree(installed, tmp_path / "source")

    def publish(version: int) -> Path:
        folder = tmp_path / f"published-{version}"
        shutil.copytree(tmp_path / "source", folder)
        assert run("sign", folder, "--version", version).code == 0
        return folder

    return publish


@pytest.fixture
def fingerprint(run: Run, release: Callable[[int], Path]) -> str:
    return str(run("inspect", release(1), "--json").json["trust"]["fingerprint"])  # type: ignore[index, call-overload]


def version_of(home: Path, name: str) -> int:
    return read_manifest(home / "models" / name).version


def test_a_model_of_an_unknown_signer_is_not_fetched(run: Run, home: Path, tmp_path: Path, fingerprint: str) -> None:
    ended = run("pull", tmp_path / "published-1", "--name", "mine")
    assert ended.code == TrustError.exit_code == 17
    assert "not trusted" in ended.error
    assert f"add --trust {fingerprint} to" in ended.error  # what is not here cannot be accepted here
    assert not (home / "models" / "mine").exists()


def test_the_users_word_is_remembered(run: Run, home: Path, tmp_path: Path, fingerprint: str) -> None:
    assert run("pull", tmp_path / "published-1", "--name", "mine", "--trust", fingerprint).code == 0
    assert version_of(home, "mine") == 1
    assert run("generate", "mine", "Hello", *GENERATE).code == 0
    assert "model-installed" in run("audit").out


def test_another_fingerprint_is_no_word_for_this_one(run: Run, tmp_path: Path, fingerprint: str) -> None:
    other = "0" * len(fingerprint) if fingerprint.isalnum() else fingerprint[::-1]
    assert run("pull", tmp_path / "published-1", "--name", "mine", "--trust", other).code != 0


def test_a_changed_manifest_is_not_fetched_whoever_asks(run: Run, home: Path, tmp_path: Path, fingerprint: str) -> None:
    manifest = tmp_path / "published-1" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"version":1', b'"version":9'))
    assert run("pull", tmp_path / "published-1", "--name", "mine", "--trust", fingerprint).code == TrustError.exit_code
    assert not (home / "models" / "mine").exists()


def test_an_update_goes_forward_and_back_only_on_the_users_word(
    run: Run, home: Path, tmp_path: Path, release: Callable[[int], Path], fingerprint: str
) -> None:
    run("pull", tmp_path / "published-1", "--name", "mine", "--trust", fingerprint)
    newer = release(2)
    assert run("update", "mine", "--from", newer, "--yes").code == 0
    assert version_of(home, "mine") == 2
    assert run("update", "mine", "--from", tmp_path / "published-1", "--yes").code == TrustError.exit_code
    assert version_of(home, "mine") == 2
    assert run("rollback", "mine").code == 0
    assert version_of(home, "mine") == 1
    assert run("generate", "mine", "Hello", *GENERATE).code == 0
    events = run("audit").out
    assert "model-updated" in events
    assert "model-rolled-back" in events


def test_an_older_version_comes_if_it_is_wanted(
    run: Run, home: Path, tmp_path: Path, release: Callable[[int], Path], fingerprint: str
) -> None:
    run("pull", release(2), "--name", "mine", "--trust", fingerprint)
    old = tmp_path / "published-1"
    assert run("update", "mine", "--from", old, "--yes").code == TrustError.exit_code
    assert run("update", "mine", "--from", old, "--yes", "--allow-older").code == 0
    assert version_of(home, "mine") == 1
    assert run("generate", "mine", "Hello", *GENERATE).code == 0


def test_another_model_of_the_same_signer_is_no_update(
    run: Run, home: Path, tmp_path: Path, release: Callable[[int], Path], fingerprint: str
) -> None:
    run("pull", tmp_path / "published-1", "--name", "mine", "--trust", fingerprint)
    other = release(2)
    manifest = read_manifest(other)
    (other / "manifest.json").write_bytes(render_manifest(replace(manifest, name="other", version=1)))
    assert run("sign", other, "--version", "2").code == 0
    for more in ((), ("--check",), ("--allow-older",)):
        ended = run("update", "mine", "--from", other, "--yes", *more)
        assert ended.code == TrustError.exit_code
        assert "another model" in ended.error
    assert read_manifest(home / "models" / "mine").name == manifest.name
    ended = run("pull", other, "--name", "mine")
    assert ended.code == UsageError.exit_code  # nobody consents
    assert f"here is {manifest.name}, version 1 (signed by alice ({fingerprint})" in ended.error
    assert f"{other} is other, version 2 (signed by alice (" in ended.error
    assert run("pull", other, "--name", "mine", "--yes", "--trust", fingerprint).code == 0
    assert read_manifest(home / "models" / "mine").name == "other"


def test_a_signature_that_is_gone_is_no_update(run: Run, home: Path, tmp_path: Path, fingerprint: str) -> None:
    run("pull", tmp_path / "published-1", "--name", "mine", "--trust", fingerprint)
    unsigned = tmp_path / "unsigned"
    shutil.copytree(tmp_path / "source", unsigned)
    ended = run("update", "mine", "--from", unsigned, "--yes", "--allow-older")
    assert ended.code == TrustError.exit_code
    assert version_of(home, "mine") == 1


def test_a_person_is_asked_about_a_new_key_before_anything_is_fetched(
    run: Run, home: Path, release: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("pocketseek.cli.guard.trust_choice.is_interactive", lambda: True)

    def confirm(question: str, **_: object) -> bool:
        asked.append(question)
        return not (home / "models" / "mine").exists()

    monkeypatch.setattr("typer.confirm", confirm)
    assert run("pull", release(1), "--name", "mine").code == 0
    assert len(asked) == 1
    assert "alice" in asked[0]
    assert run("generate", "mine", "Hello", *GENERATE).code == 0
    assert len(asked) == 1


def test_a_signature_that_was_renewed_is_taken_without_fetching_anything(
    run: Run, tmp_path: Path, fingerprint: str
) -> None:
    published = tmp_path / "published-1"
    run("pull", published, "--name", "mine", "--trust", fingerprint)
    assert run("sign", published, "--expires", "9d").code == 0
    checked = run("update", "mine", "--from", published, "--check", "--json").json
    assert (checked["up_to_date"], checked["new_signature"], checked["fetch_bytes"]) == (True, True, 0)  # type: ignore[index]
    assert "signed anew" in run("update", "mine", "--from", published, "--check").out
    assert run("update", "mine", "--from", published, "--yes", "--json").json["signed_anew"] is True  # type: ignore[index]
    assert run("inspect", "mine", "--json").json["trust"]["expires"] is not None  # type: ignore[index]
    again = run("update", "mine", "--from", published, "--yes", "--json").json
    assert (again["new_signature"], again["signed_anew"]) == (False, False)  # type: ignore[index]
    assert run("generate", "mine", "Hello", *GENERATE).code == 0


def test_a_signature_of_somebody_who_is_not_trusted_is_not_taken(
    run: Run, home: Path, tmp_path: Path, fingerprint: str
) -> None:
    published = tmp_path / "published-1"
    run("pull", published, "--name", "mine", "--trust", fingerprint)
    before = (home / "models" / "mine" / "manifest.sig").read_bytes()
    (published / "manifest.sig").unlink()
    assert run("update", "mine", "--from", published, "--yes", "--json").json["up_to_date"] is True  # type: ignore[index]
    run("keygen", "--name", "mallory", "--no-trust")
    assert run("sign", published, "--key", home / "keys" / "mallory.key").code == 0
    assert run("update", "mine", "--from", published, "--yes").code == TrustError.exit_code
    assert (home / "models" / "mine" / "manifest.sig").read_bytes() == before


def test_who_is_asked_to_replace_a_model_is_told_the_versions(
    run: Run, tmp_path: Path, release: Callable[[int], Path], fingerprint: str
) -> None:
    assert run("pull", tmp_path / "published-1", "--name", "mine", "--trust", fingerprint).code == 0
    asked = run("pull", release(2), "--name", "mine").error
    assert "here is tiny, version 1 (signed by alice" in asked
    assert "is tiny, version 2 (signed by alice" in asked


def test_what_is_not_here_yet_cannot_be_signed_here(run: Run, tmp_path: Path, release: Callable[[int], Path]) -> None:
    folder = release(1)
    (folder / "manifest.sig").unlink()
    run("trust", "require-signed", "on")
    refused = run("pull", folder, "--name", "mine").error
    assert "get it with its manifest.sig from who publishes it, or `pocketseek trust require-signed off`" in refused
