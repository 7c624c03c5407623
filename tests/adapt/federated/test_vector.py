from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.adapt.federated.vector import clipped, gaussian, norm, num_values, to_tensors, to_vector, with_noise

SHAPES = {"b": (3, 2), "a": (1, 5)}


def test_tensors_become_a_vector_and_come_back() -> None:
    rng = np.random.default_rng(0)
    tensors = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
    vector = to_vector(tensors, SHAPES)
    assert len(vector) == num_values(SHAPES) == 11
    back = to_tensors(vector, SHAPES)
    assert all(back[name].tobytes() == tensors[name].tobytes() for name in SHAPES)


@given(st.integers(1, 300), st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.integers(0, 9))
def test_a_clipped_vector_is_never_longer(length: int, size: float, most: float, seed: int) -> None:
    vector = (np.random.default_rng(seed).standard_normal(length) * size).astype(np.float32)
    short = clipped(vector, most)
    assert norm(short) <= most
    if norm(vector) <= most:
        assert short is vector
    else:
        assert norm(short) == pytest.approx(most, rel=1e-5)
        np.testing.assert_allclose(short, vector * (most / norm(vector)), rtol=1e-4, atol=1e-12)


def test_values_that_are_finite_have_a_finite_norm() -> None:
    assert np.isfinite(norm(np.full(10, 3e38, np.float32)))


def test_noise_is_normal_and_nobody_can_foretell_it() -> None:
    values = gaussian(200_001)
    assert abs(values.mean()) < 0.02
    assert abs(values.std() - 1) < 0.02
    assert abs((values**4).mean() - 3) < 0.3
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.02
    assert not np.array_equal(gaussian(8), gaussian(8))
    still = np.ones(4, np.float32)
    assert with_noise(still, 0.0) is still
    assert with_noise(still, 1.0).dtype == np.float32
