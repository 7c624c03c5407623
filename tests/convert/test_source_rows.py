from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from checkpoints import encode, write_gguf
from fp8_checkpoints import write_fp8

from pocketseek.convert.families.base import RowPick, TensorPlan
from pocketseek.convert.slabs import read_matrix
from pocketseek.convert.source_rows import delivered_type, read_stored
from pocketseek.convert.sources.base import Source
from pocketseek.convert.sources.ggml_types import dequantise
from pocketseek.convert.sources.open import open_source

RANGES = [(0, 16), (16, 48), (5, 7), (0, 48)]
OpenArray = Callable[[np.ndarray, str], Source]


@pytest.fixture
def open_array(tmp_path: Path) -> Iterator[OpenArray]:
    """One array as the only tensor "x" of a GGUF file."""
    opened: list[Source] = []

    def open_it(values: np.ndarray, type_name: str) -> Source:
        path = tmp_path / f"{len(opened)}.gguf"
        write_gguf(path, {"general.architecture": "llama"}, {"x": (type_name, encode(type_name, values))})
        opened.append(open_source(path))
        return opened[-1]

    yield open_it
    for source in opened:
        source.close()


def random_values(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def read_values(source: Source, plan: TensorPlan, start: int, stop: int) -> np.ndarray:
    return dequantise(delivered_type(source, plan), read_stored(source, plan, start, stop))


def plan_of(shape: tuple[int, ...], picks: RowPick, scales_name: str = "") -> TensorPlan:
    return TensorPlan("layer.0.x", "layer.0", "x", shape, picks, scales_name=scales_name)


@pytest.mark.parametrize("type_name", ["F32", "BF16", "Q8_0"])
def test_an_expert_is_its_part_of_the_stack(type_name: str, open_array: OpenArray) -> None:
    source = open_array(random_values(5, 48, 32), type_name)
    whole = source.read_rows("x", 0, 5 * 48).reshape(5, 48, 32)
    for expert in (0, 3, 4):
        plan = plan_of((48, 32), RowPick(48, 48, first=expert * 48))
        for start, stop in RANGES:
            np.testing.assert_array_equal(read_values(source, plan, start, stop), whole[expert, start:stop])


@pytest.mark.parametrize("type_name", ["F32", "Q8_0"])
def test_only_the_last_rows_of_a_head_are_put_in_order(type_name: str, open_array: OpenArray) -> None:
    source = open_array(random_values(48, 32), type_name)
    plan = plan_of((48, 32), RowPick(24, 24, paired=8))
    whole = source.read_rows("x", 0, 48)
    order = [*range(16), 16, 18, 20, 22, 17, 19, 21, 23]
    expected = whole[[*order, *(24 + row for row in order)]]
    for start, stop in RANGES:
        np.testing.assert_array_equal(read_values(source, plan, start, stop), expected[start:stop])


@pytest.mark.parametrize("type_name", ["F32", "F16", "BF16", "Q8_0", "Q4_0"])
def test_kv_b_is_split_and_its_first_half_transposed(type_name: str, open_array: OpenArray) -> None:
    source = open_array(random_values(3 * 48, 64), type_name)  # three heads of 32 + 16 rows
    by_head = source.read_rows("x", 0, 3 * 48).reshape(3, 48, 64)
    keys = plan_of((3 * 64, 32), RowPick(48, 32, transposed=True))
    values = plan_of((3 * 16, 64), RowPick(48, 16, start=32))
    expected = by_head[:, :32].swapaxes(1, 2).reshape(3 * 64, 32)
    for start, stop in [*RANGES, (60, 130)]:
        np.testing.assert_array_equal(read_values(source, keys, start, stop), expected[start:stop])
    np.testing.assert_array_equal(read_values(source, values, 0, 48), by_head[:, 32:].reshape(48, 64))


def test_what_can_stay_encoded_does(open_array: OpenArray) -> None:
    source = open_array(random_values(96, 32), "Q8_0")
    assert delivered_type(source, plan_of((96, 32), RowPick(24, 24, paired=8))) == "Q8_0"
    assert delivered_type(source, plan_of((64, 24), RowPick(48, 24, transposed=True))) == "F32"
    plain = open_array(random_values(96, 32), "BF16")
    assert delivered_type(plain, plan_of((64, 24), RowPick(48, 24, transposed=True))) == "BF16"


def test_fp8_rows_are_scaled_wherever_they_begin(tmp_path: Path) -> None:
    values = random_values(300, 160)
    expected = write_fp8(tmp_path, {"x": values})["x"]
    source = open_source(tmp_path)
    try:
        plan = TensorPlan("layer.0.x", "layer.0", "x", values.shape, scales_name="x_scale_inv")
        np.testing.assert_array_equal(read_matrix(source, plan), expected)
        for start, stop in [(0, 16), (112, 144), (130, 300)]:
            np.testing.assert_array_equal(read_values(source, plan, start, stop), expected[start:stop])
        heads = plan_of((2 * 160, 100), RowPick(150, 100, transposed=True), "x_scale_inv")
        by_head = expected.reshape(2, 150, 160)[:, :100].swapaxes(1, 2).reshape(320, 100)
        np.testing.assert_array_equal(read_values(source, heads, 0, 320), by_head)
    finally:
        source.close()
