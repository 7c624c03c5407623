"""Scales of a matrix's input channels that make its rounding cost less, folded into what makes these inputs.

Multiplying the columns of a matrix by s and dividing its inputs by s changes nothing in exact arithmetic, but rounding
is finer then where s is large (AWQ: Lin et al., 2023, "Activation-aware Weight Quantization"). Dividing inputs costs
nothing while running: it is done to a norm's weights (for q, k, v and for gate, up), to the rows of up (for down), or
to the rows of v (for o: one scale for all query heads that share a channel).

    s = activation^share / weight^evened

activation is the root mean square of an input on calibration text; weight the largest magnitude in its column, rows
taken relative to their own size, since 32 columns share one scale in each row and are rounded best if they are alike
(SmoothQuant: Xiao et al., 2022). The exponents are those of EXPONENTS with which the error of the outputs after
quantising, compensation included, is least, tried on some of the rows. None is used where the best gains less than
LEAST_GAIN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.compensate import quantize_compensated
from pocketseek.convert.gram import Gram
from pocketseek.convert.layer_math import Floats
from pocketseek.convert.quantize import dequantize
from pocketseek.types import ModelConfig

EXPONENTS = ((0.15, 0.25), (0.3, 0.3), (0.15, 0.5), (0.4, 0.5))  # (share, evened)
LEAST_GAIN = 0.05  # less did not show in what models say, and what is seen on some rows wanders by as much
_TRIED_ROWS = 128  # of each matrix
_MOST = 16.0  # so that float16 scales of divided rows stay far from the smallest ones
_LEAST = 1e-3

Shared = Callable[[Floats], Floats]
"""Figures of inputs (columns,) -> the same, alike where inputs must have one scale."""


def choose_scales(readers: Sequence[tuple[str, Floats]], gram: Gram, shared: Shared | None = None) -> Floats | None:
    """readers: (format, weights) of all matrices with these inputs. Returns what their columns are multiplied by."""
    activation, weight = gram.importance, _column_peaks([weights for _, weights in readers])
    if shared is not None:
        activation, weight = shared(activation), shared(weight)
    some = [(format_name, _some_rows(weights)) for format_name, weights in readers]
    best, best_error = None, (1 - LEAST_GAIN) * _error(some, gram, np.ones_like(weight))
    for share, evened in EXPONENTS:
        scales = _scales(_floored(np.sqrt(activation)) ** share / _floored(weight) ** evened)
        error = _error(some, gram, scales)
        if error < best_error:
            best, best_error = scales, error
    return best


def over_query_heads(config: ModelConfig, figures: Floats) -> Floats:
    """Of attention's output (heads * dim): the mean over those query heads that read one channel of v, for each."""
    grouped = figures.reshape(config.num_kv_heads, config.queries_per_kv_head, config.head_dim)
    return np.repeat(grouped.mean(axis=1, keepdims=True), config.queries_per_kv_head, axis=1).reshape(-1)


def of_values(config: ModelConfig, scales: Floats) -> Floats:
    """Scales of attention's output (heads * dim) -> of the channels of v (kv heads * dim)."""
    grouped = scales.reshape(config.num_kv_heads, config.queries_per_kv_head, config.head_dim)
    return np.ascontiguousarray(grouped[:, 0]).reshape(-1)


def _column_peaks(matrices: Sequence[Floats]) -> Floats:
    peaks = []
    for weights in matrices:
        sizes = np.sqrt(np.square(weights).mean(axis=1, keepdims=True))
        peaks.append((np.abs(weights) / np.where(sizes > 0, sizes, np.float32(1))).max(axis=0))
    return np.asarray(np.maximum.reduce(peaks))


def _floored(values: Floats) -> NDArray[np.float64]:
    """A channel that is never used is scaled as one of a thousandth of the largest."""
    peak = float(values.max())
    return np.asarray(np.maximum(values.astype(np.float64), _LEAST * peak if peak > 0 else 1.0))


def _scales(wanted: NDArray[np.float64]) -> Floats:
    centred = wanted / np.exp(np.log(wanted).mean())  # the whole keeps its size
    return np.asarray(np.clip(centred, 1 / _MOST, _MOST), np.float32)


def _some_rows(weights: Floats) -> Floats:
    return weights[:: max(1, len(weights) // _TRIED_ROWS)]


def _error(readers: Sequence[tuple[str, Floats]], gram: Gram, scales: Floats) -> float:
    """Of the outputs, all readers together."""
    scaled_gram = gram.divided_by(scales)
    total = 0.0
    for format_name, weights in readers:
        planes = quantize_compensated(format_name, weights * scales, scaled_gram)
        values = dequantize(format_name, planes)[:, : weights.shape[1]] / scales
        total += gram.error_of(values - weights)
    return total
