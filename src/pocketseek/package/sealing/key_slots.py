"""Who may open a sealed package: the secret as it was given, and slots that hold the data key wrapped with it.

    {"kind": "passphrase", "memory_kib": 65536, "passes": 3, "lanes": 4, "salt": HEX, "wrapped": HEX}
    {"kind": "key", "salt": HEX, "wrapped": HEX}          a key file, or what a key command prints

The parameters of Argon2id stand in the slot and are bound into the wrapping. They are checked against limits before
anything is computed with them, so that a hostile slot cannot ask for 100 GB or a day.
"""

from __future__ import annotations

import os
import secrets
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pocketseek.errors import NotFoundError, SealError, UsageError
from pocketseek.package.paths import SHA256_PATTERN, WRAPPED_PATTERN
from pocketseek.package.sealing.ciphers import (
    KEY_BYTES,
    SALT_BYTES,
    stretch_passphrase,
    unwrap_key,
    wipe,
    wrap_key,
    wrapping_key_of,
)
from pocketseek.package.storage import storage_errors, sync_dir, write_all
from pocketseek.package.strict_json import Fields, JsonValue, format_error

SecretKind = Literal["passphrase", "key"]

MAX_SLOTS = 8
LEAST_SECRET_BYTES = 32
_MAX_SECRET_BYTES = 64 * 1024
MEMORY_KIB, _LEAST_MEMORY_KIB, _MOST_MEMORY_KIB = 64 * 1024, 8 * 1024, 1024 * 1024
_PASSES, _MOST_PASSES = 3, 16
_LANES, _MOST_LANES = 4, 16
_MOST_WORK_KIB = 4 * 1024 * 1024  # memory times passes
_KEY = frozenset({"kind", "salt", "wrapped"})
_PASSPHRASE = _KEY | {"memory_kib", "passes", "lanes"}


@dataclass
class Secret:
    """A passphrase as UTF-8, or the bytes of a key. Close it when everything is open, which wipes it."""

    kind: SecretKind
    data: bytearray = field(repr=False)

    def close(self) -> None:
        wipe(self.data)

    def as_passphrase(self) -> bytearray | None:
        """A key file may hold a passphrase as its only line."""
        if self.kind == "passphrase":
            return self.data
        try:
            line = self.data.decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            return None
        return _normalised(line) if line and "\n" not in line else None


def passphrase_secret(passphrase: str) -> Secret:
    """Raises UsageError if it is empty."""
    if not passphrase:
        raise UsageError("the passphrase is empty; give one, or use --key-file")
    return Secret("passphrase", _normalised(passphrase))


def key_secret(data: bytes, where: str) -> Secret:
    """where: for messages. Raises UsageError for one that is too short or too long to be a key."""
    if not data or len(data) > _MAX_SECRET_BYTES:
        held = f"more than {_MAX_SECRET_BYTES}" if data else "no"  # no more of it was read
        raise UsageError(f"{where} has {held} bytes, which is no key; make one with --new-key-file")
    return Secret("key", bytearray(data))


def read_key_file(path: Path) -> Secret:
    """Raises NotFoundError, UsageError, StorageError."""
    with storage_errors(path):
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_SECRET_BYTES + 1)
        except FileNotFoundError as error:
            raise NotFoundError(f"the key file {path} does not exist; check the path") from error
    return key_secret(data, str(path))


def new_key_file(path: Path) -> Secret:
    """A new random key in a file of its own, on disk when this returns. Raises UsageError if there is a file, and
    StorageError."""
    text = secrets.token_hex(KEY_BYTES).encode("ascii") + b"\n"
    with storage_errors(path):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError as error:
            raise UsageError(f"{path} exists; choose another name, or use it with --key-file") from error
        try:
            write_all(descriptor, text)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_dir(path.absolute().parent)
    return Secret("key", bytearray(text))


