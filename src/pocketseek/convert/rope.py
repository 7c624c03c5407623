"""Rotary frequencies with every supported scaling already applied, as transformers computes them.

    none     theta ** (-2i / head_dim)
    linear   divided by factor (positions are stretched)
    llama3   long waves divided by factor, short ones kept, a smooth ramp between (Llama 3.1)
    yarn     a ramp over the dimensions from kept to divided by factor, and cos/sin scaled by attention_factor

Computed in float64 and rounded once to float32 (transformers works in float32: the last two bits may differ).
Not covered: dynamic, longrope and multi-axis ropes, whose frequencies depend on the prompt (UnsupportedError by whoever
reads the checkpoint's settings).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pocketseek.types import RopeScaling

_MIN_RAMP = 0.001


def inverse_frequencies(
    head_dim: int, theta: float, scaling: RopeScaling, *, truncate: bool = True
) -> NDArray[np.float32]:
    """head_dim / 2 frequencies in radians per position. truncate: yarn's ramp begins and ends at whole dimensions."""
    plain = theta ** -(np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    if scaling.kind == "linear":
        scaled = plain / scaling.factor
    elif scaling.kind == "llama3":
        scaled = _llama3(plain, scaling)
    elif scaling.kind == "yarn":
        scaled = _yarn(plain, head_dim, theta, scaling, truncate)
    else:
        scaled = plain
    return scaled.astype(np.float32)


def divided_frequencies(
    head_dim: int, theta: float, divisors: NDArray[np.float32]
) -> tuple[NDArray[np.float32], RopeScaling]:
    """The llama3 scaling of a GGUF file, which carries it only as one divisor per frequency (`rope_freqs.weight`)."""
    plain = theta ** -(np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    scaled = (plain / divisors.astype(np.float64)).astype(np.float32)
    return scaled, RopeScaling(kind="llama3", factor=float(divisors.max()))


def yarn_attention_factor(factor: float, mscale: float = 0.0, mscale_all_dim: float = 0.0) -> float:
    """What yarn multiplies cos and sin by if the checkpoint does not say. mscale counts only if both are given."""
    if mscale and mscale_all_dim:
        return _mscale(factor, mscale) / _mscale(factor, mscale_all_dim)
    return _mscale(factor, 1.0)


def yarn_score_factor(scaling: RopeScaling, mscale_all_dim: float) -> float:
    """What DeepSeek's models multiply attention scores by besides 1 / sqrt(head size)."""
    return _mscale(scaling.factor, mscale_all_dim) ** 2 if scaling.kind == "yarn" and mscale_all_dim else 1.0


def _mscale(factor: float, weight: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0


def _llama3(plain: NDArray[np.float64], scaling: RopeScaling) -> NDArray[np.float64]:
    rotations = scaling.original_context * plain / (2 * math.pi)  # full turns over the original context
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    kept: NDArray[np.float64] = np.clip((rotations - low) / (high - low), 0.0, 1.0)
    return plain * (kept + (1.0 - kept) / scaling.factor)


def _yarn(
    plain: NDArray[np.float64], head_dim: int, theta: float, scaling: RopeScaling, truncate: bool
) -> NDArray[np.float64]:
    def dimension_of(num_turns: float) -> float:
        return head_dim * math.log(scaling.original_context / (num_turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = dimension_of(scaling.beta_fast), dimension_of(scaling.beta_slow)
    if truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    if low == high:
        high += _MIN_RAMP
    divided: NDArray[np.float64] = np.clip((np.arange(len(plain)) - low) / (high - low), 0.0, 1.0)
    return plain * (divided / scaling.factor + (1.0 - divided))
