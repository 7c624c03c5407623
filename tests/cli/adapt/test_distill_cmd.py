"""`adapt distill`: a student is installed, told, and chosen when its teacher is too slow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from line_of_models import SCARCE_BYTES, SMALL_BYTES, install_line

from pocketseek.cli.adapt import distill_cmd
from pocketseek.errors import UsageError

QUICK = ("--steps", 2, "--batch", 2, "--context", 32, "--top-k", 8)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.txt"
    path.write_text("the quick brown fox jumps over the lazy dog and back. " * 30)
    return path


def test_a_student_is_installed_and_told_in_json(run: Callable, installed: Path, home: Path, data: Path) -> None:
    facts = run("adapt", "distill", "tiny", "--student", "layers=1", "--data", data, *QUICK, "--json").json
    assert facts["name"] == "tiny-1-layers"
    assert facts["layers"] == [0]
    assert facts["comparison"]["mean_kl"] > 0
    assert [one["step"] for one in facts["validations"]] == [0, 2]
    assert "tiny-1-layers" in run("models").out
    assert run("verify", "tiny-1-layers").code == 0
    assert run("generate", "tiny-1-layers", "the", "--max-tokens", 2).code == 0


def test_a_student_answers_where_its_teacher_is_too_slow_or_too_large(
    run: Callable, home: Path, line_of_models: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = install_line(home, line_of_models, monkeypatch)
    line["small"].unlink()  # which would stand in, too
    distil = ("adapt", "distill", "large", "--student", "layers=3", "--data", data, *QUICK, "--quant", "q4-pure")
    assert run(*distil, "--name", "pupil", "--json").json["layers"] == [0, 12, 23]
    ask = ("hello", "--max-tokens", 6, "--seed", 1, "--json")
    slow = run("generate", "large", *ask, "--memory", SCARCE_BYTES, "--min-speed", "1e12").json
    large = run("generate", "large", *ask, "--memory", SMALL_BYTES, "--min-speed", 0.2).json
    for facts in (slow, large):
        assert (facts["model"], facts["fallback"]["asked"]["model"]) == ("pupil", "large")
    assert not large["fallback"]["asked"]["expected_tokens_per_s"]
    assert slow["text"] == run("generate", "pupil", *ask).json["text"]


def test_what_came_of_it_is_told_to_a_person(run: Callable, installed: Path, data: Path, tmp_path: Path) -> None:
    ended = run("adapt", "distill", "tiny", "--student", "layers=1", "--data", data, *QUICK, "--out", tmp_path / "s")
    assert ended.code == 0
    assert "1 of 2 layers, 2 steps" in ended.out
    assert "KL" in ended.out
    assert str(tmp_path / "s") in ended.out
    assert "divergence from the teacher" in ended.err


@pytest.mark.parametrize("student", ["layers=3", "layers=x", "half"])
def test_a_senseless_student_is_one_line_before_libraries_load(
    run: Callable, installed: Path, data: Path, home: Path, student: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distill_cmd, "require_training_libraries", lambda: pytest.fail("seconds for nothing"))
    ended = run("adapt", "distill", "tiny", "--student", student, "--data", data, *QUICK)
    assert ended.code == UsageError.exit_code
    assert "layers=15" in ended.error
    assert [path.name for path in (home / "models").iterdir()] == ["tiny"]
