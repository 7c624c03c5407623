from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import encode, random_blocks, write_gguf
from tiny_models import (
    TinyModel,
    gguf_metadata,
    gguf_tensor_name,
    tiny_gguf,
    tiny_hf_directory,
    tiny_model,
    write_hf,
    write_model_gguf,
)

from pocketseek.convert import conversion
from pocketseek.convert.families.choose import choose_planner
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.convert.recipe import KEEP_FORMATS, Quant
from pocketseek.convert.sources.open import open_source
from pocketseek.errors import FormatError, NotFoundError, StorageError, UnsupportedError, UsageError
from pocketseek.kernels.contract import TensorData
from pocketseek.kernels.reference import dequantise, unpack_matrix
from pocketseek.package.reader import Package
from pocketseek.package.store import ModelStore
from pocketseek.package.verify import verify_package

DAY = date(2025, 1, 31)
EXACT_TYPES = ("F32", "F16", "Q4_0", "Q4_1", "Q5_0", "Q8_0")
Convert = Callable[..., Path]


@pytest.fixture
def convert(tmp_path: Path) -> Convert:
    def convert_it(source: Path, **options: Any) -> Path:
        return convert_checkpoint(source, **{"models_dir": tmp_path / "models", "converted_on": DAY, **options})

    return convert_it


def values_in(package: Package, name: str) -> np.ndarray:
    """By the reference kernels' own unpacking."""
    stored = package.tensor(name)
    parts = tuple((part.first_tile, part.data) for part in stored.parts)
    data = TensorData(stored.format, stored.shape, parts)
    return data.vector() if len(stored.shape) == 1 else dequantise(unpack_matrix(data), stored.shape[1])


