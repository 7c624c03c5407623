"""`inspect` tells what a package says about itself, by name or path."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_models import write_hf
from tiny_sparse import tiny_sparse

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.errors import FormatError, NotFoundError


def test_json_has_model_recipe_quality_provenance_and_tensors(run: Callable, tiny_package: Path) -> None:
    facts = run("inspect", tiny_package, "--json").json
    assert facts["model"]["family"] == "llama"
    assert facts["model"]["num_layers"] == 2
    assert {"recipe", "quality", "provenance", "num_weights", "num_bytes", "files"} <= set(facts)
    assert {"name": "head.norm", "shape": [64], "format": "f32", "stage": "head"} in facts["tensors"]


def test_every_fact_is_a_row(run: Callable, tiny_package: Path) -> None:
    rows = dict(line.split("\t") for line in run("inspect", tiny_package).out.splitlines())
    assert rows["model.num_layers"] == "2"
    assert rows["path"] == str(tiny_package)
    assert rows["quality"]


def test_of_a_model_with_experts_it_tells_how_many_weights_a_token_uses(
    run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_sparse("deepseek_v2")  # a dense layer, then one with eight experts
    package = convert_checkpoint(write_hf(tmp_path / "hf", model), tmp_path / "package", models_dir=tmp_path)
    facts = run("inspect", package, "--json").json
    expert, row = 3 * 64 * 32, 64
    assert facts["num_active_weights"] == facts["num_weights"] - (8 - 3) * expert - (320 - 1) * row
    rows = dict(line.split("\t") for line in run("inspect", package).out.splitlines())
    millions = f"{facts['num_active_weights'] / 1e6:.1f} M"
    assert rows["used for a token"] == f"{millions}, 3 of 8 experts in each layer that has them"
    monkeypatch.setenv("POCKETSEEK_LANG", "zh")
    assert f"每个词元使用\t{millions}" in run("inspect", package).out


def test_of_a_dense_model_there_is_no_row_for_that(run: Callable, tiny_package: Path) -> None:
    assert "used for a token" not in run("inspect", tiny_package).out


def test_rows_are_for_reading(run: Callable, tiny_package: Path) -> None:
    rows = dict(line.split("\t") for line in run("inspect", tiny_package).out.splitlines())
    assert "e-0" not in rows["model.rms_norm_eps"] or len(rows["model.rms_norm_eps"]) < 8
    assert "None" not in rows.values()
    assert not any(value.startswith(("[", "{")) for value in rows.values())


def test_tensors_can_be_listed(run: Callable, tiny_package: Path) -> None:
    assert "layer.0.q\t64x64\tq4a\n" in run("inspect", tiny_package, "--tensors").out


def test_a_missing_model_and_a_folder_that_is_none_are_told_apart(run: Callable, tmp_path: Path) -> None:
    assert run("inspect", "absent").code == NotFoundError.exit_code
    assert run("inspect", tmp_path).code == FormatError.exit_code


SIDE_FILES = ("verified.json", "checked.json", "origin.json", "previous.json", "previous.back", "previous.answered")


@pytest.mark.parametrize("name", SIDE_FILES)
def test_a_pipe_in_the_place_of_a_small_file_keeps_nobody_waiting(
    run: Callable, tiny_package: Path, tmp_path: Path, name: str
) -> None:
    """Whoever offers a package may put one there; reading it would wait for ever."""
    package = shutil.copytree(tiny_package, tmp_path / "package")
    (package / name).unlink(missing_ok=True)
    os.mkfifo(package / name)
    assert "tiny" in run("inspect", package).out
    for command in (("verify", package), ("generate", package, "Hi", "--max-tokens", 1)):
        ended = run(*command)
        assert ended.code == 0 or "not a plain file" in ended.error
