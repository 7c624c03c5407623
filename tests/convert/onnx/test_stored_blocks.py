"""Blocks of a package's matrices: as large as was said beforehand, cut anywhere, and never too large for float16."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from tiny_models import TinyModel, tiny_gguf, tiny_model, write_hf

from pocketseek.convert.onnx.stored_blocks import (
    Blocks,
    Quant,
    Rows,
    exported_bytes,
    joined,
    pieces_of,
)
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.convert.recipe import Quant as PackageQuant
from pocketseek.errors import UnsupportedError
from pocketseek.package.reader import Package, StoredTensor

QUANTS: tuple[Quant, ...] = get_args(Quant)


def num_bytes(rows: Rows) -> int:
    if not isinstance(rows, Blocks):
        return rows.nbytes
    return rows.codes.nbytes + rows.scales.nbytes + (0 if rows.extra is None else rows.extra.nbytes)


def package_with(folder: Path, format_name: str) -> Path:
    """One whose layers are in that format, with rows and columns that fill neither tiles nor blocks."""
    if stored := {"q4s": "Q4_0", "q4a": "Q4_1", "q6s": "Q5_0"}.get(format_name):
        source = tiny_gguf(folder / "some.gguf", type_name=stored)
        return convert_checkpoint(source, folder / "package")
    model = tiny_model("llama", hidden=72, intermediate=100, num_heads=3, num_kv_heads=3, vocab=331)
    quants: dict[str, PackageQuant] = {"q4p": "q4-pure", "q8s": "q8", "f32": "keep", "f16": "keep"}
    source = write_hf(folder / "hf", model, dtype="F16" if format_name == "f16" else "F32")
    return convert_checkpoint(source, folder / "package", quant=quants[format_name])


@pytest.mark.parametrize("quant", QUANTS)
@pytest.mark.parametrize("format_name", ["q4s", "q4a", "q4p", "q6s", "q8s", "f16", "f32"])
def test_a_tensor_takes_what_was_said_however_it_is_cut(tmp_path: Path, format_name: str, quant: Quant) -> None:
    with Package.open(package_with(tmp_path, format_name)) as package:
        tensors = [package.tensor(f"layer.0.{name}") for name in ("q", "gate", "down")]
        assert {tensor.format for tensor in tensors} == {format_name}
        for tensor in tensors:
            for most_bytes in (1, 3000, 10**6):
                found = sum(num_bytes(rows) for _, rows in pieces_of(tensor, quant, most_bytes))
                assert found == exported_bytes(tensor.format, tensor.shape, quant)


def planes(rows: Rows) -> list[np.ndarray]:
    if not isinstance(rows, Blocks):
        return [rows]
    return [part for part in (rows.codes, rows.scales, rows.extra) if part is not None]


@pytest.mark.parametrize("quant", QUANTS)
@pytest.mark.parametrize("format_name", ["q4s", "q4a", "q4p", "q6s", "q8s", "f16"])
def test_joined_matrices_are_the_rows_of_each_in_order(tmp_path: Path, format_name: str, quant: Quant) -> None:
    with Package.open(package_with(tmp_path, format_name)) as package:
        tensors = [package.tensor(f"layer.0.{name}") for name in ("q", "k", "v")]
        together = joined(tensors, quant, 10**6, by_input=True)
        each = [next(pieces_of(tensor, quant, 10**6))[1] for tensor in tensors]
    assert together is not None
    for found, parts in zip(planes(together), zip(*map(planes, each), strict=True), strict=True):
        np.testing.assert_array_equal(found, np.concatenate(parts))
    if not isinstance(together, Blocks):
        assert together.T.flags.c_contiguous


def test_matrices_of_other_forms_or_too_large_together_are_not_joined(tmp_path: Path) -> None:
    source = write_hf(tmp_path / "hf", tiny_model("llama", tied=False))
    with Package.open(convert_checkpoint(source, tmp_path / "package", quant="q4")) as package:
        gate, up, head = (package.tensor(name) for name in ("layer.0.gate", "layer.0.up", "head.weight"))
        assert gate.format != head.format
        assert joined([gate, head], "int4", 10**6) is None
        assert joined([gate, head], "int8", 10**6) is not None
        codes_bytes = sum(rows.codes.nbytes for rows in map(alone, (gate, up)))
        assert joined([gate, up], "int4", codes_bytes) is not None
        assert joined([gate, up], "int4", codes_bytes - 1) is None


def alone(tensor: StoredTensor) -> Blocks:
    rows = next(pieces_of(tensor, "int4", 10**6))[1]
    assert isinstance(rows, Blocks)
    return rows


def test_float16_by_input_has_a_transpose_that_needs_no_copy(tmp_path: Path) -> None:
    with Package.open(package_with(tmp_path, "q8s")) as package:
        tensor = package.tensor("layer.0.gate")
        by_row, by_input = (next(pieces_of(tensor, "f16", 10**6, by_input=flag))[1] for flag in (False, True))
    assert not isinstance(by_row, Blocks)
    assert not isinstance(by_input, Blocks)
    assert by_row.flags.c_contiguous
    assert by_input.T.flags.c_contiguous
    np.testing.assert_array_equal(by_row, by_input)


def enlarged(model: TinyModel) -> TinyModel:
    model.weights["model.layers.0.mlp.up_proj.weight"][3, 5] = 70_000.0
    return model


@pytest.mark.parametrize("quant", ["f16", "int4", "int8"])
def test_values_beyond_float16_are_refused_by_name(tmp_path: Path, quant: Quant) -> None:
    source = write_hf(tmp_path / "hf", enlarged(tiny_model()))
    with (
        Package.open(convert_checkpoint(source, tmp_path / "package", quant="keep")) as package,
        pytest.raises(UnsupportedError, match=r"layer\.0\.up .* --quant q8"),
    ):
        list(pieces_of(package.tensor("layer.0.up"), quant, 10**6))


def test_what_eight_bits_hold_of_such_values_is_exported_as_int8(tmp_path: Path) -> None:
    """The remedy that the refusal names."""
    source = write_hf(tmp_path / "hf", enlarged(tiny_model()))
    with Package.open(convert_checkpoint(source, tmp_path / "package", quant="q8")) as package:
        [(_, rows)] = pieces_of(package.tensor("layer.0.up"), "int8", 10**6)
    assert isinstance(rows, Blocks)
    assert rows.scales[3, 0] * (int(rows.codes[3, 0, 5]) - 128) == pytest.approx(70_000, rel=1e-3)
