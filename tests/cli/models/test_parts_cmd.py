"""Commands for models, given a speech part: they work on it as on a model, or refuse it in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from part_packages import write_part


@pytest.fixture
def part(home: Path) -> Path:
    return write_part(home / "models" / "ears")


@pytest.mark.usefixtures("part", "installed")
def test_parts_are_listed_beside_models(run: Callable) -> None:
    listed = run("models")
    assert "tiny" in listed.out
    assert "ears" not in listed.out
    assert "models --parts" in listed.err
    assert "ears" in run("models", "--parts").out
    facts = run("models", "--json").json
    assert [model["name"] for model in facts["models"]] == ["tiny"]
    (speech,) = facts["speech_parts"]
    assert (speech["name"], speech["kind"], speech["trust"]["status"]) == ("ears", "recogniser", "unsigned")


@pytest.mark.usefixtures("home")
def test_without_parts_a_line_says_how_to_get_some(run: Callable) -> None:
    assert "voice setup" in run("models", "--parts").out


@pytest.mark.usefixtures("part")
def test_inspect_and_verify_know_it(run: Callable) -> None:
    shown = run("inspect", "ears").out
    assert "understanding speech" in shown
    assert "faster-whisper" in shown
    facts = run("inspect", "ears", "--json").json
    assert facts["part"]["files"]["model.bin"] == 2560
    assert run("verify", "ears").code == 0


@pytest.mark.usefixtures("part")
@pytest.mark.parametrize(
    "command",
    [
        ("generate", "ears", "hello"),
        ("chat", "ears"),
        ("serve", "ears", "--port", "0"),
        ("eval", "ears", "--text", __file__),
        ("bench", "ears"),
        ("export", "ears", "out", "--format", "onnx"),
    ],
    ids=lambda command: command[0],
)
def test_what_needs_a_language_model_refuses_it_in_one_line(
    run: Callable, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = run(*command)
    assert ended.code
    assert "speech part (recogniser), not a language model" in ended.error or "extra" in ended.error
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("part")
def test_a_model_is_not_chosen_among_parts(run: Callable) -> None:
    assert "no model is installed" in run("chat").error


def test_folders_put_there_by_hand_are_told_as_such(run: Callable, home: Path) -> None:
    folder = home / "voice" / "mine.en"
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(b"x")
    (folder / "config.json").write_bytes(b"{}")
    assert "put there by hand, not signed" in run("voice", "setup", "--list").out
    (told,) = run("voice", "setup", "--list", "--json").json["folders"]
    assert told["name"] == "mine.en"


def test_a_part_is_signed_sealed_and_removed(run: Callable, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cryptography", reason="cryptography is not installed (extra `secure`)")
    monkeypatch.setenv("POCKETSEEK_PASSPHRASE", "correct horse")
    assert run("keygen", "--name", "me").code == 0
    assert run("sign", "ears", "--version", "3").code == 0
    assert "signed by me" in run("models", "--parts").out
    assert run("seal", "ears").code == 0
    assert "sealed" in run("voice", "setup", "--list").out
    assert run("verify", "ears").code == 0
    monkeypatch.setenv("POCKETSEEK_NEW_PASSPHRASE", "battery staple")
    assert run("passwd", "ears").code == 0
    monkeypatch.setenv("POCKETSEEK_PASSPHRASE", "battery staple")
    assert run("unseal", "ears").code == 0
    assert run("remove", "ears", "--yes").code == 0
    assert not part.exists()


def test_a_part_is_pulled_updated_and_rolled_back(run: Callable, home: Path, tmp_path: Path) -> None:
    pytest.importorskip("zstandard", reason="zstandard is not installed (extra `update`)")
    published = write_part(tmp_path / "web" / "ears")
    assert run("pull", published).code == 0
    newer = write_part(tmp_path / "newer" / "ears", files={"model.bin": b"other", "config.json": b"{}"})
    assert "1 same" in run("diff", "ears", newer, "--publish").out
    assert run("update", "ears", "--from", newer, "--yes").code == 0
    installed = home / "models" / "ears"
    assert (installed / "manifest.json").read_bytes() == (newer / "manifest.json").read_bytes()
    assert run("verify", "ears").code == 0
    assert run("rollback", "ears").code == 0
    assert (installed / "manifest.json").read_bytes() == (published / "manifest.json").read_bytes()
