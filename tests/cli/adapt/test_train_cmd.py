"""`adapt train`: what it prints, where the adapter goes, and what it refuses in one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketseek.errors import FormatError, NotFoundError, TrustError, UnsupportedError, UsageError

QUICK = ("--steps", 2, "--batch", 2, "--rank", 2, "--context", 64)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "small talk.jsonl"
    lines = [
        {"messages": [{"role": "user", "content": f"say {i}"}, {"role": "assistant", "content": f"{i} it is"}]}
        for i in range(12)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("words", [("train", "tiny"), ("distill", "tiny", "--student", "layers=1")])
def test_without_torch_one_line_says_what_to_install(
    run: Callable, installed: Path, data: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """As in a process in which nothing was imported yet."""
    for name in [name for name in sys.modules if name.startswith("pocketseek.adapt.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    ended = run("adapt", *words, "--data", data)
    assert ended.code == UnsupportedError.exit_code
    assert 'pip install "pocketseek[train]"' in ended.err


@pytest.mark.parametrize("words", [("train", "demo"), ("distill", "demo", "--student", "layers=1")])
@pytest.mark.parametrize("option", ["--data", "--validation"])
def test_data_that_is_not_there_is_told_before_a_model_is_fetched(
    run: Callable, home: Path, data: Path, tmp_path: Path, words: tuple[str, ...], option: str
) -> None:
    ended = run("adapt", *words, "--data", data, option, tmp_path / "absent.jsonl", "--yes")
    assert ended.code == NotFoundError.exit_code
    assert "absent.jsonl does not exist" in ended.err
    assert not (home / "models").exists()


def test_an_adapter_is_trained_and_told_in_json(run: Callable, installed: Path, home: Path, data: Path) -> None:
    facts = run("adapt", "train", "tiny", "--data", data, *QUICK, "--json").json
    assert facts["name"] == "small-talk"
    assert facts["path"] == str(home / "adapters" / "small-talk")
    assert facts["steps"] == 2
    assert len(facts["losses"]) == 2
    assert facts["perplexity_before"] > 1
    assert [one["step"] for one in facts["validations"]] == [0, 2]
    config = json.loads((home / "adapters" / "small-talk" / "adapter_config.json").read_text())
    assert (config["r"], config["base_model_name_or_path"]) == (2, "tiny")


def test_what_was_trained_is_used_at_once_and_goes_with_its_removal(
    run: Callable, installed: Path, home: Path, data: Path
) -> None:
    facts = run("adapt", "train", "tiny", "--data", data, *QUICK, "--lr", 0.05, "--name", "talk", "--json").json
    assert facts["installed"] is True
    ask = ("generate", "tiny", "Hello", "--max-tokens", 8, "--seed", 1, "--json")
    assert run(*ask, "--adapter", "talk").json["text"] != run(*ask).json["text"]
    again = run("adapt", "train", "tiny", "--data", data, *QUICK, "--name", "talk")
    assert again.code == UsageError.exit_code
    assert "there is an adapter talk already" in again.error
    ended = run("adapt", "train", "tiny", "--data", data, *QUICK, "--name", "talk", "--replace")
    assert "`pocketseek chat tiny --adapter talk`" in ended.out
    assert run("adapt", "remove", "talk", "--yes").code == 0
    assert not (home / "adapters" / "talk").exists()
    assert run("adapt", "train", "tiny", "--data", data, *QUICK, "--name", "talk", "--json").json["installed"] is True


def test_a_training_does_not_take_the_place_of_a_model(run: Callable, installed: Path, home: Path, data: Path) -> None:
    ended = run("adapt", "train", "tiny", "--data", data, *QUICK, "--name", "tiny", "--replace")
    assert ended.code == UsageError.exit_code
    assert "something else is called tiny" in ended.error
    assert not (home / "adapters").exists()


def test_what_is_learnt_from_and_what_came_of_it_is_told_to_a_person(
    run: Callable, installed: Path, data: Path, tmp_path: Path
) -> None:
    ended = run("adapt", "train", "tiny", "--data", data, *QUICK, "--out", tmp_path / "mine")
    assert ended.code == 0
    assert "in 11 sequences, 2 steps" in ended.err
    assert "validation perplexity" in ended.err
    assert f"`pocketseek adapt add tiny {tmp_path / 'mine'}` installs it" in ended.out
    assert run("adapt", "list", "--json").json == {"adapters": []}
    assert str(tmp_path / "mine") in ended.out


def test_a_text_file_is_learnt_from(run: Callable, installed: Path, tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("once upon a time there was a quick brown fox. " * 40)
    facts = run("adapt", "train", "tiny", "--data", tmp_path / "book.txt", *QUICK, "--targets", "q_proj", "--json").json
    assert facts["name"] == "book"


def test_a_file_whose_name_cannot_be_an_adapter_s_is_learnt_from_all_the_same(
    run: Callable, installed: Path, data: Path
) -> None:
    facts = run("adapt", "train", "tiny", "--data", data.rename(data.with_name("笔记.jsonl")), *QUICK, "--json").json
    assert facts["name"] == "adapter"


@pytest.mark.parametrize("words", [("train", "tiny"), ("distill", "tiny", "--student", "layers=1")])
def test_a_model_that_may_not_be_used_is_not_learnt_from(
    run: Callable, installed: Path, data: Path, words: tuple[str, ...]
) -> None:
    assert run("trust", "require-signed", "on").code == 0
    ended = run("adapt", *words, "--data", data, "--steps", 1)
    assert ended.code == TrustError.exit_code
    assert "not signed" in ended.error


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--targets", "embed"), UsageError),
        (("--steps", 3, "--epochs", 1), UsageError),
        (("--lr", -1), UsageError),
        (("--name", "../evil"), UsageError),
        (("--name", "a", "--out", "b"), UsageError),
        (("--context", 4096), UsageError),
        (("--max-heat", 300), UsageError),
        (("--data", "absent.jsonl"), NotFoundError),
    ],
)
def test_bad_options_are_one_line_and_leave_nothing(
    run: Callable, installed: Path, home: Path, data: Path, options: tuple[object, ...], code: type[UsageError]
) -> None:
    ended = run("adapt", "train", "tiny", "--data", data, *options)
    assert ended.code == code.exit_code
    assert ";" in ended.error
    assert not (home / "adapters").exists()


def test_a_bad_line_is_told_by_its_number(run: Callable, installed: Path, data: Path) -> None:
    data.write_text(data.read_text() + "{broken\n")
    ended = run("adapt", "train", "tiny", "--data", data, *QUICK)
    assert ended.code == FormatError.exit_code
    assert "line 13" in ended.error


def test_without_torch_the_remedy_is_told(
    run: Callable, installed: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "accelerate", None)
    ended = run("adapt", "train", "tiny", "--data", data, *QUICK)
    assert ended.code == UnsupportedError.exit_code
    assert 'pip install "pocketseek[train]"' in ended.error
