"""Ed25519: making keys, signing a manifest, checking a signature. The only place that computes signatures.

A private key is a file of its own (mode 0600): two comment lines, then PKCS #8 in PEM as `openssl` reads it. With a
passphrase, PKCS #8's own key derivation (2048 rounds) would be quick to try words on, so the password given to it is
what scrypt (32 MiB a try) makes of the passphrase and the salt in the file's comment.

The library `cryptography` is loaded when it is first needed; without it UnsupportedError says what to install.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketseek.errors import FormatError, UsageError
from pocketseek.libraries import is_termux, load_library
from pocketseek.package.private_file import PRIVATE_DIR_MODE, PRIVATE_FILE_MODE, read_private
from pocketseek.package.storage import storage_errors, sync_dir, write_all
from pocketseek.package.trust.public_key import PublicKey, check_key_name
from pocketseek.package.trust.signature import Signature, signed_message

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_MAX_KEY_FILE_BYTES = 8192
_HEADER = re.compile(
    r"# pocketseek private key ([^\s]{1,64}) [a-z2-7-]{39}\n# (?:no passphrase|scrypt ([0-9a-f]{32}))\n"
)
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P, _SCRYPT_MEMORY_BYTES = 2**15, 8, 1, 64 << 20
_SALT_BYTES = 16
_NO_PASSPHRASE = "no passphrase"


@dataclass(frozen=True)
class SigningKey:
    """private: never printed; it leaves this module only as a file."""

    public: PublicKey
    private: Ed25519PrivateKey

    def __repr__(self) -> str:
        return f"SigningKey({self.public.name}, {self.public.fingerprint})"


def make_key(name: str) -> SigningKey:
    """Raises UsageError (the name), UnsupportedError."""
    check_key_name(name)
    return _signing_key(_ed25519().Ed25519PrivateKey.generate(), name)


def write_key(path: Path, key: SigningKey, passphrase: str | None) -> None:
    """A new file that only its owner can read. Raises UsageError if something is there already, StorageError."""
    data = render_private_key(key, passphrase)
    with storage_errors(path):
        path.parent.mkdir(mode=PRIVATE_DIR_MODE, parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE_MODE)
        except FileExistsError as error:
            raise UsageError(f"{path} exists and is not overwritten; choose another place with --out") from error
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        except BaseException:  # half a key is none, and it is raised again
            os.unlink(path)
            raise
        finally:
            os.close(descriptor)
        sync_dir(path.parent)


def read_key(path: Path, ask_passphrase: Callable[[], str | None]) -> SigningKey:
    """ask_passphrase: called only if the file is encrypted. Raises UsageError (wrong or no passphrase), FormatError."""
    data = read_private(path, max_bytes=_MAX_KEY_FILE_BYTES)
    if data is None:
        raise UsageError(f"there is no private key at {path}; make one with `pocketseek keygen`")
    return parse_private_key(data, str(path), ask_passphrase)


def render_private_key(key: SigningKey, passphrase: str | None) -> bytes:
    forms = _serialization()
    salt = secrets.token_bytes(_SALT_BYTES)
    protection = (
        forms.NoEncryption() if passphrase is None else forms.BestAvailableEncryption(_stretch(passphrase, salt))
    )
    pem: bytes = key.private.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, protection)
    how = _NO_PASSPHRASE if passphrase is None else f"scrypt {salt.hex()}"
    return f"# pocketseek private key {key.public.name} {key.public.fingerprint}\n# {how}\n".encode("ascii") + pem


def parse_private_key(data: bytes, where: str, ask_passphrase: Callable[[], str | None]) -> SigningKey:
    """Raises FormatError (not such a file), UsageError (wrong or no passphrase)."""
    header = _HEADER.match(data.decode("ascii", "replace"))
    if header is None:
        raise FormatError(f"{where} is no private key of pocketseek; give the file that `pocketseek keygen` wrote")
    name, salt = check_key_name(header[1]), header[2]
    passphrase = ask_passphrase() if salt else None
    if salt and not passphrase:
        raise UsageError(f"{where} needs its passphrase; set POCKETSEEK_PASSPHRASE or run this in a terminal")
    password = _stretch(passphrase, bytes.fromhex(salt)) if salt and passphrase else None
    try:
        private = _serialization().load_pem_private_key(data[header.end() :], password)
    except (ValueError, TypeError) as error:
        if salt:
            raise UsageError(f"{where}: this is not its passphrase, or the file is damaged; try again") from error
        raise FormatError(f"{where} is damaged; use another copy of the key") from error
    if not isinstance(private, _ed25519().Ed25519PrivateKey):
        raise FormatError(f"{where} is no Ed25519 key; give the file that `pocketseek keygen` wrote")
    return _signing_key(private, name)


def sign_manifest(key: SigningKey, manifest_bytes: bytes, *, created_s: int, expires_s: int | None) -> Signature:
    """The signature of these very bytes. Raises UsageError if it expires before it begins."""
    if expires_s is not None and expires_s <= created_s:
        raise UsageError("a signature cannot expire before it is made; give a later --expires")
    sha256 = hashlib.sha256(manifest_bytes).hexdigest()
    unsigned = Signature(key.public, created_s, expires_s, sha256)
    value = key.private.sign(signed_message(unsigned, manifest_bytes)).hex()
    return replace(unsigned, value=value)


def is_genuine(signature: Signature, manifest_bytes: bytes) -> bool:
    """Whether the holder of the key signed these bytes and fields. Raises UnsupportedError without the library."""
    key_type = _ed25519().Ed25519PublicKey
    invalid = load_library("cryptography.exceptions", _remedy()).InvalidSignature
    try:
        public = key_type.from_public_bytes(signature.key.raw)
        public.verify(bytes.fromhex(signature.value), signed_message(signature, manifest_bytes))
    except (invalid, ValueError):  # ValueError: no point of the curve
        return False
    return True


def _signing_key(private: Ed25519PrivateKey, name: str) -> SigningKey:
    forms = _serialization()
    raw = private.public_key().public_bytes(forms.Encoding.Raw, forms.PublicFormat.Raw)
    return SigningKey(PublicKey(raw.hex(), name), private)


def _stretch(passphrase: str, salt: bytes) -> bytes:
    words = passphrase.encode("utf-8", "surrogateescape")
    digest = hashlib.scrypt(
        words, salt=salt, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P, maxmem=_SCRYPT_MEMORY_BYTES, dklen=32
    )
    return digest.hex().encode("ascii")


def _ed25519() -> Any:
    return load_library(
        "cryptography.hazmat.primitives.asymmetric.ed25519", _remedy(), needed_for="checking or making signatures"
    )


def _serialization() -> Any:
    return load_library("cryptography.hazmat.primitives.serialization", _remedy(), needed_for="a signing key")


def _remedy() -> str:
    return "pkg install python-cryptography" if is_termux() else 'pip install "pocketseek[secure]"'
