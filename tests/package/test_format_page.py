"""docs/package.md is precise: the reader printed on it reads what is written by its rules, spelled out as loops."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from package.samples import TINY

from pocketseek.formats import num_blocks, num_tile_rows, tensor_bytes, tile_row_bytes
from pocketseek.package.writer import PackageWriter

PAGE = Path(__file__).parents[2] / "docs" / "package.md"
SHAPE = (37, 70)


def put_block(row: bytearray, format_name: str, block: int, quants: np.ndarray[Any, Any]) -> None:
    """quants: 16 outputs x 32 inputs."""
    for output in range(16):
        for column in range(32):
            value = int(quants[output, column])
            if format_name == "q8s":
                row[block * 512 + column // 4 * 64 + output * 4 + column % 4] = value & 0xFF
            else:
                start = block * (384 if format_name == "q6s" else 256)
                shift = 4 * (column % 8 // 4)
                row[start + column // 8 * 64 + output * 4 + column % 4] |= (value & 15) << shift
            if format_name == "q6s":
                shift = 2 * (column % 16 // 4)
                row[start + 256 + column // 16 * 64 + output * 4 + column % 4] |= value >> 4 << shift


def random_tile_row(format_name: str, blocks: int, rng: np.random.Generator) -> tuple[bytes, np.ndarray[Any, Any]]:
    """The bytes of a tile row and the values that they mean."""
    row = bytearray(tile_row_bytes(format_name, blocks * 32))
    values = np.zeros((16, blocks * 32), np.float32)
    if format_name in ("f16", "f32"):
        plain = rng.standard_normal((16, blocks * 32)).astype(
            f"<f{format_name[1:]}".replace("16", "2").replace("32", "4")
        )
        row[:] = np.ascontiguousarray(plain.T).tobytes()
        return bytes(row), plain.astype(np.float32)
    if format_name == "q4p":
        return random_two_level_row(row, blocks, rng)
    low, high = {"q6s": (0, 64), "q8s": (-128, 128)}.get(format_name, (0, 16))
    start = blocks * {"q6s": 384, "q8s": 512}.get(format_name, 256)
    for block in range(blocks):
        quants = rng.integers(low, high, (16, 32))
        put_block(row, format_name, block, quants)
        for output in range(16):
            d, m = rng.standard_normal(2).astype("<f2")
            place = start + (block * 16 + output) * 2
            row[place : place + 2] = d.tobytes()
            zero = {"q4s": 8, "q6s": 32}.get(format_name, 0)
            result = np.float32(d) * (quants[output] - zero).astype(np.float32)
            if format_name == "q4a":
                row[place + blocks * 32 : place + blocks * 32 + 2] = m.tobytes()
                result += np.float32(m)
            values[output, block * 32 : block * 32 + 32] = result
    return bytes(row), values


def random_two_level_row(row: bytearray, blocks: int, rng: np.random.Generator) -> tuple[bytes, np.ndarray[Any, Any]]:
    values = np.zeros((16, blocks * 32), np.float32)
    scales = rng.standard_normal((-(-blocks // 8), 16)).astype("<f2")
    for block in range(blocks):
        quants, steps = rng.integers(0, 16, (16, 32)), rng.integers(0, 16, 16)
        put_block(row, "q4p", block, quants)
        for output in range(16):
            row[blocks * 256 + block * 8 + output % 8] |= int(steps[output]) << (4 if output >= 8 else 0)
            factor = np.float32(scales[block // 8, output]) * np.float32(steps[output])
            values[output, block * 32 : block * 32 + 32] = factor * (quants[output] - 8).astype(np.float32)
    place = blocks * 264
    row[place : place + scales.nbytes] = scales.tobytes()
    return bytes(row), values


@pytest.mark.parametrize("format_name", ["q4s", "q4a", "q4p", "q6s", "q8s", "f16", "f32"])
def test_the_reader_on_the_page_reads_what_its_rules_describe(tmp_path: Path, format_name: str) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    page: dict[str, Any] = {}
    exec(code, page)
    rng = np.random.default_rng(5)
    rows = [random_tile_row(format_name, num_blocks(SHAPE[1]), rng) for _ in range(num_tile_rows(SHAPE[0]))]
    assert sum(len(data) for data, _ in rows) == tensor_bytes(format_name, SHAPE)
    vector = rng.standard_normal(9).astype("<f4")
    with PackageWriter(tmp_path / "m", max_chunk_bytes=2 * len(rows[0][0])) as writer:
        for stage in ("embed", "layer.0", "head"):
            writer.begin_stage(stage)
            writer.add_tensor(f"{stage}.vector", "f32", (9,), [vector.tobytes()])
            writer.add_tensor(f"{stage}.matrix", format_name, SHAPE, [data for data, _ in rows])
        model = replace(TINY, family="toy", num_layers=1)
        writer.commit(name="m", model=model, recipe={}, quality={}, provenance={})
    expected = np.concatenate([values for _, values in rows])[: SHAPE[0], : SHAPE[1]]
    assert np.array_equal(page["read_tensor"](tmp_path / "m", "layer.0.matrix"), expected)
    assert np.array_equal(page["read_tensor"](tmp_path / "m", "head.vector"), vector)
