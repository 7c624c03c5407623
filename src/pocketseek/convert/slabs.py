"""A tensor's way from the checkpoint to packed tile rows, a slab of rows at a time.

The caller's thread reads slabs in order; workers encode them; encoded slabs come out in order again, with a bounded
number in flight. Slabs are cut by shape alone, so the result does not depend on the number of workers. An error in a
worker is raised where its slab would have come out. Memory: about (num_workers + 2) slabs of 1 Mi values (or 16 rows,
if those are more) times six floats: under 256 MB with four workers.

Rows that a llama GGUF stores as rotary pairs are put in order here, still encoded: rows are units in every type.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.encode import EncodedRows, decode_rows, encode_rows, fits_f16
from pocketseek.convert.families.base import TensorPlan
from pocketseek.convert.sources.base import Source
from pocketseek.errors import FormatError
from pocketseek.formats import TILE_ROWS

_SLAB_VALUES = 1 << 20


@dataclass(frozen=True)
class EncodedSlab:
    """source_bytes: how much of the checkpoint went into it."""

    rows: EncodedRows
    source_bytes: int


def encode_matrix(
    source: Source, plan: TensorPlan, format_name: str, pool: ThreadPoolExecutor, num_workers: int
) -> Generator[EncodedSlab, None, None]:
    """The whole matrix in order, each slab whole tile rows. Raises FormatError naming the tensor for impossible values.

    Close the generator if it is not exhausted, so that waiting slabs are dropped.
    """
    stored_type = source.tensors[plan.source_name].type

    def encode(raw: NDArray[np.uint8]) -> EncodedSlab:
        return EncodedSlab(encode_rows(stored_type, format_name, raw), raw.nbytes)

    in_flight: deque[Future[EncodedSlab]] = deque()
    try:
        for start, stop in slab_ranges(plan.shape):
            in_flight.append(pool.submit(encode, read_stored(source, plan, start, stop)))
            if len(in_flight) > num_workers:
                yield _result(in_flight.popleft(), source, plan)
        while in_flight:
            yield _result(in_flight.popleft(), source, plan)
    finally:
        for future in in_flight:
            future.cancel()


def read_matrix(source: Source, plan: TensorPlan) -> NDArray[np.float32]:
    """The whole matrix as float32, rows in the package's order. Raises FormatError naming the tensor."""
    return read_rows(source, plan, 0, plan.shape[0])


def read_rows(source: Source, plan: TensorPlan, first: int, end: int) -> NDArray[np.float32]:
    """The rows first..end-1 of a matrix, as read_matrix."""
    stored_type = source.tensors[plan.source_name].type
    shape = (end - first, plan.shape[1])
    values = np.empty(shape, np.float32)
    try:
        for start, stop in slab_ranges(shape):
            values[start:stop] = decode_rows(stored_type, read_stored(source, plan, first + start, first + stop))
    except FormatError as error:
        raise _named(error, source, plan) from error
    return values


def pick_rows(source: Source, plan: TensorPlan, ids: NDArray[np.int32]) -> NDArray[np.float32]:
    """Those rows of a matrix as float32, a slab in memory at a time. Raises FormatError naming the tensor."""
    stored_type = source.tensors[plan.source_name].type
    values = np.empty((len(ids), plan.shape[1]), np.float32)
    try:
        for start, stop in slab_ranges(plan.shape):
            inside = (ids >= start) & (ids < stop)
            if inside.any():
                slab = decode_rows(stored_type, read_stored(source, plan, start, stop))
                values[inside] = slab[ids[inside] - start]
    except FormatError as error:
        raise _named(error, source, plan) from error
    return values


def read_vector(source: Source, plan: TensorPlan) -> NDArray[np.float32]:
    """A norm or bias as float32. Raises FormatError naming the tensor for values that are not finite."""
    raw = read_stored(source, plan, 0, plan.shape[0])
    try:
        return decode_rows(source.tensors[plan.source_name].type, raw).reshape(-1)
    except FormatError as error:
        raise _named(error, source, plan) from error


def matrix_fits_f16(source: Source, plan: TensorPlan) -> bool:
    """Look at every stored value, without keeping any."""
    stored_type = source.tensors[plan.source_name].type
    return all(
        fits_f16(stored_type, source.read_raw(plan.source_name, start, stop)) for start, stop in slab_ranges(plan.shape)
    )


def slab_ranges(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Row ranges of whole tile rows and at most 1 Mi values (but at least one tile row)."""
    rows, cols = shape
    step = max(1, _SLAB_VALUES // cols // TILE_ROWS) * TILE_ROWS
    for start in range(0, rows, step):
        yield start, min(start + step, rows)


def read_stored(source: Source, plan: TensorPlan, start: int, stop: int) -> NDArray[np.uint8]:
    """Rows start..stop-1 in the package's order, as stored."""
    head_dim = plan.interleaved_head_dim
    if head_dim == 0:
        return source.read_raw(plan.source_name, start, stop)
    first, last = start // head_dim * head_dim, -(-stop // head_dim) * head_dim
    raw = source.read_raw(plan.source_name, first, last)
    return pairs_to_halves(raw, head_dim)[start - first : stop - first]


def pairs_to_halves(rows: NDArray[np.uint8], head_dim: int) -> NDArray[np.uint8]:
    """Undo llama.cpp's order of rotary rows: in each head, stored row 2j + p becomes row p * head_dim / 2 + j."""
    pairs = rows.reshape(-1, head_dim // 2, 2, rows.shape[1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows.shape)


def _result(future: Future[EncodedSlab], source: Source, plan: TensorPlan) -> EncodedSlab:
    try:
        return future.result()
    except FormatError as error:
        raise _named(error, source, plan) from error


def _named(error: FormatError, source: Source, plan: TensorPlan) -> FormatError:
    return FormatError(f"{source.path}: tensor {plan.source_name!r} {error}")
