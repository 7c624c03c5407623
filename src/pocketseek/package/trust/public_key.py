"""A public key (Ed25519) as people handle it: one line to copy, and a fingerprint to compare.

The line is `pocketseek-ed25519 <64 hexadecimal digits> <name>`. The fingerprint is the first 160 bits of the SHA-256 of
the key in base32, in groups of four: short enough to read aloud, and nobody finds a second key that has it. The name is
whatever its owner says it is: nothing is decided by it.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b32encode
from dataclasses import dataclass

from pocketseek.errors import FormatError, UsageError

KEY_KIND = "pocketseek-ed25519"
KEY_HEX_PATTERN = re.compile(r"[0-9a-f]{64}")
KEY_NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
FINGERPRINT_PATTERN = re.compile(r"[a-z2-7]{4}(?:-[a-z2-7]{4}){7}")
_FINGERPRINT_BYTES = 20
_GROUP = 4

# Points of order 1, 2, 4 and 8 without their sign bit: under such a "key" one signature fits any text.
_SMALL_ORDER = frozenset(
    {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    }
)


@dataclass(frozen=True)
class PublicKey:
    """hex: the 32 bytes of the key. Two are the same key if their hex is; see `fingerprint`."""

    hex: str
    name: str

    @property
    def raw(self) -> bytes:
        return bytes.fromhex(self.hex)

    @property
    def fingerprint(self) -> str:
        """ "abcd-ef23-..." """
        text = b32encode(hashlib.sha256(self.raw).digest()[:_FINGERPRINT_BYTES]).decode("ascii").lower()
        return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))

    @property
    def line(self) -> str:
        return f"{KEY_KIND} {self.hex} {self.name}"


def is_weak_key(key_hex: str) -> bool:
    """Whether anybody could sign under this key."""
    raw = bytearray.fromhex(key_hex)
    raw[-1] &= 0x7F
    return raw.hex() in _SMALL_ORDER


def parse_public_key(text: str) -> PublicKey:
    """From the line that `keygen` printed. Raises FormatError."""
    words = text.split()
    if not 2 <= len(words) <= 3 or words[0] != KEY_KIND or not KEY_HEX_PATTERN.fullmatch(words[1]):
        raise FormatError(f"{text[:80]!r} is no public key; copy the whole line `{KEY_KIND} ...` that keygen printed")
    if is_weak_key(words[1]):
        raise FormatError("this public key is one under which anybody can sign; ask for another")
    return PublicKey(words[1], check_key_name(words[2]) if len(words) == 3 else "unnamed")


def parse_fingerprint(text: str) -> str:
    """With or without dashes, in any case. Raises UsageError."""
    letters = text.lower().replace("-", "").strip()
    grouped = "-".join(letters[start : start + _GROUP] for start in range(0, len(letters), _GROUP))
    if not FINGERPRINT_PATTERN.fullmatch(grouped):
        raise UsageError(f"{text[:60]!r} is no fingerprint; it is eight groups of four letters or digits 2 to 7")
    return grouped


def check_key_name(name: str) -> str:
    """Raises UsageError."""
    if not KEY_NAME_PATTERN.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} cannot name a key; use 1 to 64 letters, digits, dots, dashes, underscores and @, "
            "starting with a letter or digit"
        )
    return name
