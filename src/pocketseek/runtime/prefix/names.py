"""What files and directories of a store of computed pages are called, and whose they are.

    <root>/<owner>-<identity>/              pages of one model; owner: of all its identities, 32 hexadecimal digits
    <root>/<owner>-<identity>/<page>.<group>  a page; group: of a text that may be deleted, if it belongs to one
    <root>/<group>.forgotten                see forgotten.py

Identity and page are SHA-256 in hexadecimal. Directories without an owner are those of older versions.
"""

from __future__ import annotations

import re
from hashlib import sha256

FOLDER = re.compile(r"(?:(?P<owner>[0-9a-f]{32})-)?[0-9a-f]{64}")
PAGE = re.compile(r"(?P<page>[0-9a-f]{64})(?:\.(?P<group>[0-9a-f]{32}))?")
FORGOTTEN = re.compile(r"[0-9a-f]{32}\.forgotten")


def short_name(text: str) -> str:
    """32 hexadecimal digits that stand for a text: an owner, or a group."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def folder_name(owner: str, identity: bytes) -> str:
    return f"{owner}-{identity.hex()}" if owner else identity.hex()


def page_name(page: str, group: str) -> str:
    return f"{page}.{group}" if group else page


def mark_name(group: str) -> str:
    return f"{group}.forgotten"
