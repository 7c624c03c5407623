"""Memory for K and V, by page id. A page holds 64 tokens of every layer:

    f16     [layer][kv head]{ key [head_dim][64], value [64][padded_dim] }    padded_dim = head_dim up to 16
    q8      [layer][kv head]{ key, value, key scale [64], value scale [64] }  int8, and an f32 scale per token and head

Keys lie token beside token, so that sixteen scores are computed in the lanes of one register. A page begins and ends at
the borders of the system's own pages, so that its memory can be given back alone.
"""

from __future__ import annotations

import mmap
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import MemoryLimitError, UsageError
from pocketseek.types import ModelConfig

PAGE_TOKENS = 64
KvFormat = Literal["f16", "q8"]
KV_FORMATS: tuple[KvFormat, ...] = get_args(KvFormat)
DEFAULT_KV_FORMAT: KvFormat = "f16"


def choose_kv_format(override: str | None = None) -> KvFormat:
    """The format named by `override` (--kv, POCKETSEEK_KV), or f16. Raises UsageError for an unknown name."""
    if override is None:
        return DEFAULT_KV_FORMAT
    for kv_format in KV_FORMATS:
        if override == kv_format:
            return kv_format
    raise UsageError(f"there is no KV format named {override[:40]!r}; choose one of {', '.join(KV_FORMATS)}")


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


def page_bytes(config: ModelConfig, kv_format: KvFormat = DEFAULT_KV_FORMAT) -> int:
    """Bytes of memory that one page of 64 tokens takes over all layers: whole pages of the system."""
    return -(-used_page_bytes(config, kv_format) // mmap.PAGESIZE) * mmap.PAGESIZE


def used_page_bytes(config: ModelConfig, kv_format: KvFormat) -> int:
    """Bytes of a page that hold something; its memory is that up to whole pages of the system."""
    return config.num_layers * config.num_kv_heads * head_dtype(config, kv_format).itemsize


class KvMemory:
    """Pages that grow in slabs. Untouched pages cost no memory: the system provides them on first use.

    `release` gives the memory behind pages back and loses their contents; writing to them takes memory again. Addresses
    never change. Not thread-safe, and not to be released from while a pass runs.
    """

    def __init__(self, config: ModelConfig, num_pages: int = 0, kv_format: KvFormat = DEFAULT_KV_FORMAT) -> None:
        self.kv_format = kv_format
        self._config = config
        self.page_bytes = page_bytes(config, kv_format)
        self._used_bytes = used_page_bytes(config, kv_format)
        self._slabs: list[mmap.mmap] = []
        self._first_pages: list[int] = []  # of each slab
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
            slab = mmap.mmap(-1, num_pages * self.page_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            raise MemoryLimitError(
                f"{num_pages * self.page_bytes} bytes for the KV cache are refused by the system; "
                "raise its limit for this process (ulimit -v) or choose a smaller model"
            ) from error
        _advise(slab, "MADV_HUGEPAGE", 0, len(slab))
        pages: NDArray[np.uint8] = np.frombuffer(slab, np.uint8).reshape(num_pages, self.page_bytes)
        addresses = pages.ctypes.data + np.arange(num_pages, dtype=np.uint64) * np.uint64(self.page_bytes)
        self._slabs.append(slab)
        self._first_pages.append(len(self._pages))
        self._pages.extend(pages[:, : self._used_bytes])
        self.addresses = np.concatenate([self.addresses, addresses.astype(np.uint64)])

    def release(self, page_ids: Iterable[int]) -> None:
        """Give the memory of these pages back to the system, where it takes it. Their contents are lost."""
        for slab, first, count in self._runs(sorted(page_ids)):
            where = first * self.page_bytes, count * self.page_bytes
            _advise(slab, "MADV_DONTNEED", *where)
            _advise(slab, "MADV_NOHUGEPAGE", *where)  # or khugepaged would fill what was given back

    def _runs(self, page_ids: Sequence[int]) -> Iterator[tuple[mmap.mmap, int, int]]:
        """(slab, first page in it, number of pages) for neighbours in one slab; page_ids ascending."""
        start = 0
        for end in range(1, len(page_ids) + 1):
            if (
                end < len(page_ids)
                and page_ids[end] == page_ids[end - 1] + 1
                and page_ids[end] not in self._first_pages
            ):
                continue
            index = bisect_right(self._first_pages, page_ids[start]) - 1
            yield self._slabs[index], page_ids[start] - self._first_pages[index], end - start
            start = end

    def page(self, page_id: int) -> NDArray[np.uint8]:
        return self._pages[page_id]

    def layer_of_page(self, page_id: int, layer: int) -> NDArray[np.void]:
        """One record per KV head (head_dtype), for reading and writing."""
        heads = self.page(page_id).view(head_dtype(self._config, self.kv_format))
        chosen: NDArray[np.void] = heads.reshape(self._config.num_layers, self._config.num_kv_heads)[layer]
        return chosen


def _advise(slab: mmap.mmap, name: str, start: int, length: int) -> None:
    """madvise, where the system knows that advice."""
    advice: int | None = getattr(mmap, name, None)
    if advice is not None:
        with suppress(OSError):
            slab.madvise(advice, start, length)
