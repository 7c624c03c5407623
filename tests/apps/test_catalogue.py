"""The catalogue's sizes are those of real packages, and its shapes those of the published models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_models import tiny_model, write_hf
from tiny_sparse import FAMILY_CONFIGS, tiny_sparse

from pocketseek.apps.catalogue import QUANTS, CatalogueModel, catalogue, needs_of_installed, parse_catalogue
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.convert.recipe import Quant
from pocketseek.errors import FormatError
from pocketseek.package.manifest import read_manifest
from pocketseek.package.model_fields import expected_tensors

FILE = Path(parse_catalogue.__code__.co_filename).parent / "catalogue.json"


@pytest.mark.parametrize("model", catalogue(), ids=lambda one: one.name)
def test_the_shape_has_as_many_weights_as_are_published(model: CatalogueModel) -> None:
    shapes = expected_tensors(model.shape) or {}
    num_weights = sum(
        shape[0] * (shape[1] if len(shape) == 2 else 1) for name, shape in shapes.items() if name != "rope.inv_freq"
    )
    assert num_weights == model.parameters


@pytest.mark.parametrize("quant", QUANTS)
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "deepseek_v2", "deepseek_v3", "qwen3_moe"])
def test_computed_sizes_are_those_of_a_package(family: str, quant: Quant, tmp_path: Path) -> None:
    tiny = tiny_sparse(family) if family in FAMILY_CONFIGS else tiny_model(family)
    package = convert_checkpoint(
        write_hf(tmp_path / "source", tiny, dtype="BF16"), tmp_path / "package", quant=quant, models_dir=tmp_path
    )
    manifest = read_manifest(package)
    real = needs_of_installed(manifest)
    model = CatalogueModel(
        "tiny",
        "",
        1,
        manifest.files["tokenizer.json"].num_bytes,
        manifest.model,
        1,
    )
    computed = model.needs(quant)
    chunk_bytes = sum(chunk.num_bytes for chunk in manifest.chunks)
    assert computed.package_bytes == chunk_bytes + manifest.files["tokenizer.json"].num_bytes
    assert computed.weights_bytes == real.weights_bytes
    assert computed.multiply_adds == real.multiply_adds
    assert computed.experts == real.experts
    assert computed.attention_multiply_adds == real.attention_multiply_adds > 0
    assert computed.vocab_size == real.vocab_size
    assert (computed.page_bytes, computed.base_bytes) == (real.page_bytes, real.base_bytes)


def test_fewer_bits_are_smaller_and_larger_models_larger() -> None:
    by_name = {model.name: model for model in catalogue()}
    sizes = [by_name[name].needs("q4").package_bytes for name in ("r1-1.5b", "r1-7b", "r1-14b", "r1-32b")]
    assert sizes == sorted(sizes)
    assert by_name["r1-7b"].needs("q4").package_bytes < 0.65 * by_name["r1-7b"].needs("q8").package_bytes
    lite = by_name["v2-lite"].needs("q4-pure")
    assert lite.token_bytes < lite.weights_bytes / 6
    assert lite.least_weight_bytes < 0.7e9
    large = by_name["r1"].needs("q4")
    assert 350e9 < large.package_bytes < 355e9
    assert large.token_bytes < large.weights_bytes / 16


def broken(change: object) -> bytes:
    value = json.loads(FILE.read_bytes())
    change(value)  # type: ignore[operator]  # a function
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.update(format=2),
        lambda value: value.update(models={}),
        lambda value: value["models"][0].pop("parameters"),
        lambda value: value["models"][0].update(more=1),
        lambda value: value["models"][0]["shape"].update(num_layers=0),
        lambda value: value["models"][0].update(shape=None),
        lambda value: value["models"].append(value["models"][0]),
    ],
)
def test_a_catalogue_that_is_not_as_it_should_be_is_refused(change: object) -> None:
    with pytest.raises(FormatError):
        parse_catalogue(broken(change))


def test_the_whole_family_is_in_it() -> None:
    by_name = {model.name: model for model in catalogue()}
    assert len(by_name) == 14
    assert by_name["demo"].needs("q4").checkpoint_bytes == 98_362_432 + by_name["demo"].tokenizer_bytes
