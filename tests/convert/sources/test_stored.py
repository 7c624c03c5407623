from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from checkpoints import gguf_bytes, write_gguf

from pocketseek.convert.sources.base import Source
from pocketseek.convert.sources.gguf import open_gguf
from pocketseek.errors import FormatError, UnsupportedError

MATRIX = np.arange(24, dtype=np.float32).reshape(6, 4)
EXPERTS = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    tensors = {
        "matrix": ("F32", MATRIX),
        "experts": ("F16", EXPERTS),
        "vector": ("BF16", np.arange(5, dtype=np.float32)),
        "scalar": ("F32", np.array(7, np.float32)),
        "blocks": ("Q8_0", np.zeros(68, np.uint8)),
        "future": ("IQ4_XS", np.zeros((2, 136), np.uint8)),
    }
    opened = open_gguf(write_gguf(tmp_path / "m.gguf", {}, tensors))
    yield opened
    opened.close()


def test_rows_of_a_matrix_are_two_dimensional(source: Source) -> None:
    np.testing.assert_array_equal(source.read_rows("matrix", 1, 3), MATRIX[1:3])
    assert source.read_raw("matrix", 1, 3).shape == (2, 16)


def test_leading_dimensions_are_flattened_into_rows(source: Source) -> None:
    assert source.tensors["experts"].num_rows == 6
    np.testing.assert_array_equal(source.read_rows("experts", 2, 4), EXPERTS.reshape(6, 4)[2:4])


def test_rows_of_a_vector_are_its_elements(source: Source) -> None:
    tensor = source.tensors["vector"]
    assert (tensor.is_vector, tensor.num_rows, tensor.num_cols) == (True, 5, 1)
    np.testing.assert_array_equal(source.read_rows("vector", 1, 4), np.array([1, 2, 3], np.float32))
    assert source.read_raw("vector", 1, 4).shape == (3, 2)


def test_a_scalar_is_a_vector_of_one(source: Source) -> None:
    assert source.read_rows("scalar", 0, 1).tolist() == [7.0]


@pytest.mark.parametrize("read", ["read_rows", "read_raw"])
def test_what_cannot_be_read_is_refused(source: Source, read: str) -> None:
    with pytest.raises(UnsupportedError, match="IQ4_XS cannot be read; use "):
        getattr(source, read)("future", 0, 1)
    with pytest.raises(UnsupportedError, match="'blocks' is quantised"):
        getattr(source, read)("blocks", 0, 64)
    with pytest.raises(FormatError, match="no tensor 'absent'; get "):
        getattr(source, read)("absent", 0, 1)


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (3, 2), (0, 7), (7, 7)])
def test_rows_outside_the_tensor_are_the_callers_mistake(source: Source, start: int, stop: int) -> None:
    with pytest.raises(ValueError, match="which has 6"):
        source.read_rows("matrix", start, stop)


def test_no_rows_are_an_empty_slab(source: Source) -> None:
    assert source.read_rows("matrix", 6, 6).shape == (0, 4)


def test_reading_after_close_raises(source: Source) -> None:
    source.close()
    source.close()
    with pytest.raises(ValueError, match="closed"):
        source.read_rows("matrix", 0, 1)


def test_a_file_cut_after_opening_is_reported(source: Source) -> None:
    os.truncate(source.path, 100)
    with pytest.raises(FormatError, match="download it again"):
        source.read_rows("experts", 0, 6)


def test_pieces_of_a_slab_join_without_seams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketseek.convert.sources.stored._PIECE_VALUES", 10)
    source = open_gguf(write_gguf(tmp_path / "m.gguf", {}, {"t": ("F32", MATRIX), "v": ("F32", MATRIX.reshape(-1))}))
    np.testing.assert_array_equal(source.read_rows("t", 0, 6), MATRIX)
    np.testing.assert_array_equal(source.read_rows("v", 1, 23), MATRIX.reshape(-1)[1:23])
    source.close()


def test_streaming_a_large_tensor_takes_the_memory_of_a_slab(tmp_path: Path) -> None:
    rows, cols, slab_rows = 16384, 4096, 2048
    data = gguf_bytes({}, {"t": ("Q8_0", np.zeros((1, cols // 32 * 34), np.uint8))})
    data = data.replace(np.array([cols, 1], "<u8").tobytes(), np.array([cols, rows], "<u8").tobytes())
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    with path.open("r+b") as sparse:
        sparse.truncate(len(data) + rows * cols // 32 * 34)
    source = open_gguf(path)
    assert source.tensors["t"].shape == (rows, cols)
    tracemalloc.start()
    for start in range(0, rows, slab_rows):
        assert source.read_rows("t", start, start + slab_rows)[-1, -1] == 0
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    source.close()
    slab_bytes = slab_rows * cols * 4
    assert peak_bytes < slab_bytes + (16 << 20)
