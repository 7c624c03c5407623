from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_hf_directory

from pocketseek.convert.checkpoint_weights import CheckpointWeights
from pocketseek.convert.families.choose import choose_planner
from pocketseek.convert.package_weights import PackageWeights
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.convert.recipe import Quant
from pocketseek.convert.sources.open import open_source
from pocketseek.package.reader import Package


@pytest.mark.parametrize(("quant", "most"), [("keep", 0.0005), ("q8", 0.01), ("q4", 0.2)])
def test_values_are_the_checkpoint_s_within_what_the_format_costs(tmp_path: Path, quant: Quant, most: float) -> None:
    source = tiny_hf_directory(tmp_path / "hf", "qwen2")
    path = convert_checkpoint(source, tmp_path / "package", quant=quant)
    with closing(open_source(source)) as opened, Package.open(path) as package:
        expected, found = CheckpointWeights(opened, choose_planner(opened)(opened)), PackageWeights(package)
        assert found.model == expected.model
        np.testing.assert_array_equal(found.inv_freq, expected.inv_freq)
        np.testing.assert_array_equal(found.vector("layer.1.q_bias"), expected.vector("layer.1.q_bias"))
        for name in ("layer.0.q", "layer.1.down", "head.weight"):
            values = expected.matrix(name)
            assert np.linalg.norm(found.matrix(name) - values) <= most * np.linalg.norm(values)


def test_rows_are_those_of_the_matrix_in_any_order(tmp_path: Path) -> None:
    path = convert_checkpoint(tiny_hf_directory(tmp_path / "hf", "llama"), tmp_path / "package", quant="q4")
    ids = np.random.default_rng(0).integers(0, 320, 500).astype(np.int32)
    with Package.open(path) as package:
        weights = PackageWeights(package)
        np.testing.assert_array_equal(weights.rows("embed.weight", ids), weights.matrix("embed.weight")[ids])
