from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from checkpoints import GGUF_TYPES, encode
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pocketseek.convert.sources.ggml_types import (
    GGML_TYPES,
    QUANTISED_TYPES,
    READABLE_TYPES,
    TYPES_BY_NAME,
    dequantise,
    unpack,
)
from pocketseek.errors import UnsupportedError

GOLDEN = np.load(Path(__file__).with_name("ggml_golden.npz"))


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    return left.shape == right.shape and left.tobytes() == right.tobytes()


def random_rows(type_name: str, rows: int, blocks: int, seed: int) -> np.ndarray:
    row_bytes = blocks * GGUF_TYPES[type_name][2]
    return np.random.default_rng(seed).integers(0, 256, (rows, row_bytes), np.uint8)


@pytest.mark.parametrize("type_name", sorted(QUANTISED_TYPES))
def test_dequantise_gives_the_bits_of_ggmls_reference(type_name: str) -> None:
    assert same_bits(dequantise(type_name, GOLDEN[f"{type_name}.raw"]), GOLDEN[f"{type_name}.values"])


@pytest.mark.parametrize("type_name", sorted(QUANTISED_TYPES))
def test_planes_combine_to_the_values(type_name: str) -> None:
    planes = unpack(type_name, GOLDEN[f"{type_name}.raw"])
    scales = np.repeat(planes.scales, planes.group_values, axis=1)
    values = scales * planes.quants
    if planes.offsets is not None:
        values = values + np.repeat(planes.offsets, planes.group_values, axis=1)
    np.testing.assert_array_equal(values, GOLDEN[f"{type_name}.values"])


@pytest.mark.parametrize("type_name", sorted(QUANTISED_TYPES))
def test_rows_do_not_influence_each_other_across_pieces(type_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = random_rows(type_name, rows=7, blocks=3, seed=1)
    monkeypatch.setattr("pocketseek.convert.sources.ggml_types._PIECE_VALUES", 512)
    whole = dequantise(type_name, raw)
    assert all(same_bits(dequantise(type_name, raw[row : row + 1])[0], whole[row]) for row in range(7))


@pytest.mark.parametrize("type_name", sorted(QUANTISED_TYPES))
@pytest.mark.parametrize("byte", [0x00, 0xFF, 0x7C, 0x80])
def test_any_bytes_are_decoded_without_warnings(type_name: str, byte: int) -> None:
    raw = np.full((2, GGUF_TYPES[type_name][2]), byte, np.uint8)
    assert dequantise(type_name, raw).shape == (2, GGUF_TYPES[type_name][1])


def test_strided_rows_are_accepted() -> None:
    raw = random_rows("Q4_K", rows=6, blocks=2, seed=2)
    assert same_bits(dequantise("Q4_K", raw[::2]), dequantise("Q4_K", raw[::2].copy()))


@pytest.mark.parametrize("type_name", ["F32", "F16"])
def test_floats_keep_their_value(type_name: str) -> None:
    values = np.array([[0.0, -0.0, 1.5, -65504.0, 6e-8, np.inf]], "<f4" if type_name == "F32" else "<f2")
    assert same_bits(dequantise(type_name, values.view(np.uint8)), values.astype(np.float32))


@given(hnp.arrays(np.uint16, (2, 5), elements=st.integers(0, 0xFFFF)))
def test_bf16_is_the_upper_half_of_f32(bits: np.ndarray) -> None:
    values = dequantise("BF16", bits.view(np.uint8))
    assert np.array_equal(values.view(np.uint32), bits.astype(np.uint32) << 16)


@pytest.mark.parametrize(("type_name", "tolerance"), [("Q8_0", 1 / 127), ("Q4_0", 1 / 7), ("Q4_1", 2 / 15)])
def test_quantised_weights_come_back_within_a_step(type_name: str, tolerance: float) -> None:
    values = np.random.default_rng(3).uniform(-1, 1, (4, 64)).astype(np.float32)
    assert np.abs(dequantise(type_name, encode(type_name, values)) - values).max() <= tolerance


@pytest.mark.parametrize("type_name", sorted(set(TYPES_BY_NAME) - READABLE_TYPES))
def test_other_types_are_refused_by_name(type_name: str) -> None:
    with pytest.raises(UnsupportedError, match=f"{type_name} .*; use "):
        dequantise(type_name, np.zeros((1, TYPES_BY_NAME[type_name].block_bytes), np.uint8))


def test_planes_of_plain_types_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="no quantisation blocks"):
        unpack("F16", np.zeros((1, 64), np.uint8))


def test_a_row_with_half_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="no whole number"):
        dequantise("Q8_0", np.zeros((1, 35), np.uint8))


def test_no_rows_give_no_values() -> None:
    assert dequantise("Q6_K", np.zeros((0, 420), np.uint8)).shape == (0, 512)


def test_sizes_agree_with_the_writer() -> None:
    for type_id, entry in GGML_TYPES.items():
        if entry.name in GGUF_TYPES:
            assert GGUF_TYPES[entry.name] == (type_id, entry.block_values, entry.block_bytes)
