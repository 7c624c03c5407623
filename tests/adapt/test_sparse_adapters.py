"""Adapters of models with latent attention and shared experts: as packages, merged, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from adapt.test_add import read_pair
from peft_folders import Tensors, peft_config, write_peft
from tiny_models import TinyModel, write_hf
from tiny_sparse import tiny_sparse

from pocketseek.adapt.add import add_adapter
from pocketseek.adapt.merge import merge_adapter
from pocketseek.convert.families.sparse_names import layer_source_name
from pocketseek.convert.package_weights import PackageWeights
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.errors import FormatError, PocketseekError, UnsupportedError, UsageError
from pocketseek.package.adapter_layout import SCALES, adapter_targets
from pocketseek.package.reader import Package
from pocketseek.runtime.load import load

MODELS: dict[str, TinyModel] = {
    "q-rank": tiny_sparse("deepseek_v2"),
    "plain-q": tiny_sparse("deepseek_v3", q_lora_rank=None),
    "halves": tiny_sparse("deepseek_v3", rope_interleave=False),
}


def module_of(layer: int, target: str) -> str:
    return layer_source_name(layer, target, "safetensors").removesuffix(".weight")


def tensors_of(model: TinyModel, package: Path, *, size: float = 0.2) -> Tensors:
    """Of every target of every layer."""
    rng, tensors = np.random.default_rng(2), {}
    with Package.open(package) as opened:
        shapes = opened.manifest.model
    for layer in range(shapes.num_layers):
        for target in adapter_targets(shapes, layer):
            module = module_of(layer, target)
            outputs, inputs = model.weights[f"{module}.weight"].shape
            for part, shape in (("A", (4, inputs)), ("B", (outputs, 4))):
                values = rng.normal(0, size, shape).astype(np.float32)
                tensors[f"base_model.model.{module}.lora_{part}.weight"] = ("F32", values)
    return tensors


@pytest.fixture(scope="module", params=MODELS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[TinyModel, Path, Tensors]:
    """A checkpoint, its package `models/base`, and the adapter beside it as `models/ad`."""
    model, folder = MODELS[request.param], tmp_path_factory.mktemp("made")
    base = convert_checkpoint(
        write_hf(folder / "hf", model), folder / "models" / "base", quant="keep", models_dir=folder / "models"
    )
    tensors = tensors_of(model, base)
    add_adapter(write_peft(folder / "p", tensors=tensors), base, folder / "models" / "ad")
    return model, folder, tensors


def test_merged_weights_are_what_converting_the_sum_gives(made: tuple[TinyModel, Path, Tensors]) -> None:
    """The checkpoint plus B A under Hugging Face's names, converted: rotary rows, k_b and v_b come out the same."""
    model, folder, tensors = made
    weights = dict(model.weights)
    for name, (_, a) in tensors.items():
        if name.endswith("lora_A.weight"):
            module = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            b = tensors[name.replace("lora_A", "lora_B")][1]
            weights[f"{module}.weight"] = weights[f"{module}.weight"] + 2 * b @ a  # alpha 8, rank 4
    models = folder / "models"
    summed = TinyModel(model.family, model.config, weights)
    expected = convert_checkpoint(write_hf(folder / "sum", summed), models / "sum", quant="keep", models_dir=models)
    merge_adapter(models / "base", models / "ad", models / "m", name="m")
    with Package.open(expected) as one, Package.open(models / "m") as two:
        wanted, found = PackageWeights(one), PackageWeights(two)
        for entry in one.manifest.tensors:
            if len(entry.shape) == 2:
                difference = np.abs(wanted.matrix(entry.name) - found.matrix(entry.name)).max()
                assert difference < 4e-3, entry.name  # A and B are F32 here, and f16 in the package
    scores = []
    for name, adapter in (("sum", None), ("base", "ad"), ("base", None)):
        with load(models / name, adapter=None if adapter is None else str(models / adapter)) as engine:
            scores.append(engine.score(engine.encode_prompt("hello there")))
    assert np.allclose(scores[0], scores[1], atol=2e-2)
    assert not np.allclose(scores[0], scores[2], atol=0.2)


