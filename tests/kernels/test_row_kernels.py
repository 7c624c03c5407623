"""The row functions on their own: the bits of the scalar twin on every instruction set, whatever a row's length."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from pocketseek.kernels import _native
from pocketseek.kernels.choose import supported_sets

Floats = NDArray[np.float32]
LENGTHS = (2, 30, 64, 100, 576)


def random_rows(seed: int, length: int, rows: int = 5) -> Floats:
    return np.random.default_rng(seed).normal(0, 3, (rows, length)).astype(np.float32)


def rms_norm(name: str, x: Floats) -> list[NDArray[np.generic]]:
    out = np.empty_like(x)
    _native.rms_norm(name, x, random_rows(2, x.shape[1])[0], 1e-6, out)
    return [out]


def swiglu(name: str, x: Floats) -> list[NDArray[np.generic]]:
    out = np.empty_like(x)
    _native.swiglu(name, x, random_rows(2, x.shape[1]), out)
    return [out]


def rotate(name: str, x: Floats) -> list[NDArray[np.generic]]:
    angles, out = random_rows(2, x.shape[1] // 2), x.copy()
    _native.rotate(name, out, np.cos(angles), np.sin(angles))
    return [out]


def quantise(name: str, x: Floats, group: int) -> list[NDArray[np.generic]]:
    rows, length = x.shape
    quants = np.empty((rows, -(-length // 32) * 32), np.int8)
    scales = np.empty((rows, -(-length // group)), np.float32)
    _native.quantise(name, x, group == 256, quants, scales)
    return [quants, scales]


KERNELS: dict[str, Callable[[str, Floats], list[NDArray[np.generic]]]] = {
    "rms_norm": rms_norm,
    "swiglu": swiglu,
    "rotate": rotate,
    "quantise 32": lambda name, x: quantise(name, x, 32),
    "quantise 256": lambda name, x: quantise(name, x, 256),
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("length", LENGTHS)
def test_every_instruction_set_gives_the_bits_of_the_scalar_twin(kernel: str, length: int) -> None:
    x = random_rows(1, length)
    expected = KERNELS[kernel]("scalar", x)
    for name in supported_sets()[1:]:
        for actual, wanted in zip(KERNELS[kernel](name, x), expected, strict=True):
            assert actual.tobytes() == wanted.tobytes(), name


def test_they_compute_what_their_names_say() -> None:
    best, x = supported_sets()[-1], random_rows(1, 96)
    weight, up, angles = random_rows(2, 96)[0], random_rows(2, 96), random_rows(2, 48)
    (normalised,), (gated,), (turned,) = rms_norm(best, x), swiglu(best, x), rotate(best, x)
    np.testing.assert_allclose(normalised, x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-6) * weight, rtol=1e-5)
    np.testing.assert_allclose(gated, x / (1 + np.exp(-x)) * up, rtol=1e-5)
    a, b = x[:, :48], x[:, 48:]
    wanted = np.hstack([a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)])
    np.testing.assert_allclose(turned, wanted, atol=1e-5)
    for group in (32, 256):
        quants, scales = quantise(best, x, group)
        values = quants * np.repeat(scales, group, axis=1)[:, :96]
        assert np.abs(values - x).max() <= scales.max() * 0.5001


def test_arrays_that_do_not_fit_are_refused() -> None:
    x, out = random_rows(1, 32), np.empty((5, 31), np.float32)
    with pytest.raises(ValueError, match="shapes"):
        _native.swiglu(supported_sets()[-1], x, x, out)
