"""One pass over a package's weights: embedding, layers in order, head for the rows that need logits.

Weights are used as they lie in the mapped chunks; nothing is copied or repacked. K and V live here, by page id.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import IntegrityError
from pocketseek.kernels.choose import KernelChoice
from pocketseek.kernels.contract import (
    LAYER_MATRICES,
    LAYER_NORMS,
    LAYER_OPTIONAL_VECTORS,
    Floats,
    LogitsMath,
    RowSpan,
    TensorData,
)
from pocketseek.kernels.kv_memory import DEFAULT_KV_FORMAT, KvFormat, KvMemory
from pocketseek.package.reader import Package
from pocketseek.runtime.work import Work

KEPT_ROWS = 16


class KernelExecutor:
    """Runs `Work` with the chosen kernels. Used by one thread at a time; closing the package is the caller's part."""

    def __init__(
        self,
        package: Package,
        choice: KernelChoice,
        *,
        num_threads: int,
        num_pages: int = 0,
        kv_format: KvFormat = DEFAULT_KV_FORMAT,
    ) -> None:
        config = package.manifest.model
        self._config = config
        self._package = package
        self._kernels = choice.open(config, num_threads)
        self._memory = KvMemory(config, num_pages, kv_format)
        self._inv_freq = self._tensor("rope.inv_freq").vector()
        self._layers: tuple[object, ...] = tuple(
            self._kernels.load_layer(self._layer_tensors(i)) for i in range(config.num_layers)
        )
        self._head_norm = self._tensor("head.norm").vector()
        self._head = self._kernels.load_matrix(self._tensor("head.weight"))
        tied = config.tied_embeddings
        self._embed = self._head if tied else self._kernels.load_matrix(self._tensor("embed.weight"))
        self._hidden = _RowBuffer(config.hidden_size)
        self._logits = _RowBuffer(config.vocab_size)

    @property
    def vocab_size(self) -> int:
        return self._config.vocab_size

    @property
    def context_length(self) -> int:
        return self._config.context_length

    @property
    def kernels_name(self) -> str:
        return self._kernels.name

    @property
    def logits_math(self) -> LogitsMath:
        return self._kernels.logits_math

    def reserve_pages(self, num_pages: int) -> None:
        """Make page ids 0 .. num_pages - 1 usable; never takes pages away."""
        if num_pages > self._memory.num_pages:
            self._memory.grow(num_pages - self._memory.num_pages)

    def release_pages(self, page_ids: Iterable[int]) -> None:
        """Give the memory behind these pages back to the system; their contents are lost, the ids stay usable."""
        self._memory.release(page_ids)

    def set_threads(self, num_threads: int) -> None:
        self._kernels.set_num_threads(num_threads)

    def set_cores(self, cores: tuple[int, ...]) -> None:
        self._kernels.set_cores(cores)

    def set_weight_bytes(self, num_bytes: int | None) -> None:
        """All weights stay mapped, whatever is asked for."""

    @property
    def storage_s(self) -> float:
        return 0.0

    @property
    def waited_s(self) -> float:
        return 0.0

    def run(self, work: Work) -> Floats:
        """One pass; returns logits float32 (work.num_logits, vocab_size), which the next pass overwrites."""
        spans = [RowSpan(part.first_position, part.num_tokens, part.pages) for part in work.slices]
        rows = self._kernels.begin(spans, self._inv_freq, self._memory)
        token_ids = np.array([token for part in work.slices for token in part.token_ids], np.int32)
        hidden = self._hidden.rows(len(token_ids))
        chosen = _rows_with_logits(work)  # before the layers, which leave nothing of the interpreter in the caches
        logits = self._logits.rows(len(chosen))
        self._kernels.embed(self._embed, token_ids, hidden)
        self._kernels.layers(self._layers, 0, rows, hidden)
        self._kernels.head(self._head_norm, self._head, hidden, chosen, logits)
        return logits

    @property
    def kv_format(self) -> KvFormat:
        return self._memory.kv_format

    def read_page(self, page_id: int) -> memoryview:
        return self._memory.page(page_id).data

    def write_page(self, page_id: int, data: memoryview) -> None:
        self._memory.page(page_id)[:] = np.frombuffer(data, np.uint8)

    def close(self) -> None:
        """Let go of weights and KV memory. The executor is of no use afterwards."""
        self._layers = ()
        self._embed = self._head = None
        self._memory = KvMemory(self._config)
        self._hidden, self._logits = _RowBuffer(self._config.hidden_size), _RowBuffer(self._config.vocab_size)

    def _layer_tensors(self, index: int) -> dict[str, TensorData]:
        names: Sequence[str] = (*LAYER_MATRICES, *LAYER_NORMS)
        optional = [name for name in LAYER_OPTIONAL_VECTORS if self._package.has_tensor(f"layer.{index}.{name}")]
        return {name: self._tensor(f"layer.{index}.{name}") for name in (*names, *optional)}

    def _tensor(self, name: str) -> TensorData:
        if not self._package.has_tensor(name):
            raise IntegrityError(f"the package lacks the tensor {name}; convert or install the model again")
        stored = self._package.tensor(name)
        return TensorData(stored.format, stored.shape, tuple((part.first_tile, part.data) for part in stored.parts))


class _RowBuffer:
    """Rows that every pass writes anew. Fresh memory of this size would cost a page fault for every 4 kB of it.

    Only as many rows as sequences usually run are kept: scoring may ask for 64 rows of logits, which are 39 MB.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._kept: Floats = np.empty((0, width), np.float32)

    def rows(self, count: int) -> Floats:
        if count > KEPT_ROWS:
            return np.empty((count, self._width), np.float32)
        if count > len(self._kept):
            self._kept = np.empty((count, self._width), np.float32)
        return self._kept[:count]


def _rows_with_logits(work: Work) -> NDArray[np.int32]:
    """Indices of the rows whose logits are wanted: the last num_logits of each slice."""
    chosen: list[int] = []
    end = 0
    for part in work.slices:
        end += part.num_tokens
        chosen.extend(range(end - part.num_logits, end))
    return np.array(chosen, np.int32)
