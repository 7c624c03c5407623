"""The ciphers of sealed packages and data directories; the only place that uses them.

    data key       32 random bytes, new each time a plain package begins to be sealed
    wrapping key   Argon2id(passphrase, salt) or HKDF-SHA256(key file, salt); it encrypts the data key and nothing else,
                   and its 32-byte salt is new each time
    file key       HKDF-SHA256(data key, salt); the 32-byte salt is in the file's header and new each time it is written
    nonce          the index of the segment

So no key and nonce ever meet twice: a file key belongs to one writing of one file, in which every segment index is
used once; a file that is written again after a crash has another salt and thereby another key. 256 bits of salt do
not repeat. The wrapping nonce is constant, since a wrapping key is used once.

What is sealed by the record (`RecordCipher`) has a random nonce of 96 bits: with 2^32 records under one key two meet
with a probability of one in 2^33.

A segment's associated data says which sealing, which file (its kind and the SHA-256 of its plaintext), how large it is,
which segment of how many: none can be exchanged, moved, cut off or taken over from another model.
"""

from __future__ import annotations

import hmac
import secrets
import struct
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

from pocketseek.errors import SealError, UnsupportedError
from pocketseek.libraries import is_termux, load_library

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
    from typing_extensions import Buffer

Cipher = Literal["aes-256-gcm", "chacha20-poly1305"]

KEY_BYTES = 32
SALT_BYTES = 32
TAG_BYTES = 16
_WRAPPED_BYTES = KEY_BYTES + TAG_BYTES
_WRAPPING_NONCE = bytes(12)
_BOUND = struct.Struct(">16s16sB32sQI")  # magic, sealing, kind, file, bytes, segments
_BOUND_MAGIC = b"pocketseek-seg-1"
_WRAP, _FILE, _RECORD = b"pocketseek wrap 1", b"pocketseek file 1 ", b"pocketseek record 1"
_RECORDS, _NAMES, _JOINED = b"pocketseek records 1", b"pocketseek names 1", b"pocketseek joined 1"


def wipe(data: bytearray) -> None:
    """Overwrite a key that is not needed any more."""
    data[:] = bytes(len(data))


def require_ciphers() -> None:
    """Raises UnsupportedError if the library is not here."""
    remedy = "pkg install python-cryptography" if is_termux() else 'pip install "pocketseek[secure]"'
    load_library("cryptography.hazmat.primitives.ciphers.aead", remedy, needed_for="sealing")


class SegmentCipher:
    """Of one file. Any thread may use it; the library lets other threads run meanwhile."""

    def __init__(
        self, cipher: Cipher, data_key: bytes | bytearray, salt: bytes, *, sealing: bytes, kind: int, file: bytes,
        num_bytes: int, num_segments: int,
    ) -> None:  # fmt: skip
        """sealing: 16 bytes; file: SHA-256 of the plaintext; salt: of this writing of the file."""
        self._aead = _aead(cipher, _hkdf(data_key, salt, _FILE + cipher.encode()))
        self._bound = _BOUND.pack(_BOUND_MAGIC, sealing, kind, file, num_bytes, num_segments)
        self._decrypt_into: Callable[[bytes, Buffer, bytes, Buffer], int] | None = getattr(
            self._aead, "decrypt_into", None
        )

    def seal(self, index: int, plain: memoryview) -> bytes:
        """Ciphertext and, behind it, the tag."""
        return self._aead.encrypt(_nonce(index), plain, self._bound_at(index))

    def open_into(self, index: int, sealed: memoryview, plain: memoryview) -> bool:
        """Decrypt ciphertext and tag. False if they are not what was sealed; `plain` is of no use then."""
        from cryptography.exceptions import InvalidTag

        try:
            if self._decrypt_into is not None:
                self._decrypt_into(_nonce(index), sealed, self._bound_at(index), plain)
            else:
                plain[:] = self._aead.decrypt(_nonce(index), sealed, self._bound_at(index))
        except InvalidTag:
            return False
        return True

    def _bound_at(self, index: int) -> bytes:
        return self._bound + struct.pack(">I", index)


