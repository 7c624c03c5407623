"""keygen, sign, trust and audit, as they are typed; and that every command asks before it opens a model."""

import json
import re
import stat
import sys
import time
from pathlib import Path

import pytest
from cli.conftest import Run

from pocketseek.cli.guard.expiry import parse_expiry
from pocketseek.errors import UsageError
from pocketseek.package.trust.signature import parse_signatures

GENERATE = ("--max-tokens", "2", "--seed", "1", "--no-prefix-cache")


@pytest.fixture
def signed(run: Run, installed: Path) -> str:
    """The fingerprint of the key that signed "tiny", which this device does not trust."""
    made = run("keygen", "--name", "alice", "--no-trust", "--json").json
    assert run("sign", "tiny").code == 0
    return str(made["fingerprint"])


def untrusted(run: Run) -> str:
    return run("generate", "tiny", "Hello", *GENERATE).error


def test_keygen_makes_a_private_file_and_prints_a_line_to_copy(run: Run, home: Path) -> None:
    ended = run("keygen", "--name", "alice")
    assert ended.code == 0
    assert re.fullmatch(r"pocketseek-ed25519 [0-9a-f]{64} alice\n", ended.out)
    path = home / "keys" / "alice.key"
    assert str(path) in ended.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert run("trust", "list", "--json").json["keys"][0]["name"] == "alice"  # type: ignore[index]


def test_keygen_never_overwrites(run: Run, home: Path) -> None:
    run("keygen")
    before = (home / "keys" / "owner.key").read_bytes()
    assert "not overwritten" in run("keygen").error
    assert (home / "keys" / "owner.key").read_bytes() == before
    assert len(run("trust", "list", "--json").json["keys"]) == 1  # type: ignore[arg-type]


