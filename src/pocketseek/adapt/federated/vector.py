"""An adapter's change as one vector: what travels, is clipped, noised and added up. The model never does."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pocketseek.adapt.train_tensors import AdapterTensors, Floats

Shapes = Mapping[str, tuple[int, int]]
_RANDOM_BITS = 53


def num_values(shapes: Shapes) -> int:
    return sum(rows * columns for rows, columns in shapes.values())


def to_vector(tensors: Mapping[str, Floats], shapes: Shapes) -> Floats:
    """One after another, in the order of `shapes`."""
    return np.concatenate([np.ascontiguousarray(tensors[name], np.float32).reshape(-1) for name in shapes])


def to_tensors(vector: Floats, shapes: Shapes) -> AdapterTensors:
    tensors, start = {}, 0
    for name, (rows, columns) in shapes.items():
        tensors[name] = vector[start : start + rows * columns].reshape(rows, columns).copy()
        start += rows * columns
    return tensors


def norm(vector: Floats) -> float:
    """Euclidean; in float64, so that finite values have a finite one."""
    return float(np.linalg.norm(vector.astype(np.float64)))


def clipped(vector: Floats, most: float) -> Floats:
    """Shortened to a norm of `most` if it is longer, and no longer by rounding either: proofs rest on it."""
    length = norm(vector)
    if length <= most:
        return vector
    shortened = (vector.astype(np.float64) * (most / length)).astype(np.float32)
    while norm(shortened) > most:
        shortened *= np.float32(1 - 2**-22)
    return shortened


def with_noise(vector: Floats, deviation: float) -> Floats:
    """With independent Gaussian noise of that standard deviation in every place."""
    if deviation <= 0.0:
        return vector
    return (vector + deviation * gaussian(len(vector))).astype(np.float32)


def gaussian(count: int) -> NDArray[np.float64]:
    """Standard normal values that nobody can foretell: Box and Muller's transform of the system's random numbers."""
    pairs = (count + 1) // 2
    words = np.frombuffer(os.urandom(16 * pairs), np.uint64) >> np.uint64(64 - _RANDOM_BITS)
    uniform = (words.astype(np.float64) + 0.5) / 2.0**_RANDOM_BITS
    radius, angle = np.sqrt(-2 * np.log(uniform[:pairs])), 2 * np.pi * uniform[pairs:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
