"""A model is meant by name, by path, as the demo, or not at all."""

from pathlib import Path

import pytest
from tiny_models import tiny_gguf

from pocketseek.apps.library import default_model, has_chat_template, locate, recommended_sampling
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.errors import FormatError, NotFoundError, UsageError
from pocketseek.package.reader import Package
from pocketseek.package.store import ModelStore
from pocketseek.package.writer import PackageWriter
from pocketseek.types import SamplingParams


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


def install(store: ModelStore, tmp_path: Path, name: str) -> Path:
    return convert_checkpoint(tiny_gguf(tmp_path / "tiny.gguf"), name=name, models_dir=store.models_dir)


def test_an_installed_name_and_a_path_both_lead_to_the_package(store: ModelStore, tmp_path: Path) -> None:
    path = install(store, tmp_path, "tiny")
    assert locate(store, "tiny") == path
    assert locate(store, str(path)) == path


def test_demo_is_installed_when_first_asked_for_and_only_then(store: ModelStore, tmp_path: Path) -> None:
    calls: list[Path] = []

    def install_demo() -> Path:
        calls.append(install(store, tmp_path, "demo"))
        return calls[-1]

    assert locate(store, "demo", install_demo) == locate(store, "demo", install_demo) == calls[0]
    assert len(calls) == 1


def test_other_missing_models_are_not_replaced_by_the_demo(store: ModelStore) -> None:
    with pytest.raises(NotFoundError):
        locate(store, "absent", lambda: pytest.fail("must not install"))


def test_without_a_way_to_install_it_the_demo_is_a_missing_model(store: ModelStore) -> None:
    with pytest.raises(NotFoundError, match="demo"):
        locate(store, "demo")


def test_default_is_the_only_model_there_is(store: ModelStore, tmp_path: Path) -> None:
    assert default_model(store) is None
    install(store, tmp_path, "one")
    assert default_model(store) == "one"


def test_a_choice_among_several_is_left_to_the_user(store: ModelStore, tmp_path: Path) -> None:
    install(store, tmp_path, "one")
    install(store, tmp_path, "two")
    with pytest.raises(UsageError, match="one, two"):
        default_model(store)


def test_a_model_knows_whether_it_has_a_chat_template(store: ModelStore, tmp_path: Path) -> None:
    assert has_chat_template(install(store, tmp_path, "tiny"))


def write_package(path: Path, package: Path, files: dict[str, bytes]) -> Path:
    """The package again, with these files beside its own."""
    with Package.open(package) as opened, PackageWriter(path) as writer:
        manifest = opened.manifest
        stage = ""
        for entry in manifest.tensors:
            if entry.stage != stage:
                stage = entry.stage
                writer.begin_stage(stage)
            tensor = opened.tensor(entry.name)
            writer.add_tensor(entry.name, entry.format, entry.shape, [part.data for part in tensor.parts])
        for name, data in files.items():
            writer.add_file(name, data)
        writer.commit(
            name="copy",
            model=manifest.model,
            recipe=manifest.recipe,
            quality=manifest.quality,
            provenance=manifest.provenance,
        )
    return path


def test_recommended_sampling_comes_from_the_package(store: ModelStore, tmp_path: Path) -> None:
    plain = install(store, tmp_path, "tiny")
    assert recommended_sampling(plain) == SamplingParams()
    advised = write_package(tmp_path / "copy", plain, {"sampling.json": b'{"temperature":0.6,"top_k":20}'})
    assert recommended_sampling(advised) == SamplingParams(temperature=0.6, top_k=20)


def test_damaged_recommendations_are_an_error(store: ModelStore, tmp_path: Path) -> None:
    bad = write_package(tmp_path / "copy", install(store, tmp_path, "tiny"), {"sampling.json": b"{"})
    with pytest.raises(FormatError):
        recommended_sampling(bad)