def test_a_passphrase_from_the_environment_protects_the_key(
    run: Run, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETSEEK_PASSPHRASE", "correct horse")
    assert run("keygen", "--json").json["encrypted"] is True
    assert run("sign", "tiny").code == 0
    monkeypatch.setenv("POCKETSEEK_PASSPHRASE", "wrong")
    assert "not its passphrase" in run("sign", "tiny").error
    monkeypatch.delenv("POCKETSEEK_PASSPHRASE")
    assert "needs its passphrase" in run("sign", "tiny").error


def test_what_one_signs_oneself_runs_and_is_shown(run: Run, installed: Path) -> None:
    run("keygen", "--name", "me")
    assert run("sign", "tiny", "--version", "3", "--expires", "90d", "--json").json["trusted"] is True
    assert run("trust", "require-signed", "on").code == 0
    assert run("generate", "tiny", "Hello", *GENERATE).code == 0
    facts = run("inspect", "tiny", "--json").json
    assert facts["version"] == 3
    assert facts["path"] == str(installed)
    trust = facts["trust"]
    assert isinstance(trust, dict)
    assert (trust["status"], trust["signed_by"], trust["highest_version"]) == ("trusted", "me", 3)
    assert isinstance(facts["verified"], int)
    assert "signed by me" in run("inspect", "tiny").out
    assert "\tme\t" in run("models").out


def test_a_number_tells_that_published_differences_lead_elsewhere_now(run: Run, installed: Path) -> None:
    run("keygen", "--name", "alice")
    (installed / "deltas").mkdir()
    (installed / "deltas" / f"{'0' * 64}.json").write_text("{}")
    assert "--publish" not in run("sign", "tiny").err
    assert "pocketseek diff OLD tiny --publish" in run("sign", "tiny", "--version", "2").err


def test_unsigned_models_are_refused_where_signatures_are_required(run: Run, installed: Path) -> None:
    run("trust", "require-signed", "on")
    ended = run("generate", "tiny", "Hello", *GENERATE)
    assert ended.code == 17
    assert "only signed models" in ended.error
    run("trust", "require-signed", "off")
    assert run("generate", "tiny", "Hello", *GENERATE).code == 0


def opening(command: str, folder: Path) -> tuple[object, ...]:
    """Arguments of a command that opens "tiny", and is soon done."""
    text = folder / "text.txt"
    text.write_text("Some words to be read. " * 20)
    return {
        "generate": ("generate", "tiny", "Hello", *GENERATE),
        "eval": ("eval", "tiny", "--text", text, "--window", 64),
        "bench": ("bench", "tiny", "--prompt-tokens", 8, "--new-tokens", 2, "--repeats", 1),
        "export": ("export", "tiny", folder / "onnx"),
        "ask": ("doc", "ask", text, "What are these?", "--model", "tiny", "--max-tokens", 2),
        "summarize": ("doc", "summarize", text, "--model", "tiny"),
    }[command]


COMMANDS = ("generate", "eval", "bench", "ask", "summarize", "export")


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_opens_a_model_that_is_not_trusted(run: Run, signed: str, tmp_path: Path, command: str) -> None:
    for options in ((), ("--trust", "a" * 32)):
        ended = run(*opening(command, tmp_path), *options)
        assert ended.code == 17, ended
        assert signed in ended.err
    assert run("trust", "list", "--json").json["keys"] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_opens_a_model_takes_a_fingerprint(
    run: Run, signed: str, tmp_path: Path, command: str
) -> None:
    """What the command makes of so small a model is not the point: it is trusted from then on."""
    assert run(*opening(command, tmp_path), "--trust", signed).code != 17
    assert run("generate", "tiny", "Hello", *GENERATE).code == 0


def test_an_unknown_key_is_trusted_by_its_fingerprint_only(run: Run, signed: str) -> None:
    assert signed in untrusted(run)
    assert "is not signed by" in run("generate", "tiny", "Hello", *GENERATE, "--trust", "a" * 32).error
    assert "no fingerprint" in run("generate", "tiny", "Hello", *GENERATE, "--trust", "abc").error
    assert untrusted(run)
    assert run("generate", "tiny", "Hello", *GENERATE, "--trust", signed.replace("-", "")).code == 0
    assert run("generate", "tiny", "Hello", *GENERATE).code == 0
    assert run("trust", "list", "--json").json["keys"][0]["models"] == ["tiny"]  # type: ignore[index]


def test_yes_is_no_word_for_trusting_a_key(run: Run, signed: str) -> None:
    assert run("generate", "tiny", "Hello", *GENERATE, "--yes").code == 17
    ended = run("trust", "accept", "tiny", "--yes")
    assert ended.code == 2
    assert f"--trust {signed}" in ended.error


def test_at_a_terminal_the_fingerprint_is_shown_and_asked_about(
    run: Run, signed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def confirm(question: str, **_: object) -> bool:
        asked.append(question)
        return len(asked) > 1

    monkeypatch.setattr("pocketseek.cli.guard.trust_choice.is_interactive", lambda: True)
    monkeypatch.setattr("typer.confirm", confirm)
    assert run("generate", "tiny", "Hello", *GENERATE).code == 17
    assert run("generate", "tiny", "Hello", *GENERATE).code == 0
    assert run("generate", "tiny", "Hello", *GENERATE).code == 0
    assert len(asked) == 2
    assert signed in asked[0]


def test_trust_on_a_model_that_is_not_signed_is_refused(run: Run, installed: Path) -> None:
    assert "is not signed" in run("generate", "tiny", "Hello", *GENERATE, "--trust", "a" * 32).error


def test_keys_are_added_listed_removed(run: Run, installed: Path, tmp_path: Path) -> None:
    line = run("keygen", "--name", "carol", "--no-trust").out.strip()
    (tmp_path / "carol.pub").write_text(line + "\n")
    assert run("trust", "add", line, "--model", "tiny", "--name", "friend", "--json").json["models"] == ["tiny"]
    assert run("trust", "add", tmp_path / "carol.pub", "--expires", "2099-01-01").code == 0
    facts = run("trust", "list", "--json").json["keys"]
    assert [(key["name"], key["models"]) for key in facts] == [("carol", [])]  # type: ignore[union-attr]
    assert "carol\ttrusted" in run("trust", "list").out
    assert run("trust", "remove", "carol").code == 0
    assert run("trust", "remove", "carol").code == 3
    assert "No key is trusted here." in run("trust", "list").out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("add", "nonsense"), 4),
        (("add", "pocketseek-ed25519 " + "0" * 64 + " x"), 4),
        (("add", "pocketseek-ed25519 " + "12" * 32 + " x", "--expires", "yesterday"), 2),
        (("add", "pocketseek-ed25519 " + "12" * 32 + " x", "--model", "../x"), 2),
        (("remove", "nobody"), 3),
        (("revoke", "nobody", "--yes"), 3),
        (("require-signed", "maybe"), 2),
        (("accept", "nothing"), 3),
    ],
)
def test_bad_words_change_nothing(run: Run, home: Path, arguments: tuple[str, ...], code: int) -> None:
    assert run("trust", *arguments).code == code
    assert not (home / "trust.json").exists()