def slow_unpermute(rows: np.ndarray, head_dim: int) -> np.ndarray:
    ordered = np.empty_like(rows)
    for row in range(len(rows)):
        head, place = divmod(row, head_dim)
        partner, index = divmod(place, head_dim // 2)
        ordered[row] = rows[head * head_dim + 2 * index + partner]
    return ordered


def source_values(path: Path) -> dict[str, np.ndarray]:
    """What a package of this checkpoint must hold, by canonical name, in the package's row order."""
    with closing(open_source(path)) as source:
        values = {}
        for tensor in choose_planner(source)(source).tensors:
            rows = source.read_rows(tensor.source_name, 0, tensor.shape[0])
            values[tensor.name] = slow_unpermute(rows, tensor.picks.paired) if tensor.picks else rows
    return values


def files_under(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }


def assert_no_trace(models_dir: Path) -> None:
    store = ModelStore(models_dir)
    assert store.list() == []
    assert store.list_broken() == []
    assert not models_dir.exists() or [name for name in os.listdir(models_dir) if not name.endswith("-lock")] == []


# --- what is in the package ---


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("type_name", EXACT_TYPES)
def test_every_tensor_of_an_exact_import_is_the_sources_bit_for_bit(
    family: str, type_name: str, tmp_path: Path, convert: Convert
) -> None:
    gguf = write_model_gguf(tmp_path / "model.gguf", tiny_model(family), type_name=type_name)
    with Package.open(convert(gguf)) as package:
        for name, values in source_values(gguf).items():
            assert values_in(package, name).tobytes() == values.tobytes(), name
        assert package.manifest.quality["exact"] is True


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_safetensors_kept_are_bit_for_bit_the_same(family: str, dtype: str, tmp_path: Path, convert: Convert) -> None:
    directory = tiny_hf_directory(tmp_path / "hf", family, dtype=dtype)
    with Package.open(convert(directory, quant="keep")) as package:
        for name, values in source_values(directory).items():
            if dtype != "BF16":
                assert values_in(package, name).tobytes() == values.tobytes(), name
            np.testing.assert_allclose(values_in(package, name), values, rtol=0, atol=2**-25)
        assert {tensor.format for tensor in package.manifest.tensors} == {"f32", KEEP_FORMATS[dtype]}


@pytest.mark.parametrize("scaling", [None, {"rope_type": "linear", "factor": 2.0}])
@pytest.mark.parametrize("bias", [False, True])
def test_a_gguf_and_a_directory_of_the_same_weights_give_the_same_tensors(
    scaling: dict[str, object] | None, bias: bool, tmp_path: Path, convert: Convert
) -> None:
    model = tiny_model("llama", attention_bias=bias, rope_scaling=scaling)
    model = replace(model, weights={name: w for name, w in model.weights.items() if "o_proj.bias" not in name})
    from_hf = convert(write_hf(tmp_path / "hf", model), quant="q8", name="hf")
    from_gguf = convert(write_model_gguf(tmp_path / "model.gguf", model), quant="q8", name="gguf")
    assert files_under(from_hf / "chunks") == files_under(from_gguf / "chunks")


@pytest.mark.parametrize("type_name", ["BF16", "Q4_K", "Q5_1", "Q5_K", "Q6_K", "Q2_K", "Q3_K"])
def test_the_quality_report_states_the_measured_error(type_name: str, tmp_path: Path, convert: Convert) -> None:
    model = tiny_model("qwen2", hidden=256, intermediate=256, num_layers=1, num_heads=8)
    if type_name == "BF16":  # bfloat16 this small is no float16
        model = replace(model, weights={name: array * np.float32(1e-6) for name, array in model.weights.items()})
    gguf = write_model_gguf(tmp_path / "model.gguf", model, type_name=type_name)
    with Package.open(convert(gguf)) as package:
        format_name = KEEP_FORMATS[type_name]
        errors = {}
        for name, values in source_values(gguf).items():
            if values.ndim == 2:
                exact = values.astype(np.float64)
                errors[name] = ((values_in(package, name) - exact) ** 2).sum(), (exact**2).sum()
        quality: Any = package.manifest.quality
    pooled = np.sqrt(sum(error for error, _ in errors.values()) / sum(square for _, square in errors.values()))
    worst = max(errors, key=lambda name: errors[name][0] / errors[name][1])
    report = quality["formats"][format_name]
    assert quality["exact"] is False
    assert report["matrices"] == len(errors)
    assert report["relative_rms_error"] == pytest.approx(pooled, rel=2e-3)
    assert report["worst_tensor"] == worst


def test_q4_is_the_default_for_safetensors_with_six_bits_for_the_vocabulary(tmp_path: Path, convert: Convert) -> None:
    with Package.open(convert(tiny_hf_directory(tmp_path / "hf", dtype="BF16"))) as package:
        formats = {tensor.name: tensor.format for tensor in package.manifest.tensors}
        assert package.manifest.recipe == {"quant": "q4"}
    assert formats["embed.weight"] == formats["head.weight"] == "q6s"
    assert {formats[f"layer.0.{part}"] for part in ("q", "k", "v", "o", "gate", "up", "down")} == {"q4p"}
    assert {formats[name] for name in ("rope.inv_freq", "layer.1.attn_norm", "head.norm")} == {"f32"}


@pytest.mark.parametrize("quant", ["q4", "q8"])
@pytest.mark.parametrize("type_name", ["F32", "BF16", "Q8_0", "Q4_1", "Q4_0"])
def test_a_gguf_can_be_requantised(type_name: str, quant: Quant, tmp_path: Path, convert: Convert) -> None:
    gguf = write_model_gguf(tmp_path / "model.gguf", tiny_model(), type_name=type_name)
    bound = 0.14 if quant == "q4" else 0.012
    with Package.open(convert(gguf, quant=quant)) as package:
        for name, values in source_values(gguf).items():
            error = np.linalg.norm(values_in(package, name) - values) / np.linalg.norm(values)
            assert error < bound, name


def test_a_bf16_matrix_beyond_f16_becomes_f32_and_only_that_one(tmp_path: Path, convert: Convert) -> None:
    model = tiny_model()
    model.weights["model.layers.1.mlp.up_proj.weight"][5, 7] = 1e6
    directory = write_hf(tmp_path / "hf", model, dtype="BF16")
    with Package.open(convert(directory, quant="keep")) as package:
        wide = {tensor.name for tensor in package.manifest.tensors if tensor.format == "f32" and len(tensor.shape) == 2}
        assert values_in(package, "layer.1.up").tobytes() == source_values(directory)["layer.1.up"].tobytes()
    assert wide == {"layer.1.up"}


def test_tied_embeddings_are_stored_once_as_the_head(tmp_path: Path, convert: Convert) -> None:
    model = tiny_model("qwen2", tied=True)
    with Package.open(convert(write_hf(tmp_path / "hf", model), quant="keep")) as package:
        assert not package.has_tensor("embed.weight")
        np.testing.assert_array_equal(values_in(package, "head.weight"), model.weights["model.embed_tokens.weight"])


def test_shards_give_the_same_package_as_one_file(tmp_path: Path, convert: Convert) -> None:
    one = convert(tiny_hf_directory(tmp_path / "one"), name="one")
    three = convert(tiny_hf_directory(tmp_path / "three", num_shards=3), name="three")
    assert files_under(one / "chunks") == files_under(three / "chunks")


def test_odd_shapes_are_converted(tmp_path: Path, convert: Convert) -> None:
    model = tiny_model(hidden=36, intermediate=50, num_heads=3, num_kv_heads=1, head_dim=14, vocab=323)
    gguf = write_model_gguf(tmp_path / "model.gguf", model, type_name="F16")
    for quant in ("keep", "q4", "q8"):
        package_path = convert(gguf, quant=quant, name=quant)
        verify_package(package_path, full=True)
        with Package.open(package_path) as package:
            for name, values in source_values(gguf).items():
                np.testing.assert_allclose(values_in(package, name), values, atol=0.15)


def test_mixed_types_are_each_kept(tmp_path: Path, convert: Convert) -> None:
    model = tiny_model("qwen2", hidden=256, intermediate=256, num_heads=8)
    rng = np.random.default_rng(0)
    stored = {}
    types = ["Q4_0", "Q4_1", "Q8_0", "F16", "F32", "Q6_K", "Q4_K"]
    for name, array in model.weights.items():
        if array.ndim == 1:
            stored[gguf_tensor_name(name)] = ("F32", encode("F32", array))
        else:
            type_name = types[len(stored) % len(types)]
            plain = type_name.startswith("F")
            rows = encode(type_name, array) if plain else random_blocks(type_name, *array.shape, rng)
            stored[gguf_tensor_name(name)] = (type_name, rows)
    gguf = write_gguf(tmp_path / "model.gguf", gguf_metadata(model), stored)
    with Package.open(convert(gguf)) as package:
        for name, values in source_values(gguf).items():
            np.testing.assert_allclose(values_in(package, name), values, atol=0.01)


# --- names and places ---


def test_without_destination_the_model_is_installed_under_its_name(tmp_path: Path, convert: Convert) -> None:
    path = convert(tiny_gguf(tmp_path / "model.gguf"))
    assert path == tmp_path / "models" / "Tiny-llama"
    assert [model.name for model in ModelStore(tmp_path / "models").list()] == ["Tiny-llama"]


def test_a_given_name_is_used(tmp_path: Path, convert: Convert) -> None:
    assert convert(tiny_gguf(tmp_path / "model.gguf"), name="mine").name == "mine"


def test_a_destination_is_written_where_it_was_said(tmp_path: Path, convert: Convert) -> None:
    path = convert(tiny_gguf(tmp_path / "model.gguf"), destination=tmp_path / "elsewhere" / "my model")
    assert path == tmp_path / "elsewhere" / "my model"
    with Package.open(path) as package:
        assert package.manifest.name == "my-model"
    assert not (tmp_path / "models").exists()


def test_converting_again_replaces_the_package(tmp_path: Path, convert: Convert) -> None:
    gguf = tiny_gguf(tmp_path / "model.gguf")
    convert(gguf, name="m")
    path = convert(gguf, name="m", quant="q8")
    verify_package(path, full=True)
    with Package.open(path) as package:
        assert package.manifest.recipe == {"quant": "q8"}
        assert len(os.listdir(path / "chunks")) == len({chunk.sha256 for chunk in package.manifest.chunks})


def test_the_same_conversion_gives_the_same_bytes(tmp_path: Path, convert: Convert) -> None:
    gguf = tiny_gguf(tmp_path / "model.gguf", "qwen3", type_name="BF16")
    first = convert(gguf, destination=tmp_path / "a" / "m", quant="q4")
    second = convert(gguf, destination=tmp_path / "b" / "m", quant="q4")
    assert (first / "manifest.json").read_bytes() == (second / "manifest.json").read_bytes()
    assert files_under(first / "chunks") == files_under(second / "chunks")


def test_the_number_of_workers_and_the_slabs_do_not_show(
    tmp_path: Path, convert: Convert, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf = tiny_gguf(tmp_path / "model.gguf", type_name="BF16")
    chunks = []
    for num_workers, slab_values in [(1, 1 << 20), (4, 1 << 20), (3, 1)]:
        monkeypatch.setattr(conversion, "_MAX_WORKERS", num_workers)
        monkeypatch.setattr(conversion.os, "cpu_count", lambda: 8)
        monkeypatch.setattr("pocketseek.convert.slabs._SLAB_VALUES", slab_values)
        chunks.append(files_under(convert(gguf, quant="q4") / "chunks"))
    assert chunks[0] == chunks[1] == chunks[2]


def test_progress_counts_up_to_the_bytes_of_all_tensors(tmp_path: Path, convert: Convert) -> None:
    calls: list[tuple[str, int, int]] = []
    convert(tiny_gguf(tmp_path / "model.gguf"), progress=lambda *call: calls.append(call))
    done = [call[1] for call in calls]
    model_bytes = sum(array.nbytes for array in tiny_model().weights.values())
    assert done == sorted(done)
    assert calls[0][1:] == (0, model_bytes)
    assert calls[-1][1:] == (model_bytes, model_bytes)
    assert list(dict.fromkeys(call[0] for call in calls)) == ["embed", "layer.0", "layer.1", "head"]


# --- errors leave no trace ---


def broken_models(tmp_path: Path) -> dict[str, tuple[Path, type[Exception]]]:
    model = tiny_model()
    not_finite = replace(model, weights=model.weights | {"lm_head.weight": np.full((320, 64), np.nan, np.float32)})
    no_norm = replace(model, weights={name: w for name, w in model.weights.items() if name != "model.norm.weight"})
    bad_norm = replace(model, weights=model.weights | {"model.norm.weight": np.full(64, np.inf, np.float32)})
    moe: dict[str, object] = {"architectures": ["MixtralForCausalLM"]}
    paths = {
        "a value that is not finite in the last matrix": (not_finite, FormatError),
        "a vector that is not finite": (bad_norm, FormatError),
        "a missing tensor": (no_norm, FormatError),
        "an unknown architecture": (TinyModel("llama", model.config | moe, model.weights), UnsupportedError),
        "a setting out of range": (TinyModel("llama", model.config | {"rms_norm_eps": -1}, model.weights), FormatError),
    }
    return {
        why: (write_hf(tmp_path / f"hf{index}", broken), error)
        for index, (why, (broken, error)) in enumerate(paths.items())
    }


def test_a_broken_checkpoint_leaves_no_trace(tmp_path: Path, convert: Convert) -> None:
    for why, (path, error) in broken_models(tmp_path).items():
        with pytest.raises(error) as caught:
            convert(path)
        assert "\n" not in str(caught.value), why
        assert ";" in str(caught.value), why
        assert_no_trace(tmp_path / "models")


def test_a_checkpoint_that_becomes_shorter_while_read_leaves_no_trace(tmp_path: Path, convert: Convert) -> None:
    gguf = tiny_gguf(tmp_path / "model.gguf")

    def cut(stage: str, _done: int, _total: int) -> None:
        if stage == "layer.1":
            os.truncate(gguf, 60_000)

    with pytest.raises(FormatError):
        convert(gguf, progress=cut)
    assert_no_trace(tmp_path / "models")


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
@pytest.mark.parametrize("at_call", [0, 3, 17, 30])
def test_an_interruption_leaves_no_trace(
    error: type[BaseException], at_call: int, tmp_path: Path, convert: Convert
) -> None:
    calls = 0

    def interrupt(_stage: str, _done: int, _total: int) -> None:
        nonlocal calls
        calls += 1
        if calls > at_call:
            raise error

    with pytest.raises(error):
        convert(tiny_gguf(tmp_path / "model.gguf"), progress=interrupt)
    assert_no_trace(tmp_path / "models")


def test_an_interruption_keeps_the_package_that_was_there(tmp_path: Path, convert: Convert) -> None:
    path = convert(tiny_gguf(tmp_path / "old.gguf"), name="m")
    before = files_under(path)

    def interrupt(stage: str, _done: int, _total: int) -> None:
        if stage == "head":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(tiny_gguf(tmp_path / "new.gguf", "qwen2"), name="m", progress=interrupt)
    assert files_under(path) == before


def test_a_full_disk_is_found_before_anything_is_written(
    tmp_path: Path, convert: Convert, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf = tiny_gguf(tmp_path / "model.gguf")
    free_bytes = sum(array.nbytes for array in tiny_model().weights.values()) // 2
    usage = type("usage", (), {"free": free_bytes})
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage)
    calls: list[int] = []
    with pytest.raises(StorageError, match="free some space"):
        convert(gguf, progress=lambda *_: calls.append(1))
    assert not calls
    assert_no_trace(tmp_path / "models")


def test_a_destination_that_is_something_else_is_left_alone(tmp_path: Path, convert: Convert) -> None:
    directory = tiny_hf_directory(tmp_path / "hf")
    before = files_under(directory)
    with pytest.raises(UsageError):
        convert(directory, destination=directory)
    assert files_under(directory) == before


@pytest.mark.parametrize("name", ["", ".", "../m", "a/b", "-x", "a" * 101])
def test_an_impossible_name_is_refused(name: str, tmp_path: Path, convert: Convert) -> None:
    with pytest.raises(UsageError, match="cannot be a model name"):
        convert(tiny_gguf(tmp_path / "model.gguf"), name=name)
    assert_no_trace(tmp_path / "models")


def test_an_unknown_quant_is_refused(tmp_path: Path, convert: Convert) -> None:
    with pytest.raises(UsageError, match="q5"):
        convert(tiny_gguf(tmp_path / "model.gguf"), quant="q5")


def test_a_missing_checkpoint_is_not_found(tmp_path: Path, convert: Convert) -> None:
    with pytest.raises(NotFoundError):
        convert(tmp_path / "nothing.gguf")
    assert_no_trace(tmp_path / "models")
