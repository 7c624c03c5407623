from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from checkpoints import encode, write_gguf
from hypothesis import given, settings
from hypothesis import strategies as st
from tile_rows import slow_values

from pocketseek.convert.families.base import RowPick, TensorPlan
from pocketseek.convert.slabs import (
    encode_matrix,
    matrix_fits_f16,
    read_vector,
    slab_ranges,
)
from pocketseek.convert.source_rows import pairs_to_halves, read_stored
from pocketseek.convert.sources.base import Source
from pocketseek.convert.sources.open import open_source
from pocketseek.errors import FormatError

OpenTensor = Callable[..., tuple[Source, TensorPlan]]


@pytest.fixture
def open_tensor(tmp_path: Path) -> Iterator[OpenTensor]:
    """Write one array as the only tensor of a GGUF file and open it."""
    opened: list[Source] = []

    def open_it(values: np.ndarray, type_name: str = "F32", head_dim: int = 0) -> tuple[Source, TensorPlan]:
        path = tmp_path / f"{len(opened)}.gguf"
        write_gguf(path, {"general.architecture": "llama"}, {"x": (type_name, encode(type_name, values))})
        opened.append(open_source(path))
        picks = RowPick(head_dim, head_dim, paired=head_dim) if head_dim else None
        return opened[-1], TensorPlan("layer.0.q", "layer.0", "x", values.shape, picks)

    yield open_it
    for source in opened:
        source.close()


def counted(rows: int, cols: int) -> np.ndarray:
    return np.arange(rows * cols, dtype=np.float32).reshape(rows, cols)


def slow_unpermute(rows: np.ndarray, head_dim: int) -> np.ndarray:
    """Row by row: llama.cpp put the partners (i, i + half) of each head side by side, at 2i and 2i + 1."""
    ordered = np.empty_like(rows)
    half = head_dim // 2
    for head in range(len(rows) // head_dim):
        for i in range(half):
            ordered[head * head_dim + i] = rows[head * head_dim + 2 * i]
            ordered[head * head_dim + i + half] = rows[head * head_dim + 2 * i + 1]
    return ordered


def encoded_values(source: Source, plan: TensorPlan, format_name: str, num_workers: int) -> np.ndarray:
    with ThreadPoolExecutor(num_workers) as pool:
        slabs = list(encode_matrix(source, plan, format_name, pool, num_workers))
    rows, cols = plan.shape
    return slow_values(format_name, np.concatenate([slab.rows.packed for slab in slabs]), rows, cols)


@settings(max_examples=30, deadline=None)
@given(num_heads=st.integers(1, 5), half=st.integers(1, 20), row_bytes=st.integers(1, 9))
def test_rotary_pairs_are_put_in_order_as_the_slow_version_does(num_heads: int, half: int, row_bytes: int) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (num_heads * half * 2, row_bytes), np.uint8)
    np.testing.assert_array_equal(pairs_to_halves(rows, 2 * half), slow_unpermute(rows, 2 * half))


@pytest.mark.parametrize("head_dim", [2, 6, 24, 48])
def test_any_range_of_rows_is_unpermuted_like_the_whole(head_dim: int, open_tensor: OpenTensor) -> None:
    source, plan = open_tensor(counted(48, 3), head_dim=head_dim)
    whole = slow_unpermute(source.read_raw("x", 0, 48), head_dim)
    for start, stop in [(0, 48), (0, 16), (16, 32), (32, 48), (5, 7), (47, 48)]:
        np.testing.assert_array_equal(read_stored(source, plan, start, stop), whole[start:stop])


@pytest.mark.parametrize("type_name", ["F32", "Q8_0"])
def test_an_unpermuted_matrix_is_right_across_slabs(
    type_name: str, open_tensor: OpenTensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketseek.convert.slabs._SLAB_VALUES", 16 * 32)
    source, plan = open_tensor(counted(80, 32) / 100, type_name, head_dim=20)
    values = encoded_values(source, plan, "f32", num_workers=3)
    np.testing.assert_array_equal(values, slow_unpermute(source.read_rows("x", 0, 80), 20))


def test_an_unpermuted_vector_is_right(open_tensor: OpenTensor) -> None:
    source, plan = open_tensor(np.arange(24, dtype=np.float32), head_dim=12)
    np.testing.assert_array_equal(read_vector(source, plan), slow_unpermute(np.arange(24), 12))


@pytest.mark.parametrize("num_workers", [1, 2, 5])
def test_slabs_come_out_in_order_whatever_the_workers(
    num_workers: int, open_tensor: OpenTensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketseek.convert.slabs._SLAB_VALUES", 1)
    source, plan = open_tensor(counted(150, 8))
    np.testing.assert_array_equal(encoded_values(source, plan, "f32", num_workers), counted(150, 8))


def test_no_more_slabs_are_read_than_workers_can_use(open_tensor: OpenTensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketseek.convert.slabs._SLAB_VALUES", 1)
    source, plan = open_tensor(counted(320, 8))
    read: list[int] = []
    read_raw = source.read_raw

    def watched(name: str, start: int, stop: int) -> np.ndarray:
        read.append(start)
        return read_raw(name, start, stop)

    monkeypatch.setattr(source, "read_raw", watched)
    with ThreadPoolExecutor(2) as pool:
        slabs = encode_matrix(source, plan, "f32", pool, 2)
        next(slabs)
        assert len(read) == 3
        slabs.close()


def test_rows_of_the_slabs_add_up_to_the_tensor(open_tensor: OpenTensor) -> None:
    source, plan = open_tensor(counted(50, 32), "Q8_0")
    with ThreadPoolExecutor(1) as pool:
        assert sum(slab.num_rows for slab in encode_matrix(source, plan, "q8s", pool, 1)) == 50


def test_an_error_in_a_worker_names_the_tensor(open_tensor: OpenTensor) -> None:
    values = counted(40, 32)
    values[33, 3] = np.nan
    source, plan = open_tensor(values)
    with ThreadPoolExecutor(2) as pool, pytest.raises(FormatError, match=r"tensor 'x' holds values .* not finite"):
        list(encode_matrix(source, plan, "q4s", pool, 2))


def test_a_vector_that_is_not_finite_is_refused_by_name(open_tensor: OpenTensor) -> None:
    source, plan = open_tensor(np.array([1, np.inf], np.float32))
    with pytest.raises(FormatError, match="tensor 'x' holds values"):
        read_vector(source, plan)


@pytest.mark.parametrize(("value", "fits"), [(1.0, True), (70000.0, False)])
def test_the_whole_matrix_is_searched_for_values_beyond_f16(
    value: float, fits: bool, open_tensor: OpenTensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketseek.convert.slabs._SLAB_VALUES", 1)
    values = np.ones((50, 4), np.float32)
    values[49, 3] = value
    assert matrix_fits_f16(*open_tensor(values, "BF16")) is fits


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(1, 10**6), cols=st.integers(1, 10**6))
def test_slabs_are_whole_tile_rows_of_bounded_size(rows: int, cols: int) -> None:
    ranges = slab_ranges((rows, cols))
    start, stop = next(ranges)
    assert start == 0
    assert stop == rows or stop % 16 == 0
    assert (stop - start) * cols <= max(1 << 20, 16 * cols)
