"""From safetensors to int8-static files that answer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_answers import greedy
from onnxruntime.tools.mobile_helpers import usability_checker
from tiny_models import tiny_hf_directory, tiny_model, write_hf

from pocketseek.convert import static_export, static_walk
from pocketseek.convert.static_export import StaticOptions, export_static
from pocketseek.errors import FormatError, UsageError

TEXT = "".join(f"{number} green bottles hanging on the wall, and if one should fall. " for number in range(200))
QUICK = StaticOptions(calibration_tokens=1024, layers_per_stage=1)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return tiny_hf_directory(tmp_path / "checkpoint", "qwen2")


def test_both_formats_give_the_same_answer_in_stages(checkpoint: Path, tmp_path: Path) -> None:
    answers = set()
    for kind in ("onnx", "ort"):
        folder = export_static(checkpoint, tmp_path / kind, calibration=[TEXT], options=QUICK, format=kind)
        stages = [stage["file"] for stage in json.loads((folder / "model.json").read_text())["stages"]]
        assert stages == [f"{name}.{kind}" for name in ("embed", "layers-000-000", "layers-001-001", "head")]
        answers.add(greedy(folder, "10 green bottles", 6))
    assert len(answers) == 1


def test_the_description_says_what_was_done(checkpoint: Path, tmp_path: Path) -> None:
    folder = export_static(checkpoint, tmp_path / "out", calibration=[TEXT], options=QUICK, name="mine")
    description = json.loads((folder / "model.json").read_text())
    assert description["name"] == "mine"
    assert description["quant"] == "int8-static"
    assert description["model"]["family"] == "qwen2"
    assert description["kv"]["present_tokens"] == "all"
    assert description["static"]["layer_bits"] == [[8, 8], [8, 8]]
    assert description["static"]["calibration_tokens"] == 1024
    names = {path.name for path in folder.iterdir()}
    assert names == set(description["files"]) | {"model.json"}
    assert {"tokenizer.json", "text.json", "chat_template.jinja"} <= names


def test_an_interrupted_export_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    def interrupt(stage: str, _done: int, _total: int) -> None:
        if stage == "layer 1":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_static(checkpoint, tmp_path / "out", calibration=[TEXT], options=QUICK, progress=interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (StaticOptions(opset=15), "needs an opset from 21"),
        (StaticOptions(tokens=8), "both --tokens and --context"),
        (StaticOptions(tokens=64, context=64), "do not go"),
        (StaticOptions(tokens=8, context=1024), "at most the model's 256"),
        (StaticOptions(method="percentile", percentile=12), "not between 50 and 100"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_read(
    checkpoint: Path, tmp_path: Path, options: StaticOptions, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        export_static(checkpoint, tmp_path / "out", calibration=[TEXT], options=options)
    assert not (tmp_path / "out").exists()


def test_too_little_text_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"1024 are the least.*\(4096 tokens are enough\)"):
        export_static(checkpoint, tmp_path / "out", calibration=["short"])
    assert not (tmp_path / "out").exists()


def test_a_model_that_computes_infinities_is_refused(tmp_path: Path) -> None:
    model = tiny_model("llama")
    model.weights["model.layers.1.mlp.up_proj.weight"][:] = 3e38
    checkpoint = write_hf(tmp_path / "checkpoint", model)
    with np.errstate(all="ignore"), pytest.raises(FormatError, match="not finite"):
        export_static(checkpoint, tmp_path / "out", calibration=[TEXT], options=QUICK)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint"]


def test_graphs_of_fixed_shapes_go_to_npus_as_a_few_pieces(checkpoint: Path, tmp_path: Path) -> None:
    """By ONNX Runtime's mobile usability checker: what is left to the CPU between pieces is where the cache begins."""
    options = StaticOptions(calibration_tokens=1024, tokens=16, context=64)
    folder = export_static(checkpoint, tmp_path / "out", calibration=[TEXT], options=options)
    graph = onnx.shape_inference.infer_shapes(onnx.load(folder / "layers-000-001.onnx"))
    found = usability_checker.check_nnapi_partitions(graph, require_fixed_input_sizes=True)
    assert found.num_supported_nodes == found.num_nodes
    assert found.num_partitions == 1


def test_a_large_table_is_cut_and_computes_the_same(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = export_static(checkpoint, tmp_path / "whole", calibration=[TEXT], options=QUICK)
    expected = greedy(whole, "10 green bottles", 6)
    monkeypatch.setattr(static_walk, "PIECE_BYTES", 6000)
    pieces = export_static(checkpoint, tmp_path / "pieces", calibration=[TEXT], options=QUICK)
    head = onnx.load(pieces / "head.onnx")
    assert sum(node.op_type == "MatMul" for node in head.graph.node) > 2
    assert greedy(pieces, "10 green bottles", 6) == expected


def test_as_many_layers_go_into_a_file_as_half_a_gigabyte_holds(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = StaticOptions(calibration_tokens=1024)
    monkeypatch.setattr(static_export, "_STAGE_BYTES", 70_000)
    folder = export_static(checkpoint, tmp_path / "out", calibration=[TEXT], options=options)
    assert (folder / "layers-000-001.onnx").exists()
    monkeypatch.setattr(static_export, "_STAGE_BYTES", 50_000)
    folder = export_static(checkpoint, tmp_path / "out", calibration=[TEXT], options=options)
    assert (folder / "layers-001-001.onnx").exists()
    assert not (folder / "layers-000-001.onnx").exists()
