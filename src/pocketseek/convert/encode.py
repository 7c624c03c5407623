"""One slab of stored rows -> packed tile rows in a format, and what was lost on the way.

`encode_rows` takes rows as the checkpoint stores them (a GGUF or safetensors type) and decides the way: GGUF blocks
that a format can hold go through `ggml_import`, float16 stays float16, everything else is decoded to float32 and then
packed or quantised. The loss is measured against the decoded float32 values, over what was stored (padding excluded).
Memory: about six times the slab in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.ggml_import import EXACT_IMPORTS, ROUNDED_IMPORTS, import_planes
from pocketseek.convert.pack import Planes, pack_planes, pack_values
from pocketseek.convert.quantize import dequantize, quantize
from pocketseek.convert.sources.ggml_types import dequantise
from pocketseek.errors import FormatError

_Float = TypeVar("_Float", bound=np.floating)

_BF16_MAGNITUDE = 0x7FFF
_LARGEST_BF16_IN_F16 = 0x477F  # 65280; the next bfloat16 is 65536, float16 ends at 65504


@dataclass(frozen=True)
class Loss:
    """How far written values are from the source's: sums of squares, and whether every value is the same."""

    squared_error: float = 0.0
    squared_values: float = 0.0
    is_exact: bool = True

    def __add__(self, other: Loss) -> Loss:
        return Loss(
            self.squared_error + other.squared_error,
            self.squared_values + other.squared_values,
            self.is_exact and other.is_exact,
        )


@dataclass(frozen=True)
class EncodedRows:
    """packed: uint8 (tile rows, tile_row_bytes). loss: nothing is summed up for a way that is exact by construction."""

    packed: NDArray[np.uint8]
    loss: Loss


def encode_rows(type_name: str, format_name: str, raw: NDArray[np.uint8]) -> EncodedRows:
    """Rows (rows, row_bytes) of a matrix in `format_name`.

    Raises FormatError for values or scales that are not finite or out of the format's range; the message is what the
    tensor does ("holds ..."), the caller puts its name in front.
    """
    if (type_name, format_name) in EXACT_IMPORTS:
        return EncodedRows(pack_planes(format_name, import_planes(type_name, format_name, raw)), Loss())
    if (type_name, format_name) == ("F16", "f16"):
        return EncodedRows(pack_values("f16", _require_finite(raw.view("<f2"))), Loss())
    values = decode_rows(type_name, raw)
    if format_name == "f32":
        return EncodedRows(pack_values("f32", values), Loss())
    if format_name == "f16":
        return _encode_f16(values)
    if (type_name, format_name) in ROUNDED_IMPORTS:
        planes = import_planes(type_name, format_name, raw)
    else:
        planes = quantize(format_name, values)
    return EncodedRows(pack_planes(format_name, planes), _loss_of_planes(format_name, planes, values))


def decode_rows(type_name: str, raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The float32 values of stored rows. Raises FormatError unless all of them are finite."""
    return _require_finite(dequantise(type_name, raw))


def fits_f16(type_name: str, raw: NDArray[np.uint8]) -> bool:
    """Can float16 hold these stored values without overflow? Looked at without decoding for the 16-bit types."""
    if type_name == "F16":
        return True
    if type_name == "BF16":
        magnitudes = raw.view("<u2") & np.uint16(_BF16_MAGNITUDE)
        return bool(magnitudes.max(initial=0) <= _LARGEST_BF16_IN_F16)
    return bool(np.abs(dequantise(type_name, raw)).max(initial=0) <= np.finfo(np.float16).max)


def _encode_f16(values: NDArray[np.float32]) -> EncodedRows:
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16)
    if not bool(np.isfinite(halves).all()):
        raise FormatError("holds values too large for float16; convert with another --quant")
    return EncodedRows(pack_values("f16", halves), loss_of(halves.astype(np.float32), values))


def _require_finite(values: NDArray[_Float]) -> NDArray[_Float]:
    if not bool(np.isfinite(values).all()):
        raise FormatError("holds values that are not finite numbers; get an undamaged checkpoint")
    return values


def _loss_of_planes(format_name: str, planes: Planes, values: NDArray[np.float32]) -> Loss:
    return loss_of(dequantize(format_name, planes)[:, : values.shape[1]], values)


def loss_of(written: NDArray[np.float32], values: NDArray[np.float32]) -> Loss:
    """Sums in float32 along a row and float64 over rows: the same figures for the same bytes, whatever the threads."""
    error = written - values
    return Loss(
        float(np.einsum("rc,rc->r", error, error).sum(dtype=np.float64)),
        float(np.einsum("rc,rc->r", values, values).sum(dtype=np.float64)),
        not bool(error.any()),
    )
