"""Exports with fixed shapes, as NPUs compile them, say on the CPU what those with open shapes say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from failing_provider import FailingLibrary
from tiny_models import tiny_hf_directory

import pocketseek
from pocketseek.convert.static_export import StaticOptions, export_static
from pocketseek.device.execution_provider import ExecutionProvider
from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.runtime.onnx.model_files import read_model
from pocketseek.runtime.onnx.session_options import session_options
from pocketseek.runtime.onnx_executor import OnnxExecutor
from pocketseek.runtime.work import Logits, Slice, Work, pages_for
from pocketseek.types import SamplingParams

TEXT = "".join(f"{number} green bottles hanging on the wall, and if one should fall. " for number in range(200))
TOKENS, CONTEXT = 16, 112
IDS = tuple(np.random.default_rng(3).integers(0, 256, 90).tolist())


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same model with the same ranges, with open and with fixed shapes."""
    folder = tmp_path_factory.mktemp("static")
    checkpoint = tiny_hf_directory(folder / "checkpoint", "qwen2")
    made = {}
    for name, tokens, context, kind in (
        ("open", None, None, "onnx"),
        ("fixed", TOKENS, CONTEXT, "onnx"),
        ("fixed-ort", TOKENS, CONTEXT, "ort"),
    ):
        options = StaticOptions(calibration_tokens=1024, layers_per_stage=1, tokens=tokens, context=context)
        made[name] = export_static(checkpoint, folder / name, calibration=[TEXT], options=options, format=kind)
    return made


def opened(folder: Path) -> OnnxExecutor:
    executor = OnnxExecutor(read_model(folder), num_threads=1, device=ExecutionProvider("CPU", "no npu"))
    executor.reserve_pages(8)
    return executor


def logits_of(executor: OnnxExecutor, sizes: list[int], request: int = 0, first_page: int = 0) -> Logits:
    """Of all tokens of IDS, computed in slices of these sizes."""
    pages = tuple(range(first_page, first_page + pages_for(len(IDS))))
    rows, start = [], 0
    for size in sizes:
        part = Slice(request, IDS[start : start + size], start, pages[: pages_for(start + size)], size)
        rows.append(executor.run(Work((part,))).copy())
        start += size
    assert start == len(IDS)
    return np.concatenate(rows)


def test_logits_are_those_of_open_shapes(exports: dict[str, Path]) -> None:
    """To the last bit: what is padded or masked adds zeros to whole numbers."""
    expected = logits_of(opened(exports["open"]), [len(IDS)])
    np.testing.assert_array_equal(logits_of(opened(exports["fixed"]), [len(IDS)]), expected)


def test_ort_files_keep_their_pairs_and_else_say_the_same(
    exports: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = logits_of(opened(exports["fixed-ort"]), [len(IDS)])

    def unfused(library: Any, num_threads: int, **how: Any) -> Any:
        options = session_options(library, num_threads, **how)
        options.graph_optimization_level = library.GraphOptimizationLevel.ORT_ENABLE_BASIC
        return options

    monkeypatch.setattr("pocketseek.runtime.onnx_executor.session_options", unfused)
    np.testing.assert_array_equal(found, logits_of(opened(exports["fixed"]), [len(IDS)]))


@pytest.mark.parametrize("sizes", [[1] * 90, [16] * 5 + [10], [5, 40, 1, 1, 17, 26], [89, 1]])
def test_where_a_text_is_cut_changes_no_bit(exports: dict[str, Path], sizes: list[int]) -> None:
    whole = logits_of(opened(exports["fixed"]), [len(IDS)])
    np.testing.assert_array_equal(logits_of(opened(exports["fixed"]), sizes), whole)


def test_what_lies_behind_the_filled_part_of_the_cache_does_not_matter(exports: dict[str, Path]) -> None:
    executor = opened(exports["fixed"])
    first = logits_of(executor, [len(IDS)])
    executor.release_pages(range(2))
    np.testing.assert_array_equal(logits_of(executor, [3, 87], request=1, first_page=2), first)
    np.testing.assert_array_equal(logits_of(executor, [50, 40], request=0, first_page=4), first)


def test_a_text_ends_where_the_cache_does(exports: dict[str, Path]) -> None:
    assert opened(exports["fixed"]).context_length == CONTEXT - TOKENS


def test_the_engine_answers_as_with_open_shapes(
    exports: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETSEEK_HOME", str(tmp_path))
    texts = set()
    for name in ("open", "fixed"):
        with pocketseek.load(exports[name], prefix_store_bytes=0) as engine:
            greedy = SamplingParams(temperature=0.0)
            texts.add(engine.generate("10 green bottles hanging", max_tokens=20, sampling=greedy).text)
    assert len(texts) == 1


def test_a_description_that_lies_about_shapes_is_refused(exports: dict[str, Path], tmp_path: Path) -> None:
    for name, changes, problem in (
        ("fixed", {"kv": {"present_tokens": "all"}}, "takes exactly 16 tokens"),
        ("fixed", {"static": {"tokens": 8, "context": CONTEXT}}, "takes exactly 16 tokens"),
        ("fixed", {"static": {"tokens": CONTEXT, "context": CONTEXT}}, "tokens"),
        ("fixed", {"static": None}, "lacks the fixed shapes"),
        ("fixed", {"kv": {"present_tokens": "some"}}, "not known"),
    ):
        folder = tmp_path / problem.replace(" ", "-")
        folder.mkdir(exist_ok=True)
        for path in exports[name].iterdir():
            (folder / path.name).unlink(missing_ok=True)
            (folder / path.name).hardlink_to(path)
        described = json.loads((folder / "model.json").read_text()) | changes
        (folder / "model.json").unlink()
        (folder / "model.json").write_text(json.dumps(described))
        with pytest.raises((FormatError, UnsupportedError), match=problem):
            opened(folder)


@pytest.mark.parametrize("passes", [6, 19, 40])
def test_when_an_npu_fails_in_some_stage_the_cpu_goes_on_with_what_was_computed(
    passes: int, exports: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = logits_of(opened(exports["fixed-ort"]), [30, 1, 59])
    library = FailingLibrary(starts=True, computes=True, passes=passes)
    monkeypatch.setattr("pocketseek.runtime.onnx_executor._library", lambda: library)
    phone = ExecutionProvider("QNN", "npu by qnn")
    executor = OnnxExecutor(read_model(exports["fixed-ort"]), num_threads=1, device=phone)
    executor.reserve_pages(8)
    assert executor.provider.name == "QNN"
    np.testing.assert_array_equal(logits_of(executor, [30, 1, 59]), expected)
    assert executor.provider.name == "CPU"
