"""The front door of the package: the names it shows, and that it can be run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import tiny_gguf

import pocketseek

PAGE = Path(__file__).parents[1] / "docs" / "api.md"


def test_dir_shows_the_public_names_and_nothing_else() -> None:
    assert dir(pocketseek) == sorted(pocketseek.__all__)


def test_every_public_name_can_be_had() -> None:
    assert all(hasattr(pocketseek, name) for name in pocketseek.__all__)


def test_the_module_runs_as_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pocketseek", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"pocketseek {pocketseek.__version__}\n", "")


def test_the_examples_of_the_page_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POCKETSEEK_HOME", str(tmp_path))
    tiny_gguf(tmp_path / "model.gguf", type_name="Q4_1")
    pocketseek.convert_checkpoint(tmp_path / "model.gguf", name="demo", models_dir=tmp_path / "models")
    examples = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert len(examples) == 3
    names: dict[str, object] = {}
    for example in examples:
        exec(example, names)
        assert capsys.readouterr().out
