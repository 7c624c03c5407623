"""A package of a given size: within it, near it, deterministic, and with bits where they matter."""

from __future__ import annotations

import math
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import tiny_hf_directory, tiny_model, write_hf

from pocketseek.cli.sizes import parse_size
from pocketseek.convert.checkpoint_weights import CheckpointWeights
from pocketseek.convert.families.choose import choose_planner
from pocketseek.convert.mixed_recipe import mixed_target, windows_to_measure
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.convert.sensitivity import DEFAULT_TOKENS, FORMATS, measure_costs, weight_costs
from pocketseek.convert.sources.open import open_source
from pocketseek.errors import UsageError
from pocketseek.formats import tensor_bytes
from pocketseek.package.manifest import read_manifest
from pocketseek.package.reader import Package

TEXT = "".join(f"{number} green bottles hanging on the wall, and if one should fall. " for number in range(200))


def size_of(package: Path) -> int:
    files = [*package.glob("chunks/*"), *package.glob("files/*"), package / "manifest.json"]
    return sum(path.stat().st_size for path in files)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    model = tiny_model("llama", hidden=128, intermediate=256, num_layers=3, vocab=320)
    return write_hf(tmp_path / "hf", model)


@pytest.mark.parametrize("texts", [[], [TEXT]])
def test_a_target_is_kept_and_used(tmp_path: Path, checkpoint: Path, texts: list[str]) -> None:
    least, most = (convert_checkpoint(checkpoint, tmp_path / quant, quant=quant) for quant in ("q4-pure", "q8"))
    target_bytes = (size_of(least) + size_of(most)) // 2
    options: dict[str, Any] = {"target_bytes": target_bytes, "calibration": texts, "calibration_tokens": 2048}
    package = convert_checkpoint(checkpoint, tmp_path / "out", **options)
    assert size_of(least) < size_of(package) <= target_bytes
    manifest = read_manifest(package)
    assert manifest.recipe["quant"] == "mixed"
    assert manifest.recipe["target_bytes"] == target_bytes
    assert len({tensor.format for tensor in manifest.tensors if len(tensor.shape) == 2}) > 1
    again = convert_checkpoint(checkpoint, tmp_path / "again", **options)
    formats = {tensor.name: tensor.format for tensor in read_manifest(again).tensors}
    assert formats == {tensor.name: tensor.format for tensor in manifest.tensors}
    with Package.open(package, verify="full"):
        pass


def test_bits_count_the_tensors_alone(tmp_path: Path, checkpoint: Path) -> None:
    package = convert_checkpoint(checkpoint, tmp_path / "out", bits=6.0)
    manifest = read_manifest(package)
    tensors = [tensor for tensor in manifest.tensors if tensor.name != "rope.inv_freq"]
    num_bytes = sum(tensor_bytes(tensor.format, tensor.shape) for tensor in tensors)
    num_weights = sum(math.prod(tensor.shape) for tensor in tensors)
    assert 5.0 < 8 * num_bytes / num_weights <= 6.0
    assert manifest.recipe["bits"] == 6.0


def test_too_small_a_target_is_refused_with_one_that_is_not(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(UsageError, match="smallest package") as refused:
        convert_checkpoint(checkpoint, tmp_path / "out", target_bytes=10_000)
    assert not (tmp_path / "out").exists()
    least = re.search("--target-size ([0-9.]+MB)", str(refused.value))
    assert least is not None
    convert_checkpoint(checkpoint, tmp_path / "out", target_bytes=parse_size(least[1]))


def test_too_few_bits_are_refused_with_those_that_are_enough(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(UsageError, match=r"4\.19 bits for each weight") as refused:
        convert_checkpoint(checkpoint, tmp_path / "out", bits=4.19)
    assert not (tmp_path / "out").exists()
    least = re.search("--bits ([0-9.]+)", str(refused.value))
    assert least is not None
    convert_checkpoint(checkpoint, tmp_path / "out", bits=float(least[1]))


@pytest.mark.parametrize(
    ("quant", "target_bytes", "bits"),
    [
        ("q4", 10**9, None),
        ("q4", None, 4.5),
        (None, 10**9, 4.5),
        (None, None, 1.0),
        (None, None, 3.0),
        (None, None, 8.6),
        (None, None, 99.0),
        (None, 0, None),
    ],
)
def test_what_excludes_each_other_is_refused(quant: str | None, target_bytes: int | None, bits: float | None) -> None:
    with pytest.raises(UsageError):
        mixed_target(quant, target_bytes, bits)


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_costs_fall_with_bits_and_cover_every_matrix(tmp_path: Path, family: str) -> None:
    with closing(open_source(tiny_hf_directory(tmp_path / "hf", family))) as source:
        plan = choose_planner(source)(source)
        weights = CheckpointWeights(source, plan)
        windows = np.random.default_rng(1).integers(0, plan.model.vocab_size, (2, 64)).astype(np.int32)
        for costs in (measure_costs(weights, windows, lambda *_: False), weight_costs(weights, lambda *_: False)):
            names = sorted(name for group in costs for name in group)
            assert names == sorted(tensor.name for tensor in plan.tensors if len(tensor.shape) == 2)
            for by_format in costs.values():
                assert tuple(by_format) == FORMATS
                assert by_format["q8s"] < 0.1 * by_format["q4p"]
                assert by_format["q8s"] < by_format["q6s"] < 0.2 * by_format["q4p"]
                assert all(cost > 0 for cost in by_format.values())
        assert all(cost == 0 for by in weight_costs(weights, lambda *_: True).values() for cost in by.values())


def test_a_matrix_that_adds_less_to_the_model_costs_less(tmp_path: Path) -> None:
    costs = []
    for number, divisor in enumerate((1, 100)):
        model = tiny_model("llama", num_layers=2, seed=3)
        for name, values in model.weights.items():
            if "layers.0" in name and ("o_proj" in name or "down_proj" in name):
                values /= divisor
        with closing(open_source(write_hf(tmp_path / str(number), model))) as source:
            plan = choose_planner(source)(source)
            windows = np.random.default_rng(1).integers(0, plan.model.vocab_size, (2, 64)).astype(np.int32)
            costs.append(measure_costs(CheckpointWeights(source, plan), windows, lambda *_: False))
    for group in (("layer.0.o",), ("layer.0.down",), ("layer.0.gate", "layer.0.up")):
        assert costs[1][group]["q4p"] < 0.1 * costs[0][group]["q4p"]


@pytest.mark.parametrize("num_windows", [2, 3, 32])
def test_costs_are_measured_on_all_kinds_of_text(num_windows: int) -> None:
    """As many tokens as were asked for, from the first text to the last; here a window for each."""
    windows = np.repeat(np.arange(num_windows, dtype=np.int32)[:, None], 512, axis=1)
    measured = windows_to_measure(windows)
    assert measured.size == DEFAULT_TOKENS
    kinds, counts = np.unique(measured[:, 0], return_counts=True)
    assert (kinds[0], kinds[-1]) == (0, num_windows - 1)
    assert len(kinds) == min(num_windows, len(measured))
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("length", [64, 128, 200, 512])
def test_what_is_measured_on_stands_so_in_the_text(length: int) -> None:
    windows = np.arange(12 * length, dtype=np.int32).reshape(12, length)
    measured = windows_to_measure(windows)
    assert measured.size <= DEFAULT_TOKENS
    assert (np.diff(measured, axis=1) == 1).all()
    assert len(np.unique(measured)) == measured.size
