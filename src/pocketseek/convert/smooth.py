"""Moves what makes activations hard to quantise with one scale into the weights, where each row has its own.

A few channels of an activation are often far larger than the rest. Dividing a channel by s where it comes about and
multiplying the weights that read it by s changes nothing in exact arithmetic (SmoothQuant, arXiv 2211.10438). Here s is
folded into norm weights, into rows of v and up, and between q and k, so that the model has no operation more.

`share` is how much moves: s = activation^share / weight^(1 - share), both by their largest magnitude per channel.
"""

from __future__ import annotations

import numpy as np

from pocketseek.convert.layer_math import Floats
from pocketseek.types import ModelConfig

_LEAST, _MOST = 1e-3, 1e3


def column_peaks(*matrices: Floats) -> Floats:
    """Largest magnitude in each column over all of them."""
    peaks: Floats = np.maximum.reduce([np.abs(matrix).max(axis=0) for matrix in matrices])
    return peaks


def channel_scales(activation_peaks: Floats, weight_peaks: Floats, share: float) -> Floats:
    """s for each channel; 1 where a channel is always 0 or never read."""
    used = (activation_peaks > 0) & (weight_peaks > 0)
    activation = np.where(used, activation_peaks, 1).astype(np.float64)
    weight = np.where(used, weight_peaks, 1).astype(np.float64)
    scales = activation**share / weight ** (1 - share)
    scales /= np.exp(np.log(scales).mean())  # the whole keeps its size
    result: Floats = np.where(used, np.clip(scales, _LEAST, _MOST), 1).astype(np.float32)
    return result


def over_query_heads(config: ModelConfig, peaks: Floats) -> Floats:
    """Peaks of channels of attention's output (heads * dim) -> of those of v that they come from (kv heads * dim)."""
    grouped = peaks.reshape(config.num_kv_heads, config.queries_per_kv_head, config.head_dim)
    peaks_there: Floats = grouped.max(axis=1).reshape(-1)
    return peaks_there


def for_query_heads(config: ModelConfig, scales: Floats) -> Floats:
    """Scales of channels of k or v (kv heads * dim) -> of those of the heads that read them (heads * dim)."""
    grouped = scales.reshape(config.num_kv_heads, 1, config.head_dim)
    return np.repeat(grouped, config.queries_per_kv_head, axis=1).reshape(-1)


def rotary_peaks(config: ModelConfig, peaks: Floats) -> Floats:
    """Both channels of a rotary pair (i, i + dim / 2) must have one scale: the larger peak, for each. (heads * dim)"""
    halves = peaks.reshape(-1, 2, config.head_dim // 2)
    return np.repeat(halves.max(axis=1, keepdims=True), 2, axis=1).reshape(-1)
