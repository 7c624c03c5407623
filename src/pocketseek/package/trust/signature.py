"""`manifest.sig`: who vouches for the exact bytes of manifest.json. Reading and writing of it; computing is in sign.py.

    {"format_version": 1, "magic": "pocketseek-signatures", "signatures": [{"created": 1790000000,
     "expires": 1821536000, "key": "<64 hex>", "manifest_sha256": "<64 hex>", "name": "alice",
     "signature": "<128 hex>"}]}

What is signed is `signed_message`: a domain, every field but the signature, and all bytes of the manifest, so that
nothing of it can be taken to another manifest, another key or another time. Times are Unix seconds; `expires` may be
missing. There may be several signatures: of several people, and for a moment, while a new manifest takes the place of
an old one, of both manifests, so that a crash at any point leaves a package that is signed. A signature of another
manifest than the one beside it says nothing; if there are only such, somebody changed the manifest.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pocketseek.errors import FormatError
from pocketseek.package.paths import SHA256_PATTERN, SIGNATURE_NAME
from pocketseek.package.private_file import read_private
from pocketseek.package.strict_json import Fields, JsonValue, format_error, load_object
from pocketseek.package.trust.public_key import KEY_HEX_PATTERN, KEY_NAME_PATTERN, PublicKey, is_weak_key

MAGIC = "pocketseek-signatures"
FORMAT_VERSION = 1
MAX_SIGNERS = 8  # of one manifest
MAX_SIGNATURES = 2 * MAX_SIGNERS
MAX_SIGNATURE_BYTES = 16_384
MAX_TIME_S = 2**40
_DOMAIN = b"pocketseek manifest signature 1\n"
_SIGNATURE_PATTERN = re.compile(r"[0-9a-f]{128}")
_TOP = frozenset({"magic", "format_version", "signatures"})
_ENTRY = frozenset({"key", "name", "created", "manifest_sha256", "signature"})


@dataclass(frozen=True)
class Signature:
    """Not checked yet, see `sign.is_genuine`. key.name: what the signer says. value: 64 bytes in hexadecimal."""

    key: PublicKey
    created_s: int
    expires_s: int | None
    manifest_sha256: str
    value: str = ""

    def is_for(self, manifest_bytes: bytes) -> bool:
        return self.manifest_sha256 == hashlib.sha256(manifest_bytes).hexdigest()


def signed_message(signature: Signature, manifest_bytes: bytes) -> bytes:
    """The bytes that are signed. The value of the signature takes no part."""
    fields = _canonical(_fields(replace(signature, value="")))
    return _DOMAIN + fields + b"\n" + manifest_bytes


def parse_signatures(data: bytes) -> tuple[Signature, ...]:
    """At least one. Raises FormatError, whatever the bytes are."""
    value = load_object(data, SIGNATURE_NAME, max_bytes=MAX_SIGNATURE_BYTES)
    top = Fields(value, SIGNATURE_NAME, _TOP)
    if top.raw("magic") != MAGIC:
        raise format_error(SIGNATURE_NAME, f"no {MAGIC!r} magic")
    top.integer("format_version", FORMAT_VERSION, FORMAT_VERSION)
    items = top.items("signatures")
    if not 1 <= len(items) <= MAX_SIGNATURES:
        raise format_error(SIGNATURE_NAME, f"{len(items)} signatures, not 1 to {MAX_SIGNATURES}")
    return tuple(_parse_entry(item, f"{SIGNATURE_NAME}: signatures[{index}]") for index, item in enumerate(items))


def render_signatures(signatures: Sequence[Signature]) -> bytes:
    items = [{**_fields(one), "signature": one.value} for one in signatures]
    return _canonical({"magic": MAGIC, "format_version": FORMAT_VERSION, "signatures": items}) + b"\n"


def join_signatures(*files: bytes | None) -> bytes | None:
    """One file with the signatures of all, for the moment in which one manifest takes the place of another: it is right
    beside either. None if there are none. What cannot be read vouches for nothing and is left out."""
    found: dict[str, Signature] = {}
    for data in files:
        try:
            found |= {one.value: one for one in parse_signatures(data or b"")}
        except FormatError:
            continue
    return render_signatures(tuple(found.values())[:MAX_SIGNATURES]) if found else None


def read_signature_bytes(package_dir: Path) -> bytes | None:
    """None if the package has no signature. Links, pipes and endless files are refused: StorageError, FormatError."""
    return read_private(package_dir / SIGNATURE_NAME, max_bytes=MAX_SIGNATURE_BYTES)


def has_signature(package_dir: Path) -> bool:
    return os.path.lexists(package_dir / SIGNATURE_NAME)


def _parse_entry(value: JsonValue, where: str) -> Signature:
    fields = Fields(value, where, _ENTRY, frozenset({"expires"}))
    key_hex = fields.text("key", KEY_HEX_PATTERN)
    if is_weak_key(key_hex):
        raise format_error(f"{where}.key", "anybody can sign under this key")
    return Signature(
        key=PublicKey(key_hex, fields.text("name", KEY_NAME_PATTERN)),
        created_s=fields.integer("created", 0, MAX_TIME_S),
        expires_s=fields.integer("expires", 0, MAX_TIME_S) if fields.has("expires") else None,
        manifest_sha256=fields.text("manifest_sha256", SHA256_PATTERN),
        value=fields.text("signature", _SIGNATURE_PATTERN),
    )


def _fields(signature: Signature) -> dict[str, JsonValue]:
    fields: dict[str, JsonValue] = {
        "key": signature.key.hex,
        "name": signature.key.name,
        "created": signature.created_s,
        "manifest_sha256": signature.manifest_sha256,
    }
    if signature.expires_s is not None:
        fields["expires"] = signature.expires_s
    return fields


def _canonical(value: JsonValue) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")
