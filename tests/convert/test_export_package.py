"""Packages as ONNX graphs: the same weights, the same answers, in every family and format, whole and in stages."""

from __future__ import annotations

import json
import resource
import shutil
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime.tools.mobile_helpers import usability_checker
from tiny_models import tiny_gguf, tiny_model, write_hf, write_model_gguf

from pocketseek.convert import export_package as exporting
from pocketseek.convert.export_package import GraphFormat, export_package
from pocketseek.convert.onnx import block_graph, data_files, decoder, stored_blocks
from pocketseek.convert.onnx.stored_blocks import Blocks, Quant, pieces_of
from pocketseek.convert.onnx_export import save_as_ort
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.convert.recipe import Quant as PackageQuant
from pocketseek.errors import StorageError, UnsupportedError, UsageError
from pocketseek.kernels.contract import TensorData
from pocketseek.kernels.reference import dequantise, unpack_matrix
from pocketseek.package.reader import Package
from pocketseek.runtime.window_logits import WindowLogits

IDS = [5, 9, 200, 33, 7, 250, 18, 4, 99, 140, 61, 300]


class Graphs:
    """An export as docs/onnx.md describes it, run with ONNX Runtime."""

    def __init__(self, folder: Path) -> None:
        self.described = json.loads((folder / "model.json").read_text())
        self._stages = [
            (stage, onnxruntime.InferenceSession(str(folder / stage["file"]))) for stage in self.described["stages"]
        ]
        self._values: dict[str, np.ndarray] = {}
        self._total = 0
        model = self.described["model"]
        for layer in range(model["num_layers"]):
            for kind in ("key", "value"):
                shape = (1, model["num_kv_heads"], 0, model["head_dim"])
                self._values[f"past_key_values.{layer}.{kind}"] = np.zeros(shape, np.float32)

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        """Of all these tokens, which follow those before."""
        self._total += len(ids)
        values = self._values
        values["input_ids"], values["attention_mask"] = np.array([ids]), np.ones((1, self._total), np.int64)
        values["logit_rows"] = np.arange(len(ids))
        for stage, session in self._stages:
            outputs = session.run(stage["outputs"], {name: values[name] for name in stage["inputs"]})
            values |= dict(zip(stage["outputs"], outputs, strict=True))
        for name in [name for name in values if name.startswith("present.")]:
            values[name.replace("present", "past_key_values")] = values.pop(name)
        return np.array(values["logits"][0])


def native_logits(package: Path, ids: Sequence[int]) -> np.ndarray:
    window = WindowLogits(package, window=len(ids), num_threads=1)
    try:
        return np.concatenate([rows.copy() for rows in window.run(ids)])
    finally:
        window.close()


def mean_kl(reference: np.ndarray, logits: np.ndarray) -> float:
    p, q = (
        rows - np.log(np.exp(rows - rows.max(-1, keepdims=True)).sum(-1, keepdims=True))
        for rows in (reference - reference.max(-1, keepdims=True), logits - logits.max(-1, keepdims=True))
    )
    return float((np.exp(p) * (p - q)).sum(-1).mean())


def package_of(folder: Path, family: str, quant: PackageQuant, **model: Any) -> Path:
    checkpoint = write_hf(folder / "hf", tiny_model(family, **model))
    return convert_checkpoint(checkpoint, folder / "package", quant=quant)


@pytest.mark.parametrize("format", ["onnx", "ort"])
@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("llama", {}),
        ("llama", {"tied": True, "head_dim": 48}),
        ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
        ("qwen2", {}),
        ("qwen3", {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}}),
    ],
)
def test_every_family_computes_what_the_kernels_do(
    tmp_path: Path, family: str, options: dict[str, object], format: GraphFormat
) -> None:
    package = package_of(tmp_path, family, "q4", **options)
    graphs = Graphs(export_package(package, tmp_path / "out", format=format, layers_per_stage=1))
    native = native_logits(package, IDS)
    found = np.concatenate([graphs.logits(IDS[:7]), graphs.logits(IDS[7:8]), graphs.logits(IDS[8:])])
    assert mean_kl(native, found) < 5e-3
    assert (native.argmax(-1) == found.argmax(-1)).mean() >= 0.9


@pytest.mark.parametrize("export_quant", ["int4", "int8", "f16"])
@pytest.mark.parametrize("package_quant", ["q4", "q4-pure", "q8", "keep"])
def test_every_format_of_weights_is_carried_over(
    tmp_path: Path, package_quant: PackageQuant, export_quant: Quant
) -> None:
    package = package_of(tmp_path, "llama", package_quant)
    graphs = Graphs(export_package(package, tmp_path / "out", quant=export_quant))
    native = native_logits(package, IDS)
    assert mean_kl(native, graphs.logits(IDS)) < 5e-3


