"""The bytes of one page on disk. All integers are little endian.

    offset  bytes
    0       8      magic "psprefix"
    8       4      version of this layout
    12      4      bytes of the tokens (256)
    16      8      bytes of the page
    24      32     identity: the model, and all else that decides what the page holds
    56      32     chain of the page before (prefix_page.py)
    88      32     SHA-256 of everything but itself
    120     256    token ids, int32
    376            the page as it lies in the KV memory

`parse_record` is the only place where a record is read.
"""

from __future__ import annotations

import struct
from hashlib import sha256

from pocketseek.errors import FormatError
from pocketseek.runtime.prefix_page import TOKENS_BYTES, PageKey

MAGIC = b"psprefix"
VERSION = 1
_FIELDS = struct.Struct("<8sIIQ32s32s")
_DIGEST_BYTES = 32
_TOKENS_START = _FIELDS.size + _DIGEST_BYTES
HEADER_BYTES = _TOKENS_START + TOKENS_BYTES


def record_bytes(page_bytes: int) -> int:
    return HEADER_BYTES + page_bytes


def render_header(identity: bytes, key: PageKey, page: memoryview) -> bytes:
    """What stands before the page."""
    fields = _FIELDS.pack(MAGIC, VERSION, len(key.tokens), page.nbytes, identity, key.parent)
    digest = sha256(fields + key.tokens)
    digest.update(page)
    return fields + digest.digest() + key.tokens


def parse_record(record: memoryview, identity: bytes, key: PageKey, page_bytes: int) -> memoryview:
    """The page in `record`. Raises FormatError unless it is whole, undamaged, and exactly the one that is asked for."""
    if len(record) != record_bytes(page_bytes):
        raise FormatError(f"a stored page has {len(record)} bytes, not {record_bytes(page_bytes)}; remove it")
    magic, version, tokens_bytes, stored_bytes, stored_identity, parent = _FIELDS.unpack_from(record)
    if (magic, version, tokens_bytes, stored_bytes) != (MAGIC, VERSION, TOKENS_BYTES, page_bytes):
        raise FormatError("a stored page is no record of this version; remove it")
    digest = sha256(record[: _FIELDS.size])
    digest.update(record[_TOKENS_START:])
    if digest.digest() != record[_FIELDS.size : _TOKENS_START]:
        raise FormatError("a stored page is damaged; remove it")
    if (stored_identity, parent) != (identity, key.parent) or record[_TOKENS_START:HEADER_BYTES] != key.tokens:
        raise FormatError("a stored page belongs to another model or text; remove it")
    return record[HEADER_BYTES:]
