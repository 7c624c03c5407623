"""Memory for K and V, by page id. A page holds 64 tokens of every layer:

    f16     [layer][kv head]{ key [head_dim][64], value [64][padded_dim] }    padded_dim = head_dim up to 16
    q8      [layer][kv head]{ key, value, key scale [64], value scale [64] }  int8, and an f32 scale per token and head

Keys lie token beside token, so that sixteen scores are computed in the lanes of one register.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import MemoryLimitError
from pocketseek.types import ModelConfig

PAGE_TOKENS = 64
KvFormat = Literal["f16", "q8"]
KV_FORMATS: tuple[KvFormat, ...] = get_args(KvFormat)


def padded_head_dim(config: ModelConfig) -> int:
    return -(-config.head_dim // 16) * 16


def head_dtype(config: ModelConfig, kv_format: KvFormat) -> np.dtype[np.void]:
    """One KV head's part of a layer's part of a page: key (head_dim, 64), value (64, padded_dim), q8's scales."""
    number = np.float16 if kv_format == "f16" else np.int8
    fields: list[Any] = [
        ("key", number, (config.head_dim, PAGE_TOKENS)),
        ("value", number, (PAGE_TOKENS, padded_head_dim(config))),
    ]
    if kv_format == "q8":
        fields += [("key_scale", np.float32, PAGE_TOKENS), ("value_scale", np.float32, PAGE_TOKENS)]
    return np.dtype(fields)


def page_bytes(config: ModelConfig, kv_format: KvFormat = "f16") -> int:
    """Bytes of one page of 64 tokens over all layers."""
    return config.num_layers * config.num_kv_heads * head_dtype(config, kv_format).itemsize


class KvMemory:
    """Pages that grow in slabs. Untouched pages cost no memory: the system provides them on first use."""

    def __init__(self, config: ModelConfig, num_pages: int = 0, kv_format: KvFormat = "f16") -> None:
        self.kv_format = kv_format
        self._config = config
        self.page_bytes = page_bytes(config, kv_format)
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
            slab: NDArray[np.uint8] = np.empty(num_pages * self.page_bytes + 64, np.uint8)
        except MemoryError as error:
            raise MemoryLimitError(
                f"{num_pages * self.page_bytes} bytes for the KV cache are refused by the system; "
                "raise its limit for this process (ulimit -v) or choose a smaller model"
            ) from error
        start = -slab.ctypes.data % 64
        pages = slab[start : start + num_pages * self.page_bytes].reshape(num_pages, self.page_bytes)
        addresses = pages.ctypes.data + np.arange(num_pages, dtype=np.uint64) * np.uint64(self.page_bytes)
        self._slabs.append(slab)
        self._pages.extend(pages)
        self.addresses = np.concatenate([self.addresses, addresses.astype(np.uint64)])

    def page(self, page_id: int) -> NDArray[np.uint8]:
        return self._pages[page_id]

    def layer_of_page(self, page_id: int, layer: int) -> NDArray[np.void]:
        """One record per KV head (head_dtype), for reading and writing."""
        heads = self.page(page_id).view(head_dtype(self._config, self.kv_format))
        chosen: NDArray[np.void] = heads.reshape(self._config.num_layers, self._config.num_kv_heads)[layer]
        return chosen