@pytest.mark.parametrize(
    ("type_name", "quant", "least"),
    [("Q4_0", "int4", "1.17"), ("Q8_0", "int4", "1.22"), ("Q4_0", "int8", "1.22"), ("Q8_0", "f16", "1.17")],
)
def test_the_version_of_onnx_runtime_that_is_asked_for_knows_the_bits_that_are_there(
    tmp_path: Path, type_name: str, quant: Quant, least: str
) -> None:
    source = tiny_gguf(tmp_path / "some.gguf", type_name=type_name)
    folder = export_package(convert_checkpoint(source, tmp_path / "package"), tmp_path / "out", quant=quant)
    assert json.loads((folder / "model.json").read_text())["run"]["onnxruntime"] == f">={least}"


def test_minima_are_carried_over(tmp_path: Path) -> None:
    package = convert_checkpoint(tiny_gguf(tmp_path / "some.gguf", type_name="Q4_1"), tmp_path / "package")
    graphs = Graphs(export_package(package, tmp_path / "out"))
    assert mean_kl(native_logits(package, IDS), graphs.logits(IDS)) < 5e-3


@pytest.mark.parametrize(("type_name", "has_minima"), [("Q4_0", False), ("Q4_1", True)])
def test_what_is_multiplied_by_the_same_input_is_one_product(tmp_path: Path, type_name: str, has_minima: bool) -> None:
    """q, k and v; o; gate and up; down; and what minima add to each."""
    package = convert_checkpoint(tiny_gguf(tmp_path / "some.gguf", type_name=type_name), tmp_path / "package")
    graph = onnx.load(str(export_package(package, tmp_path / "out") / "model.onnx"), load_external_data=False).graph
    constants = [node.input[1] for node in graph.node if node.op_type in ("MatMulNBits", "MatMul")]
    num_layers = sum(node.op_type == "GroupQueryAttention" for node in graph.node)
    in_layers = [name.rpartition(".")[2] for name in constants if name.startswith("layer.")]
    assert in_layers.count("codes") == 4 * num_layers
    assert in_layers.count("extra") == (4 * num_layers if has_minima else 0)


@pytest.mark.parametrize("format", ["onnx", "ort"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_matrices_that_do_not_go_together_compute_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, format: GraphFormat
) -> None:
    package = package_of(tmp_path, family, "q4")
    together = Graphs(export_package(package, tmp_path / "out", format=format)).logits(IDS)
    monkeypatch.setattr(decoder, "joined", lambda *_, **__: None)
    apart = Graphs(export_package(package, tmp_path / "apart", format=format)).logits(IDS)
    assert mean_kl(together, apart) < 1e-6


@pytest.mark.parametrize("format_name", ["q4s", "q4p", "q4a", "q6s", "q8s"])
def test_codes_and_scales_stand_for_the_very_values(tmp_path: Path, format_name: str) -> None:
    if stored_type := {"q4s": "Q4_0", "q4a": "Q4_1", "q6s": "Q5_0"}.get(format_name):
        package = convert_checkpoint(tiny_gguf(tmp_path / "some.gguf", type_name=stored_type), tmp_path / "package")
    else:
        package = package_of(
            tmp_path, "llama", "q8" if format_name == "q8s" else "q4", hidden=288, num_heads=3, num_kv_heads=1
        )
    with Package.open(package) as opened:
        tensor = opened.tensor("layer.0.gate")
        assert tensor.format == format_name
        data = TensorData(tensor.format, tensor.shape, tuple((part.first_tile, part.data) for part in tensor.parts))
        stored = dequantise(unpack_matrix(data), tensor.shape[1])
        pieces = list(pieces_of(tensor, "int4", 2000))
    assert len(pieces) > 1
    assert [first for first, _ in pieces] == [
        sum(len(rows.codes) for _, rows in pieces[:n]) for n in range(len(pieces))
    ]
    values = []
    for _, rows in pieces:
        assert isinstance(rows, Blocks)
        codes = (
            rows.codes
            if rows.bits == 8
            else np.stack([rows.codes & 15, rows.codes >> 4], -1).reshape(*rows.codes.shape[:2], 32)
        )
        block = rows.scales[..., None] * (codes.astype(np.float64) - 2 ** (rows.bits - 1))
        values.append(block if rows.extra is None else block + rows.extra[..., None])
    found = np.concatenate(values).reshape(len(stored), -1)[:, : stored.shape[1]]
    np.testing.assert_allclose(found, stored, rtol=0, atol=0 if format_name != "q4a" else 1e-6)


def test_large_tables_and_heads_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "_PIECE_BYTES", 4000)
    monkeypatch.setattr(data_files, "MAX_DATA_BYTES", 20_000)
    package = package_of(tmp_path, "qwen2", "q4")
    folder = export_package(package, tmp_path / "out")
    files = sorted(folder.glob("model.onnx.data-*"))
    assert len(files) > 3
    assert all(path.stat().st_size <= 20_000 for path in files)
    assert mean_kl(native_logits(package, IDS), Graphs(folder).logits(IDS)) < 5e-3


