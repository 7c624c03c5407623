"""`models` shows what can be used and what is broken."""

import re
from collections.abc import Callable
from pathlib import Path


def test_nothing_installed_is_said_with_what_to_do(run: Callable) -> None:
    assert "pocketseek chat demo" in run("models").out
    assert run("models", "--json").json == {"models": [], "speech_parts": [], "broken": [], "unfinished": []}


def test_an_installed_model_is_listed(run: Callable, installed: Path) -> None:
    assert run("models").out.startswith("tiny\tllama\t")
    (model,) = run("models", "--json").json["models"]
    assert model["name"] == "tiny"
    assert model["path"] == str(installed)
    assert model["family"] == "llama"
    assert model["context_length"] == 256
    assert model["formats"] == ["f32"]
    assert model["num_bytes"] > model["num_weights"] > 0


def test_a_broken_model_is_listed_with_the_reason(run: Callable, installed: Path) -> None:
    next((installed / "chunks").iterdir()).unlink()
    ended = run("models")
    assert "missing" in ended.out
    assert "`pocketseek remove tiny`" in ended.err
    (broken,) = run("models", "--json").json["broken"]
    assert broken["name"] == "tiny"


def test_when_a_models_bytes_were_checked_is_told(run: Callable, installed: Path) -> None:
    """Those of a model that was converted here were hashed as they were written."""
    assert re.search(r"\t20\d\d-\d\d-\d\d$", run("models").out.strip())
    assert run("models", "--json").json["models"][0]["verified"] > 0
    assert "bytes checked\t20" in run("inspect", "tiny").out
    (installed / "verified.json").unlink()
    assert run("models", "--json").json["models"][0]["verified"] is None
    assert "not since they changed" in run("inspect", "tiny").out
