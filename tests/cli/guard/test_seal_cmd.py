"""seal, unseal and passwd as they are typed; sealed models answer as before, given the key, and are told apart."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_models import tiny_model, write_hf

from pocketseek.cli.guard import key_options
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.errors import FormatError, IntegrityError, NotFoundError, SealError, UnsupportedError, UsageError
from pocketseek.package.manifest import read_manifest

ASK = ("generate", "tiny", "Hello", "--max-tokens", 8, "--seed", 1, "--json")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least that a slot may ask for: these passphrases guard nothing."""
    monkeypatch.setattr("pocketseek.package.sealing.in_place.seal_package.__kwdefaults__", {"memory_kib": 8192})
    monkeypatch.setattr("pocketseek.package.sealing.in_place.change_secret.__kwdefaults__", {"memory_kib": 8192})


def text_of(run: Callable, *options: object) -> object:
    return run(*ASK, *options).json["text"]


def plain_files(package: Path) -> list[Path]:
    return [path for folder in ("chunks", "files") for path in (package / folder).iterdir() if path.suffix != ".sealed"]


def test_with_a_key_file_it_goes_there_and_back(run: Callable, installed: Path, tmp_path: Path) -> None:
    before, key = text_of(run), tmp_path / "key"
    report = run("seal", "tiny", "--new-key-file", key, "--json").json
    assert report["state"] == "sealed"
    assert report["cipher"] in ("aes-256-gcm", "chacha20-poly1305")
    assert plain_files(installed) == []
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    refused = run(*ASK)
    assert refused.code == SealError.exit_code == 18
    assert "sealed with a key file or key command; give --key-file or --key-command" in refused.error
    assert text_of(run, "--key-file", key) == before
    assert text_of(run, "--key-command", f"cat {key}") == before
    assert run("verify", "tiny", "--json").json["ok"] is True
    assert [model["name"] for model in run("models", "--json").json["models"]] == ["tiny"]
    assert run("unseal", "tiny", "--key-file", key, "--json").json["state"] == "plain"
    assert not (installed / "sealed.json").exists()
    assert text_of(run) == before


def test_what_its_makers_recommend_holds_for_it_too(run: Callable, home: Path, tmp_path: Path) -> None:
    """It is sealed as well, and known only once the model is open."""
    source = write_hf(tmp_path / "source", tiny_model("qwen2"))
    generation = json.loads((source / "generation_config.json").read_text())
    generation |= {"do_sample": True, "temperature": 0.2, "top_k": 3}
    (source / "generation_config.json").write_text(json.dumps(generation))
    package = convert_checkpoint(source, name="tiny", models_dir=home / "models")
    assert "sampling.json" in read_manifest(package).files
    before, key = run(*ASK).json["text"], tmp_path / "key"
    assert run("seal", "tiny", "--new-key-file", key).code == 0
    assert text_of(run, "--key-file", key) == before
    assert "--top-k" in run(*ASK, "--key-file", key, "--top-k", -1).error


