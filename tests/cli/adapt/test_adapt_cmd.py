"""adapt add, list, remove and merge as they are typed, and what other commands do with adapters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from peft_folders import write_peft
from tiny_models import tiny_model

from pocketseek.errors import FormatError, NotFoundError, SealError, UnsupportedError, UsageError

ASK = ("generate", "tiny", "Hello", "--max-tokens", 8, "--seed", 1, "--json")


@pytest.fixture
def added(run: Callable, installed: Path, tmp_path: Path) -> Path:
    """The adapter `ad` of the model `tiny`."""
    folder = write_peft(tmp_path / "peft")
    report = run("adapt", "add", "tiny", folder, "--name", "ad", "--json").json
    assert (report["name"], report["base"], report["rank"]) == ("ad", "tiny", 4)
    return installed.parent / "ad"


def test_it_changes_what_is_said_and_the_model_stays(run: Callable, added: Path) -> None:
    plain = run(*ASK).json
    adapted = run(*ASK, "--adapter", "ad").json
    assert adapted["text"] != plain["text"]
    assert (adapted["adapter"], "adapter" in plain) == ("ad", False)
    assert run(*ASK).json["text"] == plain["text"]
    assert [model["name"] for model in run("models", "--json").json["models"]] == ["tiny"]
    (listed,) = run("adapt", "list", "--json").json["adapters"]
    assert (listed["name"], listed["base"], listed["targets"][0]) == ("ad", "tiny", "q")
    assert "q k v o gate up down" in run("adapt", "list").out


def test_eval_takes_one(run: Callable, added: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello there, " * 20)
    plain, adapted = (
        run("eval", "tiny", "--text", tmp_path / "text", "--window", 64, *more, "--json").json["perplexity"]
        for more in ((), ("--adapter", "ad"))
    )
    assert plain != adapted


def test_mistakes_are_one_line(run: Callable, added: Path, tmp_path: Path) -> None:
    other = write_peft(tmp_path / "other", tensors=None, seed=2)
    for words, error, said in (
        (("adapt", "add", "tiny", other, "--name", "ad"), UsageError, "there is an adapter ad already"),
        (("adapt", "add", "tiny", other, "--name", "tiny", "--replace"), UsageError, "something else is called tiny"),
        (("adapt", "add", "none", other), NotFoundError, "no model 'none'"),
        (("adapt", "add", "tiny", tmp_path, "--name", "x"), NotFoundError, "has no adapter_config.json"),
        (("adapt", "remove", "tiny", "--yes"), UsageError, "is not an adapter"),
        (("adapt", "remove", "none", "--yes"), NotFoundError, "no adapter 'none'; there are: ad"),
        (("generate", "ad", "Hello"), FormatError, "is an adapter for tiny, not a model"),
        (("generate", "ad", "Hello", "--min-speed", 3), FormatError, "is an adapter for tiny, not a model"),
        (("generate", "ad", "Hello", "--engine", "onnx"), FormatError, "is an adapter for tiny, not a model"),
        (("export", "ad", tmp_path / "out"), FormatError, "is an adapter for tiny, not a model"),
        (("generate", "tiny", "Hello", "--adapter", "none"), NotFoundError, "no adapter 'none'; there are: ad"),
        (("generate", "tiny", "Hello", "--adapter", other), FormatError, "install it with `pocketseek adapt add MODEL"),
        (("adapt", "install", "tiny", other), UsageError, "pocketseek adapt add MODEL FOLDER"),
        (("generate", "tiny", "Hello", "--adapter", "tiny"), UsageError, "is a model, not an adapter"),
        (("generate", "tiny", "Hello", "--adapter", "ad", "--engine", "onnx"), UnsupportedError, "--engine native"),
        (("eval", "tiny", "--text", __file__, "--against", "tiny", "--adapter", "ad"), UsageError, "--adapter out"),
        (("adapt", "merge", "ad", "ad"), FormatError, "is an adapter"),
    ):
        ended = run(*words)
        assert ended.code == error.exit_code, (words, ended.err)
        assert said in ended.error


def test_a_wrong_adapter_leaves_nothing(run: Callable, added: Path, tmp_path: Path) -> None:
    from peft_folders import peft_tensors

    folder = write_peft(tmp_path / "wide", tensors=peft_tensors(tiny_model(hidden=96)))
    assert "name the model it was made for" in run("adapt", "add", "tiny", folder, "--name", "wide").error
    assert sorted(path.name for path in added.parent.iterdir() if not path.name.startswith(".")) == ["ad", "tiny"]


def test_merge_makes_a_model_of_its_own(run: Callable, added: Path, tmp_path: Path) -> None:
    report = run("adapt", "merge", "tiny", "ad", "--json").json
    assert report["name"] == "tiny-ad"
    assert {model["name"] for model in run("models", "--json").json["models"]} == {"tiny", "tiny-ad"}
    assert run("generate", "tiny-ad", "Hello", "--max-tokens", 4, "--json").json["completion_tokens"] > 0
    assert "is there already" in run("adapt", "merge", "tiny", "ad").error
    run("adapt", "merge", "tiny", "ad", tmp_path / "folder", "--json")
    assert run("verify", tmp_path / "folder", "--json").json["ok"] is True
    assert run("adapt", "merge", "tiny", "ad", tmp_path / "合并", "--json").json["name"] == "tiny-ad"


def test_it_is_verified_pulled_updated_and_rolled_back_as_models_are(
    run: Callable, added: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("verify", "ad", "--json").json["ok"] is True
    first = run(*ASK, "--adapter", "ad").json["text"]
    monkeypatch.setenv("POCKETSEEK_HOME", str(tmp_path / "second"))
    run("pull", added.parent / "tiny", "--json")
    run("pull", added, "--json")
    assert run(*ASK, "--adapter", "ad").json["text"] == first
    monkeypatch.setenv("POCKETSEEK_HOME", str(added.parent.parent))
    run("adapt", "add", "tiny", write_peft(tmp_path / "new", seed=5), "--name", "ad", "--replace", "--json")
    second = run(*ASK, "--adapter", "ad").json["text"]
    monkeypatch.setenv("POCKETSEEK_HOME", str(tmp_path / "second"))
    assert "adapter" in run("diff", "ad", added).out
    assert run("update", "ad", "--yes", "--json").code == 0
    assert run("rollback", "ad", "--json").code == 0
    assert run(*ASK, "--adapter", "ad").json["text"] == first
    assert run("update", "ad", "--yes", "--json").code == 0
    assert run(*ASK, "--adapter", "ad").json["text"] == second != first
    assert run("adapt", "remove", "ad", "--yes", "--json").json["name"] == "ad"
    assert run("adapt", "list", "--json").json == {"adapters": []}


def test_it_is_sealed_and_unsealed(run: Callable, added: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, key = run(*ASK, "--adapter", "ad").json["text"], tmp_path / "key"
    assert run("seal", "ad", "--new-key-file", key, "--json").json["state"] == "sealed"
    assert run(*ASK, "--adapter", "ad").code == SealError.exit_code
    assert run(*ASK, "--adapter", "ad", "--key-file", key).json["text"] == before
    assert "unseal" in run("adapt", "merge", "tiny", "ad").error
    assert run("unseal", "ad", "--key-file", key, "--json").json["state"] == "plain"
    assert run(*ASK, "--adapter", "ad").json["text"] == before


def test_it_is_signed(run: Callable, added: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETSEEK_PASSPHRASE", "a long enough passphrase")
    assert run("keygen", "--name", "me", "--json").code == 0
    assert run("sign", "ad", "--json").code == 0
    assert (added / "manifest.sig").exists()
