from pathlib import Path

import pytest
from tiny_models import tiny_model, write_hf

from pocketseek.convert.pipeline import convert_checkpoint


@pytest.fixture(scope="session")
def layered_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six layers of some 200 kB, an untied head."""
    directory = tmp_path_factory.mktemp("layered")
    model = tiny_model("qwen2", hidden=256, intermediate=512, num_layers=6)
    return convert_checkpoint(write_hf(directory / "source", model), directory / "package", models_dir=directory)