@pytest.mark.parametrize("opset", [15, 18, 21, 23])
def test_graphs_are_valid_and_say_what_they_are(tmp_path: Path, opset: int) -> None:
    package = package_of(tmp_path, "qwen3", "q4")
    folder = export_package(package, tmp_path / "out", opset=opset)
    onnx.checker.check_model(str(folder / "model.onnx"), full_check=True)
    model = onnx.load(str(folder / "model.onnx"), load_external_data=False)
    assert {one.domain: one.version for one in model.opset_import} == {"": opset, "com.microsoft": 1}
    described = json.loads((folder / "model.json").read_text())
    assert (described["format"], described["version"], described["opset"]) == ("pocketseek-onnx", 1, opset)
    assert {"tokenizer.json", "text.json", "model.onnx"} <= described["files"].keys()
    assert mean_kl(native_logits(package, IDS), Graphs(folder).logits(IDS)) < 5e-3


def test_the_mobile_checker_finds_only_what_keeps_these_forms_on_processors(tmp_path: Path) -> None:
    """It knows every node, and names the operators for which NNAPI would cut the graph: not for NPUs, as docs say."""
    folder = export_package(package_of(tmp_path, "llama", "q4"), tmp_path / "out")
    model = usability_checker.ModelProtoWithShapeInfo(folder / "model.onnx").model_with_shape_info
    found = usability_checker.check_nnapi_partitions(model, require_fixed_input_sizes=False)
    fused = {"GroupQueryAttention", "MatMulNBits", "QuickGelu", "SkipSimplifiedLayerNormalization"}
    assert found.unsupported_ops == {f"com.microsoft:{name}" for name in fused} | {"ai.onnx:ReduceSum"}
    assert found.num_supported_nodes + found.nodes_unsupported_due_to_op == found.num_nodes == len(model.graph.node)
    assert found.suitability() is found.TryWithEP.NO
    assert not usability_checker.analyze_model(folder / "model.onnx", skip_optimize=True)


def test_constants_are_made_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_blocks, "_SLAB_VALUES", 1 << 14)
    package = package_of(tmp_path, "llama", "q8", hidden=256, intermediate=1024, vocab=16384)
    export_package(package, tmp_path / "warm")  # what is imported stays
    tracemalloc.start()
    try:
        folder = export_package(package, tmp_path / "out")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    largest_bytes = 16384 * 256 * 9 // 8  # codes and scales of the head
    assert peak_bytes < largest_bytes + 2_500_000
    assert sum(path.stat().st_size for path in folder.glob("*.data-*")) > 2 * largest_bytes
    assert (folder / "model.onnx").stat().st_size < 64_000  # constants are not in the graph


@pytest.mark.parametrize("quant", ["int4", "int8", "f16"])
@pytest.mark.parametrize("type_name", ["Q4_0", "Q4_1", "Q8_0", "F16"])
@pytest.mark.parametrize("format", ["onnx", "ort"])
def test_tied_tables_are_carried_over_in_every_format(
    tmp_path: Path, type_name: str, quant: Quant, format: GraphFormat
) -> None:
    source = write_model_gguf(tmp_path / "some.gguf", tiny_model("llama", tied=True), type_name=type_name)
    package = convert_checkpoint(source, tmp_path / "package")
    graphs = Graphs(export_package(package, tmp_path / "out", quant=quant, format=format))
    assert mean_kl(native_logits(package, IDS), graphs.logits(IDS)) < 5e-3


@pytest.mark.parametrize("quant", ["int4", "int8", "f16"])
def test_a_tied_table_is_in_a_whole_graph_once(tmp_path: Path, quant: Quant) -> None:
    sizes = []
    for tied in (True, False):
        package = package_of(tmp_path / str(tied), "llama", "q8", tied=tied, vocab=2048)
        folder = export_package(package, tmp_path / f"out-{tied}", quant=quant)
        sizes.append(sum(path.stat().st_size for path in folder.glob("*.data-*")))
    table_bytes = 2048 * 64 * (2 if quant == "f16" else 1)
    assert sizes[1] - sizes[0] >= table_bytes


