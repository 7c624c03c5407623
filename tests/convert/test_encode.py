from __future__ import annotations

import numpy as np
import pytest
from checkpoints import encode, random_blocks
from tile_rows import slow_values

from pocketseek.convert.encode import Loss, encode_rows, fits_f16
from pocketseek.convert.recipe import KEEP_FORMATS
from pocketseek.convert.sources.fp8 import FP8_TYPE
from pocketseek.convert.sources.ggml_types import RAW_TYPES, dequantise
from pocketseek.errors import FormatError

PLAIN = ("F32", "F16", "BF16")


def stored(type_name: str, rows: int = 18, cols: int = 256, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if type_name in PLAIN:
        return encode(type_name, rng.standard_normal((rows, cols)).astype(np.float32))
    return random_blocks(type_name, rows, cols, rng)


def measured_error(type_name: str, format_name: str, raw: np.ndarray) -> float:
    encoded = encode_rows(type_name, format_name, raw)
    values = dequantise(type_name, raw)
    error = slow_values(format_name, encoded.packed, *values.shape).astype(np.float64) - values
    return float(np.sqrt((error**2).sum() / (values.astype(np.float64) ** 2).sum()))


def reported_error(loss: Loss) -> float:
    return float(np.sqrt(loss.squared_error / loss.squared_values)) if loss.squared_values else 0.0


def test_every_readable_type_has_a_format_to_be_kept_in() -> None:
    assert set(KEEP_FORMATS) == RAW_TYPES


@pytest.mark.parametrize(
    ("type_name", "format_name"),
    [
        *sorted((k, v) for k, v in KEEP_FORMATS.items() if k != FP8_TYPE),
        ("BF16", "q4s"),
        ("Q4_0", "q6s"),
        ("BF16", "q6s"),
        ("Q6_K", "q4s"),
        ("F32", "q8s"),
    ],
)
def test_reported_error_is_that_of_the_packed_bytes(type_name: str, format_name: str) -> None:
    raw = stored(type_name)
    loss = encode_rows(type_name, format_name, raw).loss
    actual = measured_error(type_name, format_name, raw)
    assert reported_error(loss) == pytest.approx(actual, rel=1e-3, abs=1e-9)
    assert loss.is_exact == (actual == 0)


@pytest.mark.parametrize("type_name", ["F32", "F16", "Q4_0", "Q4_1", "Q5_0", "Q8_0"])
def test_types_with_a_format_of_their_own_are_kept_exactly(type_name: str) -> None:
    raw = stored(type_name)
    encoded = encode_rows(type_name, KEEP_FORMATS[type_name], raw)
    values = slow_values(KEEP_FORMATS[type_name], encoded.packed, 18, 256)
    assert encoded.loss.is_exact
    assert values.tobytes() == dequantise(type_name, raw).tobytes()


@pytest.mark.parametrize(
    ("type_name", "bound"),
    [("Q4_K", 5e-4), ("Q5_1", 0.01), ("Q5_K", 0.01), ("Q6_K", 0.01), ("Q2_K", 0.2), ("Q3_K", 0.12)],
)
def test_other_types_lose_little(type_name: str, bound: float) -> None:
    assert 0 < measured_error(type_name, KEEP_FORMATS[type_name], stored(type_name)) < bound


def test_bf16_weights_of_usual_size_are_exact_in_f16() -> None:
    raw = encode("BF16", np.linspace(-4, 4, 512, dtype=np.float32).reshape(16, 32))
    assert encode_rows("BF16", "f16", raw).loss.is_exact


def test_bf16_values_below_the_normal_f16_range_are_reported() -> None:
    raw = encode("BF16", np.full((1, 32), 3.01e-7, np.float32))
    loss = encode_rows("BF16", "f16", raw).loss
    assert not loss.is_exact
    assert reported_error(loss) == pytest.approx(measured_error("BF16", "f16", raw), rel=1e-3)


@pytest.mark.parametrize(("value", "fits"), [(65280.0, True), (65536.0, False), (-65536.0, False), (-65280.0, True)])
@pytest.mark.parametrize("type_name", ["BF16", "F32"])
def test_range_of_f16_is_recognised(type_name: str, value: float, fits: bool) -> None:
    values = np.ones((2, 32), np.float32)
    values[1, 7] = value
    assert fits_f16(type_name, encode(type_name, values)) is fits


def test_values_beyond_f16_are_refused_in_f16() -> None:
    with pytest.raises(FormatError, match="too large for float16"):
        encode_rows("BF16", "f16", encode("BF16", np.full((1, 32), 1e6, np.float32)))


@pytest.mark.parametrize(
    ("type_name", "format_name"), [("F32", "f32"), ("F16", "f16"), ("BF16", "f16"), ("F32", "q4s")]
)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(type_name: str, format_name: str, bad: float) -> None:
    values = np.ones((3, 32), np.float32)
    values[2, 31] = bad
    with pytest.raises(FormatError, match="not finite"):
        encode_rows(type_name, format_name, encode(type_name, values))


def test_losses_add_up() -> None:
    total = Loss(1.0, 10.0, True) + Loss(2.0, 20.0, False)
    assert total == Loss(3.0, 30.0, False)
