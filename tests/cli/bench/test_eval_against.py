"""`eval --against` compares two packages of one model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_models import tiny_hf_directory, tiny_model, write_hf

from pocketseek.convert.pipeline import convert_checkpoint


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("The capital of France is Paris. " * 12, "utf-8")
    return path


@pytest.fixture
def packages(tmp_path: Path) -> tuple[Path, Path]:
    checkpoint = tiny_hf_directory(tmp_path / "source")
    fine = convert_checkpoint(checkpoint, tmp_path / "fine", quant="keep")
    return convert_checkpoint(checkpoint, tmp_path / "coarse", quant="q4"), fine


def test_fewer_bits_are_further_away(run: Callable, packages: tuple[Path, Path], text: Path) -> None:
    coarse, fine = packages
    found = run("eval", coarse, "--text", text, "--against", fine, "--window", 64, "--json").json
    assert 1e-5 < found["mean_kl"] < found["p99_kl"] < 1
    assert 0.5 < found["top1_agreement"] <= 1
    assert found["positions"] > 64
    same = run("eval", fine, "--text", text, "--against", fine, "--window", 64, "--json").json
    assert same["mean_kl"] == pytest.approx(0, abs=1e-12)
    assert same["reference_perplexity"] == pytest.approx(found["reference_perplexity"])
    assert "KL" in run("eval", coarse, "--text", text, "--against", fine, "--window", 64).out


def test_perplexity_is_that_of_plain_eval(run: Callable, packages: tuple[Path, Path], text: Path) -> None:
    coarse, fine = packages
    compared = run("eval", coarse, "--text", text, "--against", fine, "--window", 64, "--json").json
    alone = run("eval", coarse, "--text", text, "--window", 64, "--json").json
    assert compared["perplexity"] == pytest.approx(alone["perplexity"], rel=1e-6)


def test_other_models_are_refused(run: Callable, packages: tuple[Path, Path], text: Path, tmp_path: Path) -> None:
    other = convert_checkpoint(write_hf(tmp_path / "o", tiny_model(vocab=352)), tmp_path / "other", quant="q8")
    ended = run("eval", packages[0], "--text", text, "--against", other, "--window", 64)
    assert ended.code == 2
    assert "same model" in ended.error
    assert run("eval", packages[0], "--text", text, "--against", packages[1], "--kv", "q8").code == 2


def test_several_texts_are_told_by_their_names(
    run: Callable, packages: tuple[Path, Path], text: Path, tmp_path: Path
) -> None:
    other = tmp_path / "code.py"
    other.write_text("def capital(country): return countries[country].capital\n" * 8, "utf-8")
    arguments = ("eval", packages[0], "--text", text, "--text", other, "--against", packages[1], "--window", 64)
    found = run(*arguments, "--json").json
    assert set(found["kinds"]) == {"text", "code"}
    assert found["positions"] == sum(kind["positions"] for kind in found["kinds"].values())
    shown = run(*arguments).out.splitlines()
    assert [line.partition(":")[0] for line in shown] == ["text", "code", "all texts"]
    assert run("eval", packages[0], "--text", text, "--text", other).code == 2
    assert run("eval", packages[0], "--text", text, "--text", text, "--against", packages[1]).code == 2
