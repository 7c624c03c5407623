"""Memory for K and V, by page id. A page holds 64 tokens of every layer:

    f16     [layer][kv head]{ key [head_dim][64], value [64][padded_dim] }    padded_dim = head_dim up to 16
    q8      [layer][kv head]{ key, value, key scale [64], value scale [64] }  int8, and an f32 scale per token and head

Of a model with latents (MLA) it holds one vector of each token, from which keys and values of all heads are made:

    f16     [layer]{ latent [64][latent_dim up to 16] }               rank values of the latent, then the rotated ones
    q8      [layer]{ latent, latent scale [64], rotary scale [64] }   int8, and an f32 scale for each of the two parts

Keys lie token beside token, so that sixteen scores are computed in the lanes of one register. Latents lie whole, as all
heads (16 or more) score and mix the same one: heads are the lanes there, and a token is written in one run. A page
begins and ends at the borders of the system's own pages, so that its memory can be given back alone.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import UsageError
from pocketseek.kernels.paged_memory import PagedMemory, whole_pages
from pocketseek.shapes import MlaShape
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
    if config.mla is not None:
        return _latent_dtype(config.mla, number, has_scales=kv_format == "q8")
    fields: list[Any] = [
        ("key", number, (config.head_dim, PAGE_TOKENS)),
        ("value", number, (PAGE_TOKENS, padded_head_dim(config))),
    ]
    if kv_format == "q8":
        fields += [("key_scale", np.float32, PAGE_TOKENS), ("value_scale", np.float32, PAGE_TOKENS)]
    return np.dtype(fields)


def _latent_dtype(mla: MlaShape, number: type[np.generic], *, has_scales: bool) -> np.dtype[np.void]:
    fields: list[Any] = [("latent", number, (PAGE_TOKENS, -(-mla.latent_dim // 16) * 16))]
    if has_scales:
        fields += [("latent_scale", np.float32, PAGE_TOKENS), ("rotary_scale", np.float32, PAGE_TOKENS)]
    return np.dtype(fields)


def page_bytes(config: ModelConfig, kv_format: KvFormat = DEFAULT_KV_FORMAT) -> int:
    """Bytes of memory that one page of 64 tokens takes over all layers: whole pages of the system."""
    return whole_pages(used_page_bytes(config, kv_format))


def used_page_bytes(config: ModelConfig, kv_format: KvFormat) -> int:
    """Bytes of a page that hold something; its memory is that up to whole pages of the system."""
    return config.num_layers * config.num_kv_heads * head_dtype(config, kv_format).itemsize


class KvMemory(PagedMemory):
    """Pages of K and V in one format, see above."""

    def __init__(self, config: ModelConfig, num_pages: int = 0, kv_format: KvFormat = DEFAULT_KV_FORMAT) -> None:
        super().__init__(used_page_bytes(config, kv_format))
        self.kv_format = kv_format
        self._config = config
        if num_pages:
            self.grow(num_pages)

    def layer_of_page(self, page_id: int, layer: int) -> NDArray[np.void]:
        """One record per KV head (head_dtype), for reading and writing."""
        heads = self.page(page_id).view(head_dtype(self._config, self.kv_format))
        chosen: NDArray[np.void] = heads.reshape(self._config.num_layers, self._config.num_kv_heads)[layer]
        return chosen