def test_revoking_needs_a_confirmation_and_stops_what_is_installed(run: Run, installed: Path) -> None:
    run("keygen", "--name", "me")
    run("sign", "tiny")
    assert run("generate", "tiny", "Hello", *GENERATE).code == 0
    assert "add --yes" in run("trust", "revoke", "me").error
    assert run("trust", "revoke", "me", "--yes").code == 0
    assert "revoked key" in untrusted(run)
    assert "\trefused\t" in run("models").out
    assert run("doctor").code == 1
    assert "was revoked here" in run("sign", "tiny").error


def test_a_key_that_is_only_known_by_its_fingerprint_can_be_revoked(run: Run, signed: str) -> None:
    assert run("trust", "revoke", signed, "--yes").code == 0
    assert run("generate", "tiny", "Hello", *GENERATE, "--trust", signed).code == 17


def test_accept_takes_a_model_that_is_no_longer_signed(run: Run, installed: Path) -> None:
    run("keygen", "--name", "me")
    run("sign", "tiny")
    run("generate", "tiny", "Hello", *GENERATE)
    (installed / "manifest.sig").unlink()
    assert "not signed any more" in untrusted(run)
    assert "add --yes" in run("trust", "accept", "tiny").error
    assert run("trust", "accept", "tiny", "--yes").code == 0
    assert run("generate", "tiny", "Hello", *GENERATE).code == 0
    assert "may be used as it is" in run("trust", "accept", "tiny").out


def test_accept_takes_an_older_release_only_when_told(run: Run, installed: Path) -> None:
    fingerprint = str(run("keygen", "--name", "me", "--json").json["fingerprint"])
    run("sign", "tiny", "--version", "1")
    old = {name: (installed / name).read_bytes() for name in ("manifest.json", "manifest.sig")}
    run("sign", "tiny", "--version", "2")
    assert run("generate", "tiny", "Hello", *GENERATE).code == 0
    for name, data in old.items():
        (installed / name).write_bytes(data)
    assert "older than version 2" in untrusted(run)
    assert run("trust", "accept", "tiny", "--trust", fingerprint).code == 17
    assert "add --yes" in run("trust", "accept", "tiny", "--allow-older").error
    assert run("trust", "accept", "tiny", "--yes").code == 17
    assert run("trust", "accept", "tiny", "--allow-older", "--yes").code == 0
    assert run("generate", "tiny", "Hello", *GENERATE).code == 0


def test_an_older_release_that_is_signed_again_is_signed_and_told_about(run: Run, installed: Path) -> None:
    run("keygen", "--name", "me")
    run("sign", "tiny", "--version", "1")
    old = (installed / "manifest.json").read_bytes()
    run("sign", "tiny", "--version", "2")
    assert run("generate", "tiny", "Hello", *GENERATE).code == 0
    (installed / "manifest.json").write_bytes(old)
    (installed / "manifest.sig").unlink()
    signed = run("sign", "tiny", "--key", "me")
    assert signed.code == 0
    assert "is refused here: tiny is version 1, older than version 2" in signed.err
    assert run("sign", "tiny", "--key", "me", "--json").json["trusted"] is False


def test_a_release_without_a_number_is_told_what_that_means(run: Run, installed: Path) -> None:
    run("keygen")
    assert "without a release number" in run("sign", "tiny").out


def test_a_lower_version_is_not_signed(run: Run, installed: Path) -> None:
    run("keygen")
    run("sign", "tiny", "--version", "5")
    assert "give a higher one" in run("sign", "tiny", "--version", "4").error


def test_sign_says_what_is_missing(run: Run, installed: Path, tmp_path: Path) -> None:
    assert "no key to sign with" in run("sign", "tiny").error
    run("keygen", "--name", "a")
    run("keygen", "--name", "b")
    assert "several keys (a, b); choose one with --key NAME" in run("sign", "tiny").error
    assert "no private key" in run("sign", "tiny", "--key", tmp_path / "none").error
    (tmp_path / "odd").write_text("hello")
    assert run("sign", "tiny", "--key", tmp_path / "odd").code == 4
    assert not (installed / "manifest.sig").exists()


def test_days_are_days_to_come() -> None:
    assert parse_expiry("90d", 1000.0) == 1000 + 90 * 86_400
    assert parse_expiry("2099-12-31", time.time()) == 4_102_444_800
    for bad in ("", "0d", "-1d", "2020-01-01", "31.12.2099", "2099-13-01", "99999999d"):
        with pytest.raises(UsageError):
            parse_expiry(bad, time.time())


