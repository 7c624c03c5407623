"""Memory for K and V, by page id. A page holds 64 tokens of every layer:

    page    [layer][kv head]{ key [head_dim][64], value [64][padded_dim] }      all f16; padded_dim = head_dim up to 16

Keys lie token beside token, so that sixteen scores are computed in the lanes of one register.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import MemoryLimitError
from pocketseek.types import ModelConfig

PAGE_TOKENS = 64


def padded_head_dim(config: ModelConfig) -> int:
    return -(-config.head_dim // 16) * 16


def page_bytes(config: ModelConfig) -> int:
    """Bytes of one page of 64 tokens over all layers."""
    values = config.head_dim + padded_head_dim(config)
    return config.num_layers * config.num_kv_heads * values * PAGE_TOKENS * 2


class KvMemory:
    """Pages that grow in slabs. Untouched pages cost no memory: the system provides them on first use."""

    def __init__(self, config: ModelConfig, num_pages: int = 0) -> None:
        self._page_bytes = page_bytes(config)
        self._slabs: list[NDArray[np.uint8]] = []
        self._pages: list[NDArray[np.uint8]] = []
        self.addresses: NDArray[np.uint64] = np.empty(0, np.uint64)
        if num_pages:
            self.grow(num_pages)

    @property
    def num_pages(self) -> int:
        return len(self._pages)

    def grow(self, num_pages: int) -> None:
        """Add `num_pages` pages with the next ids. Existing pages stay where they are. Raises MemoryLimitError."""
        try:
            slab: NDArray[np.uint8] = np.empty(num_pages * self._page_bytes + 64, np.uint8)
        except MemoryError as error:
            raise MemoryLimitError(
                f"{num_pages * self._page_bytes} bytes for the KV cache are refused by the system; "
                "raise its limit for this process (ulimit -v) or choose a smaller model"
            ) from error
        start = -slab.ctypes.data % 64
        pages = slab[start : start + num_pages * self._page_bytes].reshape(num_pages, self._page_bytes)
        addresses = pages.ctypes.data + np.arange(num_pages, dtype=np.uint64) * np.uint64(self._page_bytes)
        self._slabs.append(slab)
        self._pages.extend(pages)
        self.addresses = np.concatenate([self.addresses, addresses.astype(np.uint64)])

    def page(self, page_id: int) -> NDArray[np.uint8]:
        return self._pages[page_id]
