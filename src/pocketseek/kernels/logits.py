"""What sampling asks of a row of logits.

The compiled core gives the same bits on every processor; plain numpy, where there is no core, agrees within rounding.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import NativeCoreError
from pocketseek.kernels.choose import supported_sets
from pocketseek.kernels.contract import Floats

Indices = NDArray[np.intp]

_BLOCK = 32768  # values at a time for numpy: small arrays stay in the cache


def exp_weights(values: Floats, best: np.float32, divisor: np.float32) -> Floats:
    """e^((value - best) / divisor), float32; 0 where it would be below e^-87."""
    core, name = _core()
    if core is None:
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(np.exp((values - best) / divisor), np.float32)
    values = np.ascontiguousarray(values)
    weights = np.empty_like(values)
    core.exp_weights(name, values, best, divisor, weights)
    return weights


def exp_mass(values: Floats, best: np.float32, divisor: np.float32) -> float:
    """The sum of exp_weights, relative error below 1e-6."""
    core, name = _core()
    if core is None:
        blocks = (values[start : start + _BLOCK] for start in range(0, len(values), _BLOCK))
        return math.fsum(exp_weights(block, best, divisor).sum(dtype=np.float64) for block in blocks)
    return float(core.exp_mass(name, np.ascontiguousarray(values), best, divisor))


def at_least(values: Floats, threshold: float, most: int) -> Indices | None:
    """Indices of the values that reach the threshold, ascending; None if there are more than `most`."""
    core, name = _core()
    if core is None:
        found = (values >= np.float32(threshold)).nonzero()[0]
        return found if len(found) <= most else None
    room = np.empty(most, np.int32)
    count = core.at_least(name, np.ascontiguousarray(values), threshold, room)
    return room[:count].astype(np.intp) if count <= most else None


@functools.cache
def _core() -> tuple[Any, str]:
    """The compiled core and its best instruction set; (None, "") without one."""
    try:
        best = supported_sets()[-1]
    except NativeCoreError:
        return None, ""
    from pocketseek.kernels import _native

    return _native, best
