"""The fast way to decode gives the values of the slow one, byte for byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_gguf, tiny_hf_directory

from pocketseek.adapt.decode_tiles import decode_rows
from pocketseek.convert.package_weights import PackageWeights
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.convert.recipe import Quant
from pocketseek.package.reader import Package


def packages(folder: Path) -> list[Path]:
    """Together all formats."""
    made = []
    for type_name in ("Q4_0", "Q4_1", "Q5_0", "Q8_0", "F16", "F32"):
        source = tiny_gguf(folder / f"{type_name}.gguf", type_name=type_name)
        made.append(convert_checkpoint(source, folder / type_name, quant="keep"))
    quant: Quant = "q4"
    made.append(convert_checkpoint(tiny_hf_directory(folder / "hf", "qwen3"), folder / "q4", quant=quant))
    return made


def test_every_matrix_of_every_format_has_the_reference_s_bytes(tmp_path: Path) -> None:
    formats = set()
    for path in packages(tmp_path):
        with Package.open(path) as package:
            slow = PackageWeights(package)
            for entry in package.manifest.tensors:
                if len(entry.shape) == 2:
                    formats.add(entry.format)
                    fast = decode_rows(package.tensor(entry.name), 0, entry.shape[0])
                    assert fast.tobytes() == slow.matrix(entry.name).tobytes(), entry
    assert formats == {"q4s", "q4a", "q4p", "q6s", "q8s", "f16", "f32"}


@pytest.mark.parametrize(("first", "end"), [(0, 1), (16, 48), (304, 320), (32, 33)])
def test_some_rows_are_those_of_the_whole(tmp_path: Path, first: int, end: int) -> None:
    path = convert_checkpoint(tiny_hf_directory(tmp_path / "hf"), tmp_path / "package", quant="q4")
    with Package.open(path) as package:
        tensor = package.tensor("head.weight")
        whole = decode_rows(tensor, 0, tensor.shape[0])
        np.testing.assert_array_equal(decode_rows(tensor, first, end), whole[first:end])
