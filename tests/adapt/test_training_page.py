"""The Python example of docs/adapt-train.md runs, and its data lines are read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from adapt.training_models import tiny_package

from pocketseek.adapt.data_file import read_data
from pocketseek.adapt.train import TrainedAdapter

PAGE = (Path(__file__).parents[2] / "docs" / "adapt-train.md").read_text("utf-8")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_data_lines_are_read(tmp_path: Path) -> None:
    (tmp_path / "notes.jsonl").write_text(block("json"), "utf-8")
    assert [bool(example.messages) for example in read_data(tmp_path / "notes.jsonl").examples] == [True, False]


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_package(tmp_path / "models").rename(tmp_path / "models" / "tiny")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(block("python"), "adapt-train.md", "exec"), names)
    trained, again = names["trained"], names["again"]
    assert isinstance(trained, TrainedAdapter)
    assert isinstance(again, TrainedAdapter)
    assert again.losses[0] < trained.losses[0]