@pytest.mark.parametrize("format", ["onnx", "ort"])
@pytest.mark.parametrize("head_dim", [8, 24, 40, 80])
def test_sizes_of_heads_that_attention_cannot_rotate_itself(tmp_path: Path, head_dim: int, format: GraphFormat) -> None:
    package = package_of(tmp_path, "llama", "q4", head_dim=head_dim)
    graphs = Graphs(export_package(package, tmp_path / "out", format=format))
    found = np.concatenate([graphs.logits(IDS[:7]), graphs.logits(IDS[7:8]), graphs.logits(IDS[8:])])
    assert mean_kl(native_logits(package, IDS), found) < 5e-3


def test_sizes_of_heads_that_nothing_can_run_are_refused(tmp_path: Path) -> None:
    package = package_of(tmp_path, "llama", "q4", head_dim=20)
    with pytest.raises(UnsupportedError, match="multiples of 8"):
        export_package(package, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_with_float_activations_the_graphs_of_two_forms_agree_to_five_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So what is left between int4 and the kernels is how activations are rounded, not what is computed."""
    monkeypatch.setattr(block_graph, "_INT8_PRODUCTS", 1)
    source = write_model_gguf(tmp_path / "some.gguf", tiny_model("qwen3", num_layers=4), type_name="Q4_1")
    package = convert_checkpoint(source, tmp_path / "package")
    quants: tuple[Quant, Quant] = ("int4", "f16")
    int4, f16 = (Graphs(export_package(package, tmp_path / quant, quant=quant)).logits(IDS) for quant in quants)
    assert mean_kl(f16, int4) < 1e-5


@pytest.mark.parametrize("quant", ["int4", "f16"])
def test_stages_are_cut_by_what_they_take_in_the_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quant: Quant
) -> None:
    package = package_of(tmp_path, "llama", "q4", hidden=128, intermediate=512, num_layers=6)
    monkeypatch.setattr(exporting, "_STAGE_BYTES", 1_050_000)
    folder = export_package(package, tmp_path / "out", quant=quant, format="ort")
    layers = sorted(folder.glob("layers-*.ort"))
    assert len(layers) == (1 if quant == "int4" else 3)
    assert all(path.stat().st_size < 1_100_000 for path in layers)


@pytest.mark.parametrize("format", ["onnx", "ort"])
@pytest.mark.parametrize("quant", ["int4", "int8", "f16"])
def test_disk_space_is_asked_for_as_much_as_is_used(tmp_path: Path, quant: Quant, format: GraphFormat) -> None:
    package = package_of(tmp_path, "qwen2", "q4")
    with Package.open(package) as opened:
        asked = exporting._Sizes(opened.manifest, quant).expected_bytes(256, format)
    folder = export_package(package, tmp_path / "out", quant=quant, format=format)
    used = sum(path.stat().st_size for path in folder.iterdir())
    spare = exporting._MARGIN_BYTES + (exporting._STAGE_BYTES if format == "ort" else 0)
    assert used < asked < used + spare


def test_a_disk_that_fills_up_is_a_storage_error_and_leaves_nothing(tmp_path: Path) -> None:
    package = package_of(tmp_path, "llama", "q4")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(StorageError, match="file size limit"):
            export_package(package, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hf", "package"]


def test_a_disk_too_full_for_an_ort_file_is_told_from_a_graph_that_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime says the same of both."""
    graph = export_package(package_of(tmp_path, "llama", "q4"), tmp_path / "out") / "model.onnx"
    target = tmp_path / "model.ort"
    for free_bytes, error in ((0, StorageError), (1 << 40, UnsupportedError)):
        target.symlink_to("/dev/full")
        usage = SimpleNamespace(free=free_bytes)
        monkeypatch.setattr(shutil, "disk_usage", lambda _path, usage=usage: usage)
        with pytest.raises(error):
            save_as_ort(graph, target, keep_pairs=False)
        assert not target.is_symlink()


def test_what_cannot_be_is_refused_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = package_of(tmp_path, "llama", "q4")
    with pytest.raises(UsageError, match="15 to 23"):
        export_package(package, tmp_path / "out", opset=24)
    with pytest.raises(UsageError, match="1 to 256"):
        export_package(package, tmp_path / "out", context=257)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_package(package, tmp_path / "out", progress=interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hf", "package"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not an export"):
        export_package(package, tmp_path / "out")
