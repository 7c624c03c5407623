"""What names a page of computed K and V: its tokens and everything before them, chained into one hash.

K and V of a page depend on the tokens of the page and on all before it, and on nothing else, so two pages with the same
chain of tokens hold the same bytes. A hash alone is never trusted: whoever finds a page by it compares the tokens too.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from pocketseek.runtime.kv_pool import PAGE_TOKENS

_TOKENS = struct.Struct(f"<{PAGE_TOKENS}i")
TOKENS_BYTES = _TOKENS.size


class PageKey(NamedTuple):
    """chain: SHA-256 of parent and tokens. parent: chain of the page before, or the root of the cache.

    tokens: the page's ids, int32, little endian.
    """

    chain: bytes
    parent: bytes
    tokens: bytes


@dataclass(eq=False, slots=True)
class CachedPage:
    """A full page in the KV memory, which is never written again while it is alive (known to the cache)."""

    key: PageKey
    parent: CachedPage | None
    page: int
    alive: bool = True


def key_of_page(parent: bytes, token_ids: Sequence[int]) -> PageKey:
    """token_ids: exactly one page full."""
    tokens = _TOKENS.pack(*token_ids)
    return PageKey(sha256(parent + tokens).digest(), parent, tokens)
