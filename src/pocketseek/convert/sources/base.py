"""What a checkpoint is to the rest of `convert`: named tensors that can be read a slab of rows at a time.

A source is opened by `open.open_source`; by then its header has been checked, so that every listed tensor lies inside
the file and its shape agrees with its bytes. Several threads may read at once. Nothing is kept in memory between two
reads except the header, the metadata and the small text files.

Rows: a matrix (outputs, inputs) has `outputs` rows; a tensor of more dimensions has its leading dimensions flattened
into rows; a vector has one row per element, so its slabs are 1-D.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

SourceKind = Literal["gguf", "safetensors"]


@dataclass(frozen=True)
class SourceTensor:
    """One tensor as the checkpoint lists it. shape is in numpy order (GGUF writes it the other way round).

    type is the file's own name for it ("F32", "BF16", "Q4_K", ...), including types that are listed but cannot be read;
    `ggml_types.READABLE_TYPES` has those that can.
    """

    name: str
    type: str
    shape: tuple[int, ...]

    @property
    def is_vector(self) -> bool:
        return len(self.shape) < 2

    @property
    def num_rows(self) -> int:
        return math.prod(self.shape) if self.is_vector else math.prod(self.shape[:-1])

    @property
    def num_cols(self) -> int:
        """Values in one row: 1 for a vector."""
        return 1 if self.is_vector else self.shape[-1]


class Source(Protocol):
    """An open checkpoint. Raises StorageError if the system refuses a read, FormatError if the file has become shorter.

    metadata: the GGUF key-values as Python values (int, float, bool, str, list), or `config.json` as parsed.
    files: text files that came along (tokenizer.json, tokenizer_config.json, generation_config.json,
    chat_template.jinja, a licence), unparsed; empty for GGUF, which carries them in its metadata.
    """

    @property
    def kind(self) -> SourceKind: ...

    @property
    def path(self) -> Path: ...

    @property
    def metadata(self) -> Mapping[str, object]: ...

    @property
    def files(self) -> Mapping[str, bytes]: ...

    @property
    def tensors(self) -> Mapping[str, SourceTensor]: ...

    def read_rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows start..stop-1, dequantised: (stop - start, num_cols), or (stop - start,) of a vector.

        Raises FormatError for a tensor that is not there, UnsupportedError for a type outside READABLE_TYPES,
        ValueError unless 0 <= start <= stop <= num_rows.
        """
        ...

    def read_raw(self, name: str, start: int, stop: int) -> NDArray[np.uint8]:
        """The same rows as stored: (stop - start, row_bytes), where an element of a vector is a row. Same errors."""
        ...

    def close(self) -> None:
        """Release the files. May be called twice; reading afterwards raises ValueError."""
        ...
