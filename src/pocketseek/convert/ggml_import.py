"""GGUF blocks taken over as they are: the codes stay, only their place changes. No value is decoded on the way.

    Q4_0 -> q4s, q6s, q8s    Q4_1 -> q4a    Q5_0 -> q6s, q8s    Q8_0 -> q8s      exact, bit for bit
    Q4_K -> q4a                                               codes exact; d = scale * d and m = -min * dmin of each
                                                              32 inputs are rounded to float16

Not covered: types whose groups are no 32 inputs or whose codes do not fit (`encode` decodes and quantises those).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.pack import ZERO_CODE, Planes
from pocketseek.convert.sources.ggml_types import unpack
from pocketseek.errors import FormatError
from pocketseek.formats import BLOCK_COLS

EXACT_IMPORTS = frozenset(
    {
        *(("Q4_0", name) for name in ("q4s", "q6s", "q8s")),
        ("Q4_1", "q4a"),
        *(("Q5_0", name) for name in ("q6s", "q8s")),
        ("Q8_0", "q8s"),
    }
)
ROUNDED_IMPORTS = frozenset({("Q4_K", "q4a")})


def import_planes(type_name: str, format_name: str, raw: NDArray[np.uint8]) -> Planes:
    """Stored rows (rows, row_bytes) as planes; (type, format) is one of the pairs above.

    Raises FormatError where a scale is not finite in float16 (the caller adds the tensor's name).
    """
    blocks = unpack(type_name, raw)
    codes = blocks.quants.reshape(len(raw), -1, BLOCK_COLS)
    zero = ZERO_CODE[format_name]
    return Planes(
        codes if format_name == "q8s" else (codes + np.int8(zero)).view(np.uint8) if zero else codes.view(np.uint8),
        _to_f16(blocks.scales),
        None if blocks.offsets is None else _to_f16(blocks.offsets),
    )


def _to_f16(values: NDArray[np.float32]) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16)
    if not bool(np.isfinite(halves).all()):
        raise FormatError("holds scales that are not finite numbers in float16; get an undamaged checkpoint")
    return halves
