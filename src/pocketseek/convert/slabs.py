"""A tensor's way from the checkpoint to packed tile rows, a slab of rows at a time.

The caller's thread reads slabs in order; workers encode them; encoded slabs come out in order again, with a bounded
number in flight. Slabs are cut by shape alone, so the result does not depend on the number of workers. An error in a
worker is raised where its slab would have come out. Memory: about (num_workers + 2) slabs of 1 Mi values (or 16 rows,
if those are more) times six floats: under 256 MB with four workers.

Which rows of the checkpoint are a tensor's is the business of source_rows.py.
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
from pocketseek.convert.source_rows import delivered_type, read_stored
from pocketseek.convert.sources.base import Source
from pocketseek.errors import FormatError
from pocketseek.formats import TILE_ROWS

_SLAB_VALUES = 1 << 20


@dataclass(frozen=True)
class EncodedSlab:
    """num_rows: of the tensor, padding not counted."""

    rows: EncodedRows
    num_rows: int


def encode_matrix(
    source: Source, plan: TensorPlan, format_name: str, pool: ThreadPoolExecutor, num_workers: int
) -> Generator[EncodedSlab, None, None]:
    """The whole matrix in order, each slab whole tile rows. Raises FormatError naming the tensor for impossible values.

    Close the generator if it is not exhausted, so that waiting slabs are dropped.
    """
    type_name = delivered_type(source, plan)

    def encode(raw: NDArray[np.uint8]) -> EncodedSlab:
        return EncodedSlab(encode_rows(type_name, format_name, raw), len(raw))

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
    type_name = delivered_type(source, plan)
    shape = (end - first, plan.shape[1])
    values = np.empty(shape, np.float32)
    try:
        for start, stop in slab_ranges(shape):
            values[start:stop] = decode_rows(type_name, read_stored(source, plan, first + start, first + stop))
    except FormatError as error:
        raise _named(error, source, plan) from error
    return values


def pick_rows(source: Source, plan: TensorPlan, ids: NDArray[np.int32]) -> NDArray[np.float32]:
    """Those rows of a matrix as float32, a slab in memory at a time. Raises FormatError naming the tensor."""
    type_name = delivered_type(source, plan)
    values = np.empty((len(ids), plan.shape[1]), np.float32)
    try:
        for start, stop in slab_ranges(plan.shape):
            inside = (ids >= start) & (ids < stop)
            if inside.any():
                slab = decode_rows(type_name, read_stored(source, plan, start, stop))
                values[inside] = slab[ids[inside] - start]
    except FormatError as error:
        raise _named(error, source, plan) from error
    return values


def read_vector(source: Source, plan: TensorPlan) -> NDArray[np.float32]:
    """A norm or bias as float32. Raises FormatError naming the tensor for values that are not finite."""
    raw = read_stored(source, plan, 0, plan.shape[0])
    try:
        return decode_rows(delivered_type(source, plan), raw).reshape(-1)
    except FormatError as error:
        raise _named(error, source, plan) from error


def matrix_fits_f16(source: Source, plan: TensorPlan) -> bool:
    """Look at every stored value, without keeping any."""
    type_name = delivered_type(source, plan)
    return all(fits_f16(type_name, read_stored(source, plan, start, stop)) for start, stop in slab_ranges(plan.shape))


def slab_ranges(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Row ranges of whole tile rows and at most 1 Mi values (but at least one tile row)."""
    rows, cols = shape
    step = max(1, _SLAB_VALUES // cols // TILE_ROWS) * TILE_ROWS
    for start in range(0, rows, step):
        yield start, min(start + step, rows)


def _result(future: Future[EncodedSlab], source: Source, plan: TensorPlan) -> EncodedSlab:
    try:
        return future.result()
    except FormatError as error:
        raise _named(error, source, plan) from error


def _named(error: FormatError, source: Source, plan: TensorPlan) -> FormatError:
    return FormatError(f"{source.path}: tensor {plan.source_name!r} {error}")
