"""A PEFT folder becomes an adapter package, or one line says why not and nothing is left behind."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from checkpoints import safetensors_file
from hypothesis import given
from hypothesis import strategies as st
from peft_folders import module_name, peft_config, peft_tensors, write_peft
from tiny_models import tiny_hf_directory, tiny_model

from pocketseek.adapt.add import add_adapter, scaled_halves
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.errors import FormatError, NotFoundError, PocketseekError, UnsupportedError, UsageError
from pocketseek.kernels.adapter_lanes import plain_values
from pocketseek.kernels.contract import TensorData
from pocketseek.package.adapter_layout import SCALES, scale_index
from pocketseek.package.reader import Package

Q0 = f"base_model.model.{module_name(0, 'q')}"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    return convert_checkpoint(tiny_hf_directory(folder / "hf"), folder / "tiny", quant="q8", models_dir=folder)


def read_pair(package: Package, layer: int, target: str) -> np.ndarray:
    """scale * B A, as the package has it."""
    values = []
    for part in ("a", "b"):
        stored = package.tensor(f"layer.{layer}.{target}.{part}")
        parts = tuple((one.first_tile, one.data) for one in stored.parts)
        values.append(plain_values(TensorData(stored.format, stored.shape, parts)))
    scale = (
        package.tensor(SCALES)
        .parts[0]
        .data.view(np.float32)[scale_index(package.manifest.model.num_layers, layer, target)]
    )
    return scale * values[1].T @ values[0]


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_the_package_holds_what_the_folder_held(base: Path, tmp_path: Path, dtype: str) -> None:
    tensors = peft_tensors(tiny_model(), dtype=dtype)
    error = add_adapter(write_peft(tmp_path / "peft", tensors=tensors), base, tmp_path / "ad")
    assert error < (1e-3 if dtype == "F32" else 3e-3)  # against what was stored; F32 in the test's hands is rounded
    with Package.open(tmp_path / "ad") as package:
        assert package.manifest.adapter is not None
        assert package.manifest.adapter.name == "tiny"
        assert {tensor.format for tensor in package.manifest.tensors if len(tensor.shape) == 2} == {"f16"}
        for layer in (0, 1):
            for target in ("q", "down"):
                prefix = f"base_model.model.{module_name(layer, target)}"
                a, b = (tensors[f"{prefix}.lora_{part}.weight"][1] for part in ("A", "B"))
                expected = 2.0 * b @ a
                assert np.allclose(read_pair(package, layer, target), expected, atol=1e-2 * np.abs(expected).max())


@given(st.floats(1e-30, 1e30), st.integers(0, 2**32 - 1))
def test_values_of_any_size_keep_eleven_bits(size: float, seed: int) -> None:
    values = (np.random.default_rng(seed).uniform(0.5, 1, (3, 5)) * size).astype(np.float32)
    halves, exponent = scaled_halves(values)
    back = np.ldexp(halves.astype(np.float64), exponent)
    assert np.abs(back / values - 1).max() <= 2**-11


def test_matrices_of_zeros_stay_zeros() -> None:
    halves, exponent = scaled_halves(np.zeros((2, 3), np.float32))
    assert not halves.any()
    assert exponent == 0


def refused(base: Path, folder: Path, error: type[PocketseekError]) -> str:
    destination = folder.parent / "destination"
    with pytest.raises(error) as caught:
        add_adapter(folder, base, destination)
    assert not destination.exists()
    assert [path.name for path in folder.parent.iterdir() if "destination" in path.name] == []
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_adapter_of_another_model_is_refused(base: Path, tmp_path: Path) -> None:
    other = peft_tensors(tiny_model(hidden=96))
    assert "name the model it was made for" in refused(base, write_peft(tmp_path / "p", tensors=other), UsageError)


def test_an_adapter_of_a_deeper_model_is_refused(base: Path, tmp_path: Path) -> None:
    deeper = peft_tensors(tiny_model(num_layers=5))
    assert "more than 2 layers" in refused(base, write_peft(tmp_path / "p", tensors=deeper), UsageError)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(base: Path, tmp_path: Path, value: float) -> None:
    tensors = peft_tensors(tiny_model())
    tensors[f"{Q0}.lora_B.weight"][1][0, 0] = value
    assert "not finite" in refused(base, write_peft(tmp_path / "p", tensors=tensors), FormatError)


def test_a_truncated_file_is_refused(base: Path, tmp_path: Path) -> None:
    folder = write_peft(tmp_path / "p")
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    assert "damaged" in refused(base, folder, FormatError)


@pytest.mark.parametrize(
    "header",
    [
        {"x": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}},
        {f"{Q0}.lora_A.weight": {"dtype": "F32", "shape": [4, 64], "data_offsets": [0, 10**15]}},
        {f"{Q0}.lora_A.weight": {"dtype": "F32", "shape": [-4, 64], "data_offsets": [0, 4]}},
        {},
    ],
)
def test_hostile_headers_are_refused(base: Path, tmp_path: Path, header: object) -> None:
    folder = write_peft(tmp_path / "p")
    (folder / "adapter_model.safetensors").write_bytes(safetensors_file(header, b"\0" * 4 if header else b""))
    refused(base, folder, FormatError)


@given(data=st.data())
def test_any_flipped_byte_gives_an_adapter_or_one_line(
    base: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = write_peft(tmp_path_factory.mktemp("flip") / "p", targets=("q",))
    path = folder / data.draw(st.sampled_from(["adapter_model.safetensors", "adapter_config.json"]))
    raw = bytearray(path.read_bytes())
    raw[data.draw(st.integers(0, min(len(raw), 2000) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    with suppress(PocketseekError):
        add_adapter(folder, base, folder.parent / "destination")
        return
    assert not (folder.parent / "destination").exists()


def test_a_pickle_is_refused_unopened(base: Path, tmp_path: Path) -> None:
    folder = write_peft(tmp_path / "p")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    assert "pickle" in refused(base, folder, UnsupportedError)


def test_a_folder_without_an_adapter_is_refused(base: Path, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    assert "adapter_config.json" in refused(base, tmp_path / "p", NotFoundError)
    (tmp_path / "p" / "adapter_config.json").write_text("{")
    refused(base, tmp_path / "p", FormatError)
    (tmp_path / "p" / "adapter_config.json").write_text(json.dumps(peft_config()))
    refused(base, tmp_path / "p", NotFoundError)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("base_model.model.lm_head.lora_A.weight", "lm_head"),
        ("base_model.model.model.embed_tokens.lora_embedding_A", "embedding or head"),
        (f"{Q0}.lora_magnitude_vector.weight", "DoRA"),
        ("base_model.model.model.layers.0.input_layernorm.lora_A.weight", "input_layernorm"),
        ("base_model.model.model.layers.0.self_attn.rotary_emb.lora_A.weight", "rotary_emb"),
        ("something.else", "something.else"),
    ],
)
def test_what_else_it_may_train_is_refused(base: Path, tmp_path: Path, name: str, said: str) -> None:
    tensors = peft_tensors(tiny_model(), targets=("q",))
    tensors[name] = ("F32", np.zeros((4, 64), np.float32))
    assert said in refused(base, write_peft(tmp_path / "p", tensors=tensors), UnsupportedError)


def test_matrices_of_latent_attention_are_refused_for_a_dense_model(base: Path, tmp_path: Path) -> None:
    tensors = peft_tensors(tiny_model(), targets=("q",))
    tensors["base_model.model.model.layers.0.self_attn.kv_b_proj.lora_A.weight"] = (
        "F32",
        np.zeros((4, 64), np.float32),
    )
    assert "does not have" in refused(base, write_peft(tmp_path / "p", tensors=tensors), UsageError)


def test_half_a_pair_and_wrong_ranks_are_refused(base: Path, tmp_path: Path) -> None:
    tensors = peft_tensors(tiny_model(), targets=("q",))
    del tensors[f"{Q0}.lora_B.weight"]
    assert "only one of A and B" in refused(base, write_peft(tmp_path / "p", tensors=tensors), FormatError)
    folder = write_peft(tmp_path / "r", config=peft_config(r=5))
    assert "not of rank 5" in refused(base, folder, FormatError)


def test_an_adapter_is_no_base(base: Path, tmp_path: Path) -> None:
    add_adapter(write_peft(tmp_path / "p"), base, tmp_path / "ad")
    with pytest.raises(FormatError, match="is an adapter for tiny, not a model"):
        add_adapter(tmp_path / "p", tmp_path / "ad", tmp_path / "other")