class RecordCipher:
    """Small records under one key, AES-256-GCM, each with a nonce of its own in front. Any thread may use it."""

    EXTRA_BYTES = 12 + TAG_BYTES

    def __init__(self, key: bytes) -> None:
        """key: of 32 bytes, for these records alone. Raises UnsupportedError."""
        require_ciphers()
        self._aead = _aead("aes-256-gcm", _hkdf(key, b"", _RECORDS))
        self._name_key = _hkdf(key, b"", _NAMES)

    def name(self, name: bytes) -> str:
        """What stands for a name that tells something: 64 hexadecimal digits."""
        return hmac.new(self._name_key, name, sha256).hexdigest()

    def seal(self, plain: bytes, bound: bytes) -> bytes:
        nonce = secrets.token_bytes(12)
        return nonce + self._aead.encrypt(nonce, plain, bound)

    def open(self, sealed: memoryview, bound: bytes) -> bytes | None:
        """None: it is not what was sealed with these bound bytes."""
        from cryptography.exceptions import InvalidTag

        if len(sealed) < self.EXTRA_BYTES:
            return None
        try:
            return self._aead.decrypt(bytes(sealed[:12]), sealed[12:], bound)
        except InvalidTag:
            return None


def derived_key(data_key: bytes | bytearray, sealing: bytes, purpose: bytes) -> bytes:
    """A key of 32 bytes for one purpose. Raises UnsupportedError."""
    require_ciphers()
    return _hkdf(data_key, sealing, purpose)


def joined_key(keys: Sequence[bytes]) -> bytes:
    """What only those have who have all of these, each of 32 bytes; of one key that itself. Raises UnsupportedError."""
    if len(keys) == 1:
        return keys[0]
    require_ciphers()
    return _hkdf(b"".join(keys), b"", _JOINED)


def stretch_passphrase(passphrase: bytearray, salt: bytes, *, memory_kib: int, passes: int, lanes: int) -> bytes:
    """The wrapping key. Raises UnsupportedError, SealError if there is no memory for it."""
    require_ciphers()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    try:
        stretcher = Argon2id(salt=salt, length=KEY_BYTES, iterations=passes, lanes=lanes, memory_cost=memory_kib)
        return stretcher.derive(bytes(passphrase))
    except UnsupportedAlgorithm as error:
        raise UnsupportedError(
            "the library cryptography has no Argon2id here (it needs OpenSSL 3.2); "
            "pip install --upgrade cryptography, or seal with --new-key-file"
        ) from error
    except MemoryError as error:
        raise SealError(
            f"the passphrase needs {memory_kib // 1024} MB of memory for a moment; close other programs and try again"
        ) from error


def wrapping_key_of(secret: bytearray, salt: bytes) -> bytes:
    """Of a secret that is random already."""
    require_ciphers()
    return _hkdf(secret, salt, _WRAP)


def wrap_key(wrapping_key: bytes, data_key: bytearray, bound: bytes) -> bytes:
    """bound: what the wrapping belongs to; any other when unwrapping is refused."""
    return _aead("aes-256-gcm", wrapping_key).encrypt(_WRAPPING_NONCE, data_key, bound)


def unwrap_key(wrapping_key: bytes, wrapped: bytes, bound: bytes) -> bytearray | None:
    """None: it is the wrong key, or the wrapping was changed."""
    from cryptography.exceptions import InvalidTag

    if len(wrapped) != _WRAPPED_BYTES:
        return None
    try:
        return bytearray(_aead("aes-256-gcm", wrapping_key).decrypt(_WRAPPING_NONCE, wrapped, bound))
    except InvalidTag:
        return None


def record_mac(data_key: bytearray, sealing: bytes, body: bytes) -> str:
    """What proves that someone with the key wrote sealed.json."""
    require_ciphers()
    return hmac.new(_hkdf(data_key, sealing, _RECORD), body, sha256).hexdigest()


def _aead(cipher: Cipher, key: bytes) -> AESGCM | ChaCha20Poly1305:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

    return AESGCM(key) if cipher == "aes-256-gcm" else ChaCha20Poly1305(key)


def _hkdf(key: bytes | bytearray, salt: bytes, info: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=info).derive(key)


def _nonce(index: int) -> bytes:
    return index.to_bytes(12, "big")
