"""The adapters of a served model are those that fit it, looked up anew."""

from __future__ import annotations

import shutil
from pathlib import Path

from peft_folders import write_peft
from tiny_models import tiny_hf_directory, tiny_model, write_hf

from pocketseek.adapt.add import add_adapter
from pocketseek.apps.installed_adapters import InstalledAdapters
from pocketseek.apps.library import served_model
from pocketseek.convert.pipeline import convert_checkpoint


def test_those_that_fit_come_and_go(tmp_path: Path) -> None:
    models = tmp_path / "models"
    base = convert_checkpoint(tiny_hf_directory(tmp_path / "hf"), models / "base", models_dir=models)
    other = convert_checkpoint(write_hf(tmp_path / "hf2", tiny_model(hidden=96)), models / "other", models_dir=models)
    adapters = InstalledAdapters(models)
    served = served_model("base", base)
    assert adapters.of(served) == []
    add_adapter(write_peft(tmp_path / "p"), base, models / "ad")
    (found,) = adapters.of(served)
    assert (found.name, found.adapter, found.base_name) == ("base:ad", "ad", "base")
    assert (found.path, found.own_path) == (base, models / "ad")
    assert adapters.of(served_model("other", other)) == []
    (models / "ad" / "manifest.json").write_text("{}")
    assert adapters.of(served) == []
    shutil.rmtree(models / "ad")
    assert adapters.of(served) == []
    assert InstalledAdapters(tmp_path / "nowhere").of(served) == []
