"""The files beside a graph that its large constants lie in, written as the constants are made.

At most MAX_DATA_BYTES each, every constant at a multiple of 4 KiB, so that they can be mapped. Nothing of a model but
the constant at hand is in memory.
"""

from __future__ import annotations

import os
from io import BufferedWriter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

MAX_DATA_BYTES = 100_000_000
LEAST_EXTERNAL_BYTES = 1024
_ALIGNMENT = 4096


class DataFiles:
    """stem: of the graph's file. `close` when the last constant is there. Raises OSError."""

    def __init__(self, folder: Path, stem: str) -> None:
        self.names: list[str] = []
        self._folder = folder
        self._stem = stem
        self._file: BufferedWriter | None = None

    def add(self, name: str, values: NDArray[np.generic]) -> TensorProto:
        """Raises ValueError for a constant that is larger than a file may be."""
        data = np.ascontiguousarray(values)
        if data.nbytes > MAX_DATA_BYTES:
            raise ValueError(f"the constant {name} has {data.nbytes} bytes")
        file = self._file_for(data.nbytes)
        offset = file.tell()
        file.write(data.reshape(-1).view(np.uint8).data)  # not tofile, whose errors do not say what was wrong
        tensor = TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(data.dtype), dims=data.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", self.names[-1]), ("offset", str(offset)), ("length", str(data.nbytes))):
            tensor.external_data.add(key=key, value=value)
        return tensor

    def close(self) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def _file_for(self, num_bytes: int) -> BufferedWriter:
        if self._file is not None:
            start = -(-self._file.tell() // _ALIGNMENT) * _ALIGNMENT
            if start + num_bytes <= MAX_DATA_BYTES:
                self._file.write(bytes(start - self._file.tell()))
                return self._file
            self.close()
        self.names.append(f"{self._stem}.data-{len(self.names):03d}")
        self._file = (self._folder / self.names[-1]).open("xb")
        return self._file
