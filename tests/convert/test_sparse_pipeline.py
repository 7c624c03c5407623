"""Conversion of checkpoints with experts and latent attention: what is in the package, in what form, at what memory."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
import tracemalloc
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from convert.test_pipeline import values_in
from fp8_checkpoints import QUANTISATION, write_fp8
from sparse_gguf import write_sparse_gguf
from tiny_models import TinyModel, write_hf
from tiny_sparse import FAMILY_CONFIGS, YARN, tiny_sparse

from pocketseek.convert.export_package import export_package
from pocketseek.convert.families.choose import choose_planner
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.convert.slabs import read_matrix, read_vector
from pocketseek.convert.sources.open import open_source
from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.package.expert_layout import expert_extents
from pocketseek.package.reader import Package
from pocketseek.package.store import ModelStore
from pocketseek.package.verify import verify_package

FAMILIES = tuple(FAMILY_CONFIGS)
MEGABYTE = 1 << 20


def convert(source: Path, tmp_path: Path, name: str = "m", **options: object) -> Path:
    return convert_checkpoint(source, models_dir=tmp_path / "models", name=name, **options)  # type: ignore[arg-type]


def expected_values(path: Path) -> dict[str, np.ndarray]:
    with closing(open_source(path)) as source:
        plan = choose_planner(source)(source)
        return {
            tensor.name: read_vector(source, tensor) if len(tensor.shape) == 1 else read_matrix(source, tensor)
            for tensor in plan.tensors
        }


def model_of(family: str) -> TinyModel:
    return tiny_sparse(family, rope_scaling=YARN if family.startswith("deepseek") else None)


def halves_first(rows: np.ndarray, rope_dim: int) -> np.ndarray:
    """Rotary rows at the end of a head, from pairs to halves, one by one."""
    ordered = rows.copy()
    first = len(rows) - rope_dim
    for pair in range(rope_dim // 2):
        ordered[first + pair], ordered[first + rope_dim // 2 + pair] = (
            rows[first + 2 * pair],
            rows[first + 2 * pair + 1],
        )
    return ordered


@pytest.mark.parametrize("split_kv_b", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_all_forms_of_a_checkpoint_give_the_same_tensors(family: str, split_kv_b: bool, tmp_path: Path) -> None:
    model = model_of(family)
    directory = convert(write_hf(tmp_path / "hf", model), tmp_path, "hf", quant="keep")
    gguf = convert(write_sparse_gguf(tmp_path / "m.gguf", model, split_kv_b=split_kv_b), tmp_path, "gguf")
    with Package.open(directory) as left, Package.open(gguf) as right:
        assert left.manifest.quality["exact"] is True
        for tensor in left.manifest.tensors:
            assert values_in(left, tensor.name).tobytes() == values_in(right, tensor.name).tobytes(), tensor.name


def test_latent_matrices_are_split_ordered_and_transposed(tmp_path: Path) -> None:
    model = tiny_sparse("deepseek_v2")
    weights = {name.removeprefix("model.layers.1.self_attn."): array for name, array in model.weights.items()}
    with Package.open(convert(write_hf(tmp_path / "hf", model), tmp_path, quant="keep")) as package:
        heads = np.split(weights["q_b_proj.weight"], 4)
        expected = np.concatenate([halves_first(head, 16) for head in heads])
        np.testing.assert_array_equal(values_in(package, "layer.1.q_b"), expected)
        compressed = halves_first(weights["kv_a_proj_with_mqa.weight"], 16)
        np.testing.assert_array_equal(values_in(package, "layer.1.kv_a"), compressed)
        by_head = weights["kv_b_proj.weight"].reshape(4, 64, 32)
        keys, values = values_in(package, "layer.1.k_b"), values_in(package, "layer.1.v_b")
        for head in range(4):
            np.testing.assert_array_equal(keys[head * 32 : head * 32 + 32], by_head[head, :32].T)
            np.testing.assert_array_equal(values[head * 32 : head * 32 + 32], by_head[head, 32:])


@pytest.mark.parametrize("quant", ["q4", "q8", "keep"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_expert_can_be_read_alone(family: str, quant: str, tmp_path: Path) -> None:
    package = convert(write_hf(tmp_path / "hf", model_of(family), dtype="BF16"), tmp_path, quant=quant)
    verify_package(package, full=True)
    with Package.open(package) as opened:
        for layer in range(2):
            extents = expert_extents(opened.manifest, layer)
            assert len(extents) == (8 if opened.manifest.model.has_experts(layer) else 0)
            for expert, extent in enumerate(extents):
                run = opened.chunk(extent.chunk)[extent.offset : extent.offset + extent.num_bytes]
                gate, down = (opened.tensor(f"experts.{layer}.{expert}.{part}").parts for part in ("gate", "down"))
                assert run[: len(gate[0].data)].tobytes() == gate[0].data.tobytes()
                assert run[-len(down[0].data) :].tobytes() == down[0].data.tobytes()


def formats_of(package: Path) -> dict[str, str]:
    with Package.open(package) as opened:
        return {tensor.name: tensor.format for tensor in opened.manifest.tensors}


def test_routers_keep_their_precision_and_latents_eight_bits(tmp_path: Path) -> None:
    formats = formats_of(
        convert(write_hf(tmp_path / "hf", model_of("deepseek_v3"), dtype="BF16"), tmp_path, quant="q4")
    )
    assert formats["layer.1.router"] == "f32"
    assert formats["layer.1.k_b"] == formats["layer.1.v_b"] == "q8s"
    assert formats["experts.1.3.down"] == formats["layer.1.kv_a"] == formats["layer.1.shared_up"] == "q4p"
    assert formats["head.weight"] == "q6s"


@pytest.mark.parametrize("split_kv_b", [True, False])
def test_a_quantised_gguf_is_kept_and_only_a_transposed_half_rounded_anew(split_kv_b: bool, tmp_path: Path) -> None:
    gguf = write_sparse_gguf(tmp_path / "m.gguf", model_of("deepseek_v2"), type_name="Q8_0", split_kv_b=split_kv_b)
    package = convert(gguf, tmp_path)
    expected = expected_values(gguf)
    with Package.open(package) as opened:
        for name, values in expected.items():
            stored = values_in(opened, name)
            if name.endswith(".k_b") and not split_kv_b:
                assert not np.array_equal(stored, values)
                assert np.sqrt(np.mean((stored - values) ** 2) / np.mean(values**2)) < 0.01
            else:
                assert stored.tobytes() == values.tobytes(), name


@pytest.mark.parametrize("family", ["deepseek_v3", "qwen3_moe"])
def test_fp8_weights_are_read_with_their_scales(family: str, tmp_path: Path) -> None:
    model = model_of(family)
    config = model.config | {"quantization_config": QUANTISATION}
    directory = write_hf(tmp_path / "hf", replace(model, config=config))
    is_fp8 = {
        name: array.ndim == 2 and not name.endswith(("mlp.gate.weight", "embed_tokens.weight", "lm_head.weight"))
        for name, array in model.weights.items()
    }
    matrices = {name: array for name, array in model.weights.items() if is_fp8[name]}
    stored = write_fp8(directory, matrices, {name: array for name, array in model.weights.items() if not is_fp8[name]})
    plain = write_hf(tmp_path / "plain", replace(model, weights=model.weights | stored))
    expected = expected_values(plain)
    with Package.open(convert(directory, tmp_path, quant="keep")) as package:
        assert {tensor.format for tensor in package.manifest.tensors} == {"f16", "f32"}
        for name, values in expected.items():
            np.testing.assert_allclose(values_in(package, name), values, rtol=2**-11, atol=2**-25, err_msg=name)


def test_fp8_without_scales_is_incomplete(tmp_path: Path) -> None:
    model = tiny_sparse("deepseek_v3")
    name = "model.layers.1.mlp.experts.0.up_proj.weight"
    directory = write_hf(tmp_path / "hf", model)
    others = {key: array for key, array in model.weights.items() if key != name}
    write_fp8(directory, {name: model.weights[name]}, others)
    data = (directory / "model.safetensors").read_bytes()
    (directory / "model.safetensors").write_bytes(data.replace(b"weight_scale_inv", b"weight_scale_xxx"))
    with pytest.raises(FormatError, match="scale_inv"):
        convert(directory, tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"calibration": ["x" * 5000]}, "leave --calibrate out"),
        ({"target_bytes": 10**6}, "formats for a size .* use --quant q4-pure"),
        ({"bits": 5.0}, "formats for a size .* use --quant q4-pure"),
        ({"checks": {"en": "x" * 5000}}, "--check"),
    ],
)
def test_what_only_dense_models_can_do_is_refused_before_anything_is_written(
    options: dict[str, object], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedError, match=words) as refusal:
        convert(write_hf(tmp_path / "hf", model_of("deepseek_v2")), tmp_path, **options)
    assert "\n" not in str(refusal.value)
    assert ModelStore(tmp_path / "models").list() == []


def test_export_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    source = write_hf(tmp_path / "hf", model_of("qwen3_moe"))
    package = convert(source, tmp_path)
    with pytest.raises(UnsupportedError, match="export is not there yet"):
        export_package(package, tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


def write_sparse_file(directory: Path, model: TinyModel, **sizes: int) -> Path:
    """A BF16 checkpoint of zeros, of the model's form but in other sizes, that takes no room on the disk."""
    write_hf(directory, model)
    config = model.config | sizes
    (directory / "config.json").write_text(json.dumps(config))
    hidden, inner = sizes["hidden_size"], sizes["moe_intermediate_size"]
    widths = {"experts": inner, "shared_experts": 2 * inner, "mlp": sizes["intermediate_size"]}
    header, end = {}, 0
    for name in model.weights:
        shape = _shape_of(name, config, hidden, widths)
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with open(directory / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return directory


def _shape_of(name: str, config: dict[str, Any], hidden: int, widths: dict[str, int]) -> tuple[int, ...]:
    """Of a model without q_lora."""
    heads, rank, nope, rope, value = (
        config[key]
        for key in ("num_attention_heads", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    )
    part = name.removesuffix(".weight").rsplit(".", 1)[-1]
    attention = {
        "q_proj": (heads * (nope + rope), hidden),
        "kv_a_proj_with_mqa": (rank + rope, hidden),
        "kv_a_layernorm": (rank,),
        "kv_b_proj": (heads * (nope + value), rank),
        "o_proj": (hidden, heads * value),
        "gate": (config["n_routed_experts"], hidden),
        "embed_tokens": (config["vocab_size"], hidden),
        "lm_head": (config["vocab_size"], hidden),
    }
    if part in attention:
        return attention[part]
    if part not in ("gate_proj", "up_proj", "down_proj"):
        return (hidden,)
    inner = next(width for place, width in widths.items() if f".{place}." in name)
    return (hidden, inner) if part == "down_proj" else (inner, hidden)


def test_memory_follows_neither_the_expert_nor_their_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = tiny_sparse("deepseek_v2", q_lora_rank=None, n_routed_experts=4)
    directory = write_sparse_file(
        tmp_path / "hf", tiny, hidden_size=512, intermediate_size=96, moe_intermediate_size=704
    )
    assert (directory / "model.safetensors").stat().st_size > 12 * MEGABYTE
    monkeypatch.setattr("pocketseek.convert.slabs._SLAB_VALUES", 1 << 15)
    tracemalloc.start()
    try:
        convert(directory, tmp_path, quant="q4")
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 5 * MEGABYTE  # an expert has 2.2 MB as stored, 4.3 MB as float32


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_layers_of_deepseek_v2_lite_are_converted_within_600_mb(tmp_path: Path) -> None:
    """Two of its 27 layers, 16 of 64 experts, half of the embedding: memory follows none of these numbers."""
    tiny = tiny_sparse("deepseek_v2", num_layers=2, q_lora_rank=None, n_routed_experts=16)
    directory = write_sparse_file(
        tmp_path / "hf",
        tiny,
        hidden_size=2048,
        intermediate_size=10944,
        moe_intermediate_size=1408,
        num_attention_heads=16,
        vocab_size=51200,
        kv_lora_rank=512,
        qk_nope_head_dim=128,
        qk_rope_head_dim=64,
        v_head_dim=128,
    )
    assert (directory / "model.safetensors").stat().st_size > 8e8
    script = (
        "import resource, sys; from pathlib import Path; from pocketseek.convert.pipeline import convert_checkpoint\n"
        "convert_checkpoint(sys.argv[1], models_dir=Path(sys.argv[2]), name='m', quant='q4')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, directory, tmp_path], check=True, capture_output=True, text=True
    )
    print(f"{run.stdout.strip()} MiB", file=sys.stderr)
    assert int(run.stdout) < 600
