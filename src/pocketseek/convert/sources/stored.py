"""The one implementation of `base.Source`: tensors at known places in open files. Both readers end in it.

Memory of a read: the slab asked for, plus one piece of it (8 MiB of f32, or a row if that is more) stored and decoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.sources.base import SourceKind, SourceTensor
from pocketseek.convert.sources.byte_file import ByteFile, quoted
from pocketseek.convert.sources.ggml_types import (
    QUANTISED_TYPES,
    RAW_TYPES,
    TYPES_BY_NAME,
    dequantise,
    require_readable,
)
from pocketseek.errors import FormatError, UnsupportedError

_PIECE_VALUES = 1 << 21  # values decoded at a time: 8 MiB of f32


@dataclass(frozen=True)
class Placement:
    """Where the bytes of a tensor begin; the opener has checked that all of them are inside the file."""

    tensor: SourceTensor
    file: ByteFile
    offset: int


class StoredSource:
    """An open checkpoint (see base.Source). Owns the files it is given: `close` closes them."""

    def __init__(
        self,
        kind: SourceKind,
        path: Path,
        metadata: Mapping[str, object],
        files: Mapping[str, bytes],
        placements: Mapping[str, Placement],
        open_files: Sequence[ByteFile],
    ) -> None:
        self.kind: SourceKind = kind
        self.path = path
        self.metadata = metadata
        self.files = files
        self.tensors: Mapping[str, SourceTensor] = {name: place.tensor for name, place in placements.items()}
        self._placements = placements
        self._open_files = open_files

    def read_rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        place = self._place(name, start, stop)
        tensor = place.tensor
        values = np.empty((stop - start, tensor.num_cols), np.float32)
        step = max(1, _PIECE_VALUES // max(1, tensor.num_cols))
        for first in range(start, stop, step):
            last = min(first + step, stop)
            values[first - start : last - start] = dequantise(tensor.type, _read(place, first, last))
        return values.reshape(-1) if tensor.is_vector else values

    def read_raw(self, name: str, start: int, stop: int) -> NDArray[np.uint8]:
        return _read(self._place(name, start, stop, decoded=False), start, stop)

    def close(self) -> None:
        for file in self._open_files:
            file.close()

    def _place(self, name: str, start: int, stop: int, *, decoded: bool = True) -> Placement:
        if name not in self._placements:
            raise FormatError(f"{self.path} has no tensor {quoted(name)}; get the complete checkpoint")
        place = self._placements[name]
        if decoded or place.tensor.type not in RAW_TYPES:
            require_readable(place.tensor.type)
        if place.tensor.is_vector and place.tensor.type in QUANTISED_TYPES:
            raise UnsupportedError(
                f"{self.path}: vector {quoted(name)} is quantised ({place.tensor.type}); get one that has it in F32"
            )
        if not 0 <= start <= stop <= place.tensor.num_rows:
            raise ValueError(f"rows {start}..{stop} of {name!r}, which has {place.tensor.num_rows}")
        return place


def _row_bytes(tensor: SourceTensor) -> int:
    return TYPES_BY_NAME[tensor.type].row_bytes(tensor.num_cols)


def _read(place: Placement, start: int, stop: int) -> NDArray[np.uint8]:
    row_bytes = _row_bytes(place.tensor)
    data = place.file.read_array(place.offset + start * row_bytes, (stop - start) * row_bytes)
    return data.reshape(stop - start, row_bytes)
