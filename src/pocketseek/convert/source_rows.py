"""The rows of a planned tensor as the checkpoint stores them: picked out of other rows, put in order, or transposed.

Rows stay encoded wherever a row is a unit of the type, which it is in all of them: picking and ordering costs no
precision. What has no rows of its own in the checkpoint is decoded: transposed quantised matrices, and FP8 weights,
whose scales lie in another tensor. `delivered_type` says which it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.families.base import RowPick, TensorPlan
from pocketseek.convert.sources.base import Source
from pocketseek.convert.sources.fp8 import SCALE_BLOCK, scaled_values
from pocketseek.convert.sources.ggml_types import QUANTISED_TYPES, TYPES_BY_NAME, dequantise

Rows = NDArray[np.uint8]


def delivered_type(source: Source, plan: TensorPlan) -> str:
    """The type of the rows that `read_stored` gives."""
    stored = source.tensors[plan.source_name].type
    is_transposed = plan.picks is not None and plan.picks.transposed
    return "F32" if plan.scales_name or (is_transposed and stored in QUANTISED_TYPES) else stored


def read_stored(source: Source, plan: TensorPlan, start: int, stop: int) -> Rows:
    """Rows start..stop-1 in the package's order, of type `delivered_type`: (rows, row_bytes)."""
    picks = plan.picks
    if picks is None:
        return _read(source, plan, start, stop)
    if picks.is_run:
        return _read(source, plan, picks.first + start, picks.first + stop)
    height = source.tensors[plan.source_name].num_cols if picks.transposed else picks.taken
    first, last = start // height, -(-stop // height)
    blocks = [_block(source, plan, picks, index) for index in range(first, last)]
    return np.concatenate(blocks)[start - first * height : stop - first * height]


def _block(source: Source, plan: TensorPlan, picks: RowPick, index: int) -> Rows:
    begin = picks.first + index * picks.block + picks.start
    rows = _read(source, plan, begin, begin + picks.taken)
    if picks.paired:
        kept = picks.taken - picks.paired
        rows = np.concatenate([rows[:kept], pairs_to_halves(rows[kept:], picks.paired)])
    return _transposed(rows, delivered_type(source, plan)) if picks.transposed else rows


def _read(source: Source, plan: TensorPlan, start: int, stop: int) -> Rows:
    """Rows of the source as they stand there, decoded if the delivered type asks for it."""
    raw = source.read_raw(plan.source_name, start, stop)
    if plan.scales_name:
        first, last = start // SCALE_BLOCK, -(-stop // SCALE_BLOCK)
        scales = source.read_rows(plan.scales_name, first, last)
        return _as_rows(scaled_values(raw, scales, start - first * SCALE_BLOCK))
    stored = source.tensors[plan.source_name].type
    return raw if delivered_type(source, plan) == stored else _as_rows(dequantise(stored, raw))


def pairs_to_halves(rows: Rows, head_dim: int) -> Rows:
    """Rotary partners that are stored side by side: in each head, row 2j + p becomes row p * head_dim / 2 + j."""
    pairs = rows.reshape(-1, head_dim // 2, 2, rows.shape[1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows.shape)


def _transposed(rows: Rows, type_name: str) -> Rows:
    """Of a type with one value per block."""
    item_bytes = TYPES_BY_NAME[type_name].block_bytes
    values = rows.reshape(len(rows), -1, item_bytes)
    return np.ascontiguousarray(values.swapaxes(0, 1)).reshape(values.shape[1], -1)


def _as_rows(values: NDArray[np.float32]) -> Rows:
    return np.ascontiguousarray(values.astype("<f4", copy=False)).view(np.uint8)
