import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_models import tiny_model, write_hf

from pocketseek.convert.pipeline import convert_checkpoint

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))


@pytest.fixture(scope="session")
def layered_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six layers of some 200 kB, an untied head."""
    directory = tmp_path_factory.mktemp("layered")
    model = tiny_model("qwen2", hidden=256, intermediate=512, num_layers=6)
    return convert_checkpoint(write_hf(directory / "source", model), directory / "package", models_dir=directory)


@pytest.fixture(scope="session")
def streaming_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10 MB of random weights: more than what a process's own memory flutters by."""
    return _random_package(tmp_path_factory.mktemp("streaming") / "package", num_layers=5, hidden=512, inner=2048)


@pytest.fixture(scope="session")
def large_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """110 MB of random weights: several times the ring that the usual units stream through."""
    return _random_package(tmp_path_factory.mktemp("large") / "package", num_layers=14, hidden=1024, inner=4096)


@pytest.fixture(scope="session")
def sparse_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10 MB of random weights, 9 of them in 192 experts of three layers, and latent attention."""
    import random_package

    path = tmp_path_factory.mktemp("sparse") / "package"
    random_package.write_package(path, random_package.SPARSE_SHAPES["deepseek-v2-tiny"], seed=1)
    return path


@pytest.fixture(scope="session")
def large_sparse_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """95 MB of random weights, 88 of them in 256 experts of four layers: of the form of sparse_package."""
    import random_package

    tiny = random_package.SPARSE_SHAPES["deepseek-v2-tiny"]
    model = replace(tiny, num_layers=5, hidden_size=512, moe=replace(tiny.moe, expert_size=384, shared_size=768))
    path = tmp_path_factory.mktemp("large-sparse") / "package"
    random_package.write_package(path, model, seed=1)
    return path


def _random_package(path: Path, *, num_layers: int, hidden: int, inner: int) -> Path:
    import random_package
    from random_checkpoint import Shape

    shape = Shape(num_layers, hidden, hidden // 64, hidden // 256, 64, inner, 1024, context_length=1024)
    random_package.write_package(path, shape, seed=1)
    return path
