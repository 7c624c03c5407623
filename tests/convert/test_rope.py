"""Expected frequencies come from transformers 5 (`ROPE_INIT_FUNCTIONS`), printed to nine digits."""

from __future__ import annotations

import numpy as np
import pytest

from pocketseek.convert.rope import divided_frequencies, inverse_frequencies, yarn_attention_factor
from pocketseek.types import RopeScaling

LLAMA3 = RopeScaling(kind="llama3", factor=8.0, original_context=8192, low_freq_factor=1.0, high_freq_factor=4.0)
# fmt: off
CASES = {
    "linear": (1e5, RopeScaling(kind="linear", factor=4.0), True, [
        0.25, 0.0592843406, 0.0140585322, 0.00333380373, 0.000790569466, 0.000187473546, 4.44569851e-05,
        1.05424133e-05]),
    "llama3": (5e5, LLAMA3, True, [
        1.0, 0.440366626, 0.193922758, 0.0853971019, 0.0376060307, 0.0165604409, 0.00729266508, 0.00321144611,
        0.000524846022, 7.78465546e-05, 3.42810235e-05, 1.50962178e-05, 6.64786967e-06, 2.92749974e-06,
        1.28917316e-06, 5.6770881e-07]),
    "yarn": (1e6, RopeScaling(kind="yarn", factor=4.0, original_context=32768), True, [
        1.0, 0.421696514, 0.177827939, 0.0749894157, 0.0316227786, 0.0133352149, 0.00477990136, 0.00165996165,
        0.000549999997, 0.000168678584, 4.44569851e-05, 1.87473561e-05, 7.90569356e-06, 3.33380353e-06,
        1.40585337e-06, 5.92843435e-07]),
    "yarn, ramp not truncated": (1e4, RopeScaling(kind="yarn", factor=4.0, original_context=256), False, [
        1.0, 0.253972292, 0.0553986356, 0.00963994302, 0.00249999994, 0.000790569466, 0.000250000012,
        7.90569466e-05]),
    "yarn, factor 40": (1e4, RopeScaling(kind="yarn", factor=40.0, original_context=4096), True, [
        1.0, 0.316227764, 0.100000001, 0.0239147246, 0.00512499968, 0.000849862176, 2.49999994e-05, 7.90569447e-06]),
    "yarn, original context of 8": (1e4, RopeScaling(kind="yarn", factor=2.0, original_context=8), True, [
        1.0, 0.158113882, 0.0500000007, 0.0158113893, 0.00499999989, 0.00158113893, 0.000500000024,
        0.000158113893]),
}
# fmt: on


@pytest.mark.parametrize("case", CASES)
def test_frequencies_are_those_of_transformers(case: str) -> None:
    theta, scaling, truncate, expected = CASES[case]
    frequencies = inverse_frequencies(2 * len(expected), theta, scaling, truncate=truncate)
    assert frequencies.dtype == np.float32
    np.testing.assert_allclose(frequencies, expected, rtol=5e-7)


def test_without_scaling_frequencies_are_powers_of_theta() -> None:
    np.testing.assert_allclose(inverse_frequencies(8, 1e4, RopeScaling()), [1, 0.1, 0.01, 0.001], rtol=1e-7)


def test_divisors_of_a_gguf_give_the_frequencies_of_llama3() -> None:
    expected = inverse_frequencies(128, 5e5, LLAMA3)
    plain = inverse_frequencies(128, 5e5, RopeScaling())
    frequencies, scaling = divided_frequencies(128, 5e5, plain / expected)
    np.testing.assert_allclose(frequencies, expected, rtol=3e-7)
    assert scaling.kind == "llama3"
    assert scaling.factor == pytest.approx(8.0)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [((4.0,), 1.138629436111989), ((40.0, 0.707, 0.5), 1.064468903941252), ((40.0, 0.707), 1.3688879454113936)],
)
def test_attention_factors_are_those_of_transformers(arguments: tuple[float, ...], expected: float) -> None:
    assert yarn_attention_factor(*arguments) == pytest.approx(expected, rel=1e-12)


def test_no_stretching_means_no_attention_factor() -> None:
    assert yarn_attention_factor(1.0) == 1.0