def test_an_expired_signature_is_told_with_its_remedy(
    run: Run, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("keygen", "--name", "me")
    run("sign", "tiny", "--expires", "1d")
    assert parse_signatures((installed / "manifest.sig").read_bytes())[0].expires_s is not None
    later = time.time() + 2 * 86_400
    monkeypatch.setattr("time.time", lambda: later)
    assert "expired; update it, or sign it" in run("inspect", "tiny").err or "expired" in run("inspect", "tiny").out


def test_verify_tells_a_manifest_that_was_changed_after_it_was_signed(run: Run, signed: str, installed: Path) -> None:
    assert run("verify", "tiny", "--json").json["ok"] is True, "whoever signed it"
    manifest = installed / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"context_length":', b'"context_length": '))
    for options in ((), ("--quick",), ("--repair",)):
        ended = run("verify", "tiny", *options)
        assert ended.code == 6
        assert "changed after it was signed" in ended.error
        assert json.loads(run("verify", "tiny", *options, "--json").out)["ok"] is False
    (installed / "manifest.sig").unlink()
    assert run("verify", "tiny").code == 0, "nobody vouched for it"


def test_the_audit_log_tells_what_was_done(run: Run, installed: Path) -> None:
    run("keygen", "--name", "me")
    run("sign", "tiny", "--version", "2")
    run("generate", "tiny", "Secret question", *GENERATE)
    run("token", "create", "phone")
    run("token", "revoke", "phone")
    run("trust", "require-signed", "on")
    run("remove", "tiny", "--yes")
    events = run("audit", "--json").json["events"]
    assert isinstance(events, list)
    assert [event["event"] for event in events] == [
        "key-made",
        "model-signed",
        "model-opened",
        "token-created",
        "token-revoked",
        "policy-changed",
        "model-removed",
    ]
    assert events[2]["version"] == 2
    assert "Secret" not in json.dumps(events)
    assert "model-removed" in run("audit", "--last", "1").out
    good = run("audit", "verify", "--json").json
    assert good["ok"] is True
    assert run("audit", "verify", "--head", good["head"]).code == 0
    assert run("audit", "verify", "--head", "0" * 63).code == 2


def test_a_refused_model_is_in_the_log(run: Run, signed: str) -> None:
    untrusted(run)
    events = run("audit", "--json").json["events"]
    assert events[-1]["event"] == "model-refused"  # type: ignore[index]
    assert signed in events[-1]["reason"]  # type: ignore[index]


def test_a_changed_log_ends_with_the_code_for_damage(run: Run, home: Path) -> None:
    assert run("audit").out == "Nothing has been written down yet.\n"
    run("keygen")
    run("token", "create", "phone")
    path = home / "audit.log"
    path.write_bytes(path.read_bytes().replace(b"phone", b"other"))
    ended = run("audit", "verify")
    assert ended.code == 6
    assert "was changed" in ended.out
    report = json.loads(run("audit", "verify", "--json").out)
    assert report["ok"] is False
    assert run("doctor").code == 1


def test_what_is_wrong_with_the_log_is_told_in_chinese_too(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("keygen")
    run("token", "create", "phone")
    path = home / "audit.log"
    path.write_bytes(path.read_bytes().replace(b"phone", b"other") + b"{\n")
    monkeypatch.setenv("POCKETSEEK_LANG", "zh")
    ended = run("audit", "verify", "--head", "0" * 63 + "1")
    assert "第 2 行之后的一行无法读取" in ended.out
    assert "最后一行（第 2 行）被更改" in ended.out
    assert "没有哪一行的哈希是所记下的" in ended.out
    assert "the line" not in ended.out + run("doctor").out
    assert "the line after 2 cannot be read" in json.loads(run("audit", "verify", "--json").out)["problems"]


def test_doctor_counts_keys_and_signed_models(run: Run, installed: Path) -> None:
    run("keygen")
    run("sign", "tiny")
    ended = run("doctor")
    assert "trusted keys: 1; signed models: 1 of 1" in ended.out
    assert "only you can read what is yours" in ended.out


def test_files_that_others_could_read_are_closed_at_the_start(run: Run, home: Path) -> None:
    run("token", "create", "phone")
    (home / "tokens.json").chmod(0o644)
    run("models")
    assert stat.S_IMODE((home / "tokens.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_without_the_library_one_line_says_what_to_install(
    run: Run, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("asymmetric.ed25519", "serialization"):
        monkeypatch.setitem(sys.modules, f"cryptography.hazmat.primitives.{name}", None)
    assert 'pip install "pocketseek[secure]"' in run("keygen").error
    assert run("generate", "tiny", "Hello", *GENERATE).code == 0


def test_messages_come_in_chinese(run: Run, installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETSEEK_LANG", "zh")
    run("keygen", "--name", "me")
    assert "已签名 tiny" in run("sign", "tiny").out
    assert "由 me 签名" in run("inspect", "tiny").out