def test_the_package_has_scales_of_all_targets(made: tuple[TinyModel, Path, Tensors]) -> None:
    _, folder, tensors = made
    with Package.open(folder / "models" / "ad") as package:
        assert package.tensor(SCALES).shape == (2 * 14,)
        module = module_of(1, "shared_up")
        a, b = (tensors[f"base_model.model.{module}.lora_{part}.weight"][1] for part in ("A", "B"))
        assert np.allclose(read_pair(package, 1, "shared_up"), 2 * b @ a, atol=2e-3)


def test_one_of_dense_matrices_alone_is_as_it_was(made: tuple[TinyModel, Path, Tensors], tmp_path: Path) -> None:
    _, folder, tensors = made
    dense = {name: one for name, one in tensors.items() if "layers.0.mlp" in name}
    add_adapter(write_peft(tmp_path / "p", tensors=dense), folder / "models" / "base", tmp_path / "ad")
    with Package.open(tmp_path / "ad") as package:
        assert package.tensor(SCALES).shape == (2 * 7,)


@pytest.mark.parametrize(
    ("module", "error", "said"),
    [
        ("model.layers.1.mlp.experts.3.gate_proj", UnsupportedError, "attention and shared experts only"),
        ("model.layers.1.mlp.experts.base_layer", UnsupportedError, "attention and shared experts only"),
        ("model.layers.1.mlp.gate", UnsupportedError, "attention and shared experts only"),
        ("model.layers.1.mlp.gate_proj", UsageError, "does not have"),
        ("model.layers.1.self_attn.k_proj", UsageError, "does not have"),
        ("model.layers.7.self_attn.kv_b_proj", UsageError, "more than 2 layers"),
        ("model.layers.9999999.self_attn.kv_b_proj", UnsupportedError, "of layers"),
        ("model.layers.1.self_attn.kv_a_layernorm", UnsupportedError, "attention, MLP and shared experts"),
    ],
)
def test_what_cannot_be_changed_is_refused_in_one_line(
    made: tuple[TinyModel, Path, Tensors], tmp_path: Path, module: str, error: type[PocketseekError], said: str
) -> None:
    _, folder, _ = made
    pair = {
        f"base_model.model.{module}.lora_{part}.weight": ("F32", np.ones(shape, np.float32))
        for part, shape in (("A", (4, 64)), ("B", (64, 4)))
    }
    source = write_peft(tmp_path / "p", tensors=pair)
    with pytest.raises(error, match=said) as caught:
        add_adapter(source, folder / "models" / "base", tmp_path / "ad")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ad").exists()


def test_kv_b_of_another_size_is_refused(made: tuple[TinyModel, Path, Tensors], tmp_path: Path) -> None:
    _, folder, tensors = made
    module = module_of(0, "kv_b")
    pair = {name: one for name, one in tensors.items() if module in name}
    name = next(name for name in pair if "lora_B" in name)
    pair[name] = ("F32", pair[name][1][:-16])
    source = write_peft(tmp_path / "p", tensors=pair)
    with pytest.raises(UsageError, match="name the model it was made for"):
        add_adapter(source, folder / "models" / "base", tmp_path / "ad")


def test_parameters_of_fused_experts_are_refused(made: tuple[TinyModel, Path, Tensors], tmp_path: Path) -> None:
    _, folder, tensors = made
    config = peft_config(target_parameters=["gate_up_proj"])
    source = write_peft(tmp_path / "p", config=config, tensors=tensors)
    with pytest.raises(UnsupportedError, match="target_parameters"):
        add_adapter(source, folder / "models" / "base", tmp_path / "ad")


def test_a_shorter_list_of_scales_is_refused(made: tuple[TinyModel, Path, Tensors], tmp_path: Path) -> None:
    _, folder, _ = made
    path = folder / "models" / "ad" / "manifest.json"
    text = path.read_text()
    assert "[28]" in text
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "manifest.json").write_text(text.replace("[28]", "[14]"))
    with pytest.raises(FormatError):
        Package.open(copy)