def test_with_a_passphrase_of_the_environment(run: Callable, installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = text_of(run)
    assert "nobody to ask" in run("seal", "tiny").error
    monkeypatch.setenv("POCKETSEEK_PASSPHRASE", "one")
    assert "sealed" in run("seal", "tiny").out
    assert text_of(run) == before
    assert "already" in run("seal", "tiny").out
    monkeypatch.setenv("POCKETSEEK_NEW_PASSPHRASE", "two")
    assert run("passwd", "tiny").code == 0
    assert "does not open it" in run(*ASK).error
    monkeypatch.setenv("POCKETSEEK_PASSPHRASE", "two")
    assert text_of(run) == before
    assert run("unseal", "tiny").code == 0
    assert plain_files(installed)


def test_a_passphrase_becomes_a_key_file_and_back(
    run: Callable, installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key"
    monkeypatch.setenv("POCKETSEEK_PASSPHRASE", "one")
    assert run("seal", "tiny").code == 0
    assert run("passwd", "tiny", "--new-key-file", key, "--json").json["state"] == "sealed"
    assert "with a key file" in run(*ASK).error
    assert "--to-key-file or --new-key-file" in run("passwd", "tiny", "--key-file", key).error
    assert text_of(run, "--key-file", key)
    monkeypatch.setenv("POCKETSEEK_NEW_PASSPHRASE", "three")
    assert run("passwd", "tiny", "--key-file", key).code == 0
    monkeypatch.setenv("POCKETSEEK_PASSPHRASE", "three")
    assert text_of(run)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a person at the terminal types, in order."""
    lines: list[str] = []
    monkeypatch.setattr(key_options, "is_interactive", lambda: True)
    monkeypatch.setattr(key_options, "getpass", lambda text: lines.pop(0))
    yield lines
    assert lines == []


def test_a_person_types_it(run: Callable, installed: Path, typed: list[str]) -> None:
    before = text_of(run)
    typed += ["one", "other"]
    assert "not the same" in run("seal", "tiny").error
    assert plain_files(installed)
    typed += ["one", "one"]
    assert run("seal", "tiny").code == 0
    typed += ["one"]
    assert text_of(run) == before
    typed += ["wrong"]
    assert "does not open it" in run(*ASK).error
    typed += [""]
    assert "empty" in run(*ASK).error
    typed += ["one", "two", "two"]
    assert run("passwd", "tiny").code == 0
    typed += ["two"]
    assert run("unseal", "tiny").code == 0


def test_a_wrong_secret_makes_no_key_file(
    run: Callable, installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETSEEK_PASSPHRASE", "one")
    assert run("seal", "tiny").code == 0
    monkeypatch.setenv("POCKETSEEK_PASSPHRASE", "wrong")
    assert run("passwd", "tiny", "--new-key-file", tmp_path / "key").code == SealError.exit_code
    assert not (tmp_path / "key").exists()


def test_an_empty_key_command_is_called_empty(run: Callable, installed: Path) -> None:
    assert "the key command is empty" in run("seal", "tiny", "--key-command", " ").error


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("seal", "nothing"), NotFoundError.exit_code),
        (("seal", "tiny", "--key-file", "/none"), NotFoundError.exit_code),
        (("seal", "tiny", "--key-file", "/dev/null"), UsageError.exit_code),
        (("seal", "tiny", "--key-command", "false"), SealError.exit_code),
        (("seal", "tiny", "--key-command", "echo short"), UsageError.exit_code),
        (("seal", "tiny", "--key-command", "/no/such/program"), UsageError.exit_code),
        (("seal", "tiny", "--key-command", "unbalanced '"), UsageError.exit_code),
        (("seal", "tiny", "--key-command", ""), UsageError.exit_code),
        (("seal", "tiny", "--key-file", "a", "--new-key-file", "b"), UsageError.exit_code),
        (("seal", "tiny", "--new-key-file", "/none/key"), NotFoundError.exit_code),
        (("unseal", "tiny"), UsageError.exit_code),
        (("passwd", "tiny"), UsageError.exit_code),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(
    run: Callable, installed: Path, arguments: tuple[str, ...], code: int
) -> None:
    before = sorted(path.name for path in installed.rglob("*"))
    ended = run(*arguments)
    assert ended.error
    assert ended.code in (code, 7)
    assert sorted(path.name for path in installed.rglob("*")) == before


def test_damage_and_hostile_records_are_one_line(run: Callable, installed: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    assert run("seal", "tiny", "--new-key-file", key).code == 0
    chunk = max((installed / "chunks").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(chunk.read_bytes())
    data[20_000] ^= 1
    chunk.write_bytes(data)
    assert run("verify", "tiny").code == IntegrityError.exit_code
    ended = run(*ASK, "--key-file", key)
    assert ended.code == IntegrityError.exit_code
    assert ended.err.count("\n") <= 2
    (installed / "sealed.json").write_text("{}")
    for command in (("verify", "tiny"), (*ASK, "--key-file", key), ("unseal", "tiny", "--key-file", key)):
        assert run(*command).code == FormatError.exit_code
    assert run("models", "--json").json["broken"]


def test_it_says_how_a_model_is_sealed(run: Callable, installed: Path, tmp_path: Path) -> None:
    assert run("inspect", "tiny", "--json").json["sealed"] == {"state": "plain", "cipher": None, "opens_with": []}
    assert run("seal", "tiny", "--new-key-file", tmp_path / "key").code == 0
    found = run("inspect", "tiny", "--json").json["sealed"]
    assert isinstance(found, dict)
    assert (found["state"], found["opens_with"]) == ("sealed", ["key"])
    assert "sealed" in run("inspect", "tiny").out.lower()


def test_exporting_and_replacing_want_it_unsealed(run: Callable, installed: Path, tmp_path: Path) -> None:
    assert run("seal", "tiny", "--new-key-file", tmp_path / "key").code == 0
    gguf = next(tmp_path.glob("*.gguf"))
    assert "unseal it first" in run("convert", gguf, "--name", "tiny").error
    ended = run("export", "tiny", tmp_path / "out", "--format", "onnx", "--quant", "int4")
    assert ended.code in (SealError.exit_code, UnsupportedError.exit_code)
    assert not (tmp_path / "out").exists()


def test_without_the_library_it_is_told(run: Callable, installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    monkeypatch.setenv("POCKETSEEK_PASSPHRASE", "one")
    ended = run("seal", "tiny")
    assert ended.code == UnsupportedError.exit_code
    assert "cryptography" in ended.error
    assert plain_files(installed)
    assert not (installed / "sealed.json").exists()