@dataclass(frozen=True)
class KeySlot:
    """memory_kib, passes, lanes: of Argon2id; 0 for keys."""

    kind: SecretKind
    salt: bytes
    wrapped: bytes = b""
    memory_kib: int = 0
    passes: int = 0
    lanes: int = 0

    def render(self) -> dict[str, JsonValue]:
        rest: dict[str, JsonValue] = {"kind": self.kind, "salt": self.salt.hex(), "wrapped": self.wrapped.hex()}
        costs: dict[str, JsonValue] = {"memory_kib": self.memory_kib, "passes": self.passes, "lanes": self.lanes}
        return rest | costs if self.kind == "passphrase" else rest

    def bound(self, sealing: bytes) -> bytes:
        """What the wrapping belongs to."""
        return sealing + f"{self.kind} {self.memory_kib} {self.passes} {self.lanes}".encode()

    def open(self, secret: Secret, sealing: bytes) -> bytearray | None:
        """The data key; None if this is not the slot's secret."""
        key = self._wrapping_key(secret)
        return unwrap_key(key, self.wrapped, self.bound(sealing)) if key is not None else None

    def _wrapping_key(self, secret: Secret) -> bytes | None:
        if self.kind == "key":
            return wrapping_key_of(secret.data, self.salt) if secret.kind == "key" else None
        passphrase = secret.as_passphrase()
        if passphrase is None:
            return None
        costs = {"memory_kib": self.memory_kib, "passes": self.passes, "lanes": self.lanes}
        return stretch_passphrase(passphrase, self.salt, **costs)


def new_slot(secret: Secret, sealing: bytes, data_key: bytearray, *, memory_kib: int = MEMORY_KIB) -> KeySlot:
    """Raises UsageError for a key that is too short to be random."""
    if secret.kind == "key" and len(secret.data) < LEAST_SECRET_BYTES:
        raise UsageError(
            f"a key of {len(secret.data)} bytes is too short; use at least {LEAST_SECRET_BYTES} random ones "
            "(--new-key-file makes them), or a passphrase"
        )
    salt = secrets.token_bytes(SALT_BYTES)
    empty = KeySlot("key", salt)
    if secret.kind == "passphrase":
        empty = KeySlot("passphrase", salt, memory_kib=memory_kib, passes=_PASSES, lanes=_LANES)
    key = empty._wrapping_key(secret)
    assert key is not None  # a slot takes the kind of secret that it was made for
    wrapped = wrap_key(key, data_key, empty.bound(sealing))
    return KeySlot(empty.kind, salt, wrapped, empty.memory_kib, empty.passes, empty.lanes)


def parse_slot(value: JsonValue, where: str) -> KeySlot:
    """Raises FormatError, also for costs that nobody would have asked for."""
    is_key = isinstance(value, dict) and value.get("kind") == "key"
    fields = Fields(value, where, _KEY if is_key else _PASSPHRASE)
    salt = bytes.fromhex(fields.text("salt", SHA256_PATTERN))
    wrapped = bytes.fromhex(fields.text("wrapped", WRAPPED_PATTERN))
    if is_key:
        return KeySlot("key", salt, wrapped)
    if fields.raw("kind") != "passphrase":
        raise format_error(f"{where}.kind", "an unknown kind of key")
    memory_kib = fields.integer("memory_kib", _LEAST_MEMORY_KIB, _MOST_MEMORY_KIB)
    passes = fields.integer("passes", 1, _MOST_PASSES)
    if memory_kib * passes > _MOST_WORK_KIB:
        raise format_error(where, "asks for more work than a passphrase is worth")
    return KeySlot("passphrase", salt, wrapped, memory_kib, passes, fields.integer("lanes", 1, _MOST_LANES))


def open_slots(
    slots: tuple[KeySlot, ...], secret: Secret, sealing: bytes, where: str, *, how: str = "--key-file"
) -> bytearray:
    """The data key. how: a key file is given, for the message. Raises SealError."""
    for slot in slots:
        if (data_key := slot.open(secret, sealing)) is not None:
            return data_key
    kinds = {slot.kind for slot in slots}
    if secret.kind == "passphrase" and kinds == {"key"}:
        raise SealError(f"{where} is sealed with a key file or key command, not a passphrase; give it with {how}")
    what = "passphrase" if secret.kind == "passphrase" else "key"
    raise SealError(f"{where}: this {what} does not open it; try another {what}")


def _normalised(passphrase: str) -> bytearray:
    """The same bytes from every keyboard."""
    return bytearray(unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogateescape"))
