"""The example of docs/adapt.md runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from peft_folders import write_peft
from tiny_models import tiny_hf_directory

from pocketseek.adapt.add import add_adapter
from pocketseek.convert.pipeline import convert_checkpoint

PAGE = Path(__file__).parents[2] / "docs" / "adapt.md"


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("POCKETSEEK_HOME", str(tmp_path))
    models = tmp_path / "models"
    base = convert_checkpoint(tiny_hf_directory(tmp_path / "hf"), models / "base", models_dir=models)
    for number, name in enumerate(("poet", "lawyer")):
        add_adapter(write_peft(tmp_path / name, seed=number), base, models / name)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(example, str(PAGE), "exec"), {})
    assert capsys.readouterr().out.count("\n") >= 3
