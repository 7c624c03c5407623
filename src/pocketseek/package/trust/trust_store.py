"""`trust.json` in the data directory: whom this device trusts, and what it has seen of each model.

    keys      public keys whose signatures count, for all models or for named ones, perhaps until a day
    revoked   fingerprints whose signatures never count again; nothing overrides it
    pins      model name -> who signed it when it was last used, and the highest version seen: a model that was signed
              must not come back unsigned, signed by somebody else, or older
    require_signed   whether anything unsigned may run

A damaged file trusts nobody and allows nothing: losing it silently would lose the pins. Missing is empty.
Threads and processes: a change is one replacement of the file under its lock, made on what is there then.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pocketseek.errors import FormatError, NotFoundError, UsageError
from pocketseek.package.manifest import MAX_VERSION
from pocketseek.package.paths import NAME_PATTERN
from pocketseek.package.private_file import private_lock, read_private, write_private
from pocketseek.package.strict_json import Fields, JsonValue, format_error, load_object
from pocketseek.package.trust.public_key import FINGERPRINT_PATTERN, KEY_HEX_PATTERN, KEY_NAME_PATTERN, PublicKey
from pocketseek.package.trust.signature import MAX_TIME_S

_FORMAT = 1
_MAX_BYTES = 4_000_000
_TOP = frozenset({"format", "require_signed", "keys", "revoked", "pins"})
_KEY = frozenset({"key", "name", "since", "models"})
_REVOKED = frozenset({"fingerprint", "name", "since"})
_PIN = frozenset({"fingerprint", "version", "since"})


@dataclass(frozen=True)
class TrustedKey:
    """key.name: as the user calls it. models: empty for all. Times are Unix seconds."""

    key: PublicKey
    since_s: int
    models: tuple[str, ...] = ()
    expires_s: int | None = None

    def covers(self, model: str) -> bool:
        return not self.models or model in self.models


@dataclass(frozen=True)
class RevokedKey:
    fingerprint: str
    name: str
    since_s: int


@dataclass(frozen=True)
class Pin:
    """version: the highest seen under this key."""

    fingerprint: str
    version: int
    since_s: int


@dataclass(frozen=True)
class TrustList:
    """One state of the file."""

    require_signed: bool = False
    keys: tuple[TrustedKey, ...] = ()
    revoked: tuple[RevokedKey, ...] = ()
    pins: Mapping[str, Pin] = field(default_factory=dict)

    def find(self, key_hex: str) -> TrustedKey | None:
        return next((one for one in self.keys if one.key.hex == key_hex), None)

    def is_revoked(self, fingerprint: str) -> bool:
        return any(one.fingerprint == fingerprint for one in self.revoked)

    def find_by(self, name_or_fingerprint: str) -> TrustedKey:
        """Raises NotFoundError, UsageError if two keys have that name."""
        wanted = name_or_fingerprint.lower().replace("-", "")
        found = [
            one
            for one in self.keys
            if one.key.name == name_or_fingerprint or one.key.fingerprint.replace("-", "") == wanted
        ]
        if not found:
            raise NotFoundError(f"no trusted key {name_or_fingerprint[:80]!r}; `pocketseek trust list` shows them")
        if len(found) > 1:
            raise UsageError(f"several keys are named {name_or_fingerprint[:80]!r}; give the fingerprint")
        return found[0]


class TrustStore:
    """Cheap to make; the file need not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        return os.path.lexists(self.path)

    def load(self) -> TrustList:
        """Raises FormatError, StorageError."""
        data = read_private(self.path, max_bytes=_MAX_BYTES)
        return TrustList() if data is None else parse_trust_list(data, self.path)

    def change(self, edit: Callable[[TrustList], TrustList]) -> TrustList:
        """Replace the list by what `edit` makes of it. Raises as edit does, FormatError, StorageError, BusyError."""
        with private_lock(self.path):
            before = self.load()
            after = edit(before)
            if after != before:
                write_private(self.path, render_trust_list(after))
        return after


def with_key(trust: TrustList, key: TrustedKey) -> TrustList:
    """Raises UsageError if it was revoked. A key that is there is replaced."""
    if trust.is_revoked(key.key.fingerprint):
        raise UsageError(f"the key {key.key.fingerprint} was revoked here and cannot be trusted again; ask for another")
    others = tuple(one for one in trust.keys if one.key.hex != key.key.hex)
    return replace(trust, keys=(*others, key))


def without_key(trust: TrustList, name_or_fingerprint: str) -> TrustList:
    """Raises NotFoundError, UsageError."""
    gone = trust.find_by(name_or_fingerprint)
    return replace(trust, keys=tuple(one for one in trust.keys if one != gone))


def with_revoked(trust: TrustList, revoked: RevokedKey) -> TrustList:
    keys = tuple(one for one in trust.keys if one.key.fingerprint != revoked.fingerprint)
    if trust.is_revoked(revoked.fingerprint):
        return replace(trust, keys=keys)
    return replace(trust, keys=keys, revoked=(*trust.revoked, revoked))


def with_pins(trust: TrustList, pins: Mapping[str, Pin | None]) -> TrustList:
    """None: no longer pinned."""
    after = {**trust.pins, **pins}
    return replace(trust, pins={name: pin for name, pin in after.items() if pin is not None})


def parse_trust_list(data: bytes, path: Path) -> TrustList:
    """Raises FormatError."""
    try:
        return _parse(data, path.name)
    except FormatError as error:
        problem = str(error).rpartition("; ")[0]
        raise FormatError(
            f"{path} is damaged ({problem}), so nobody is trusted; restore it, or delete it to trust anew"
        ) from error


def render_trust_list(trust: TrustList) -> bytes:
    value = {
        "format": _FORMAT,
        "require_signed": trust.require_signed,
        "keys": [_render_key(one) for one in trust.keys],
        "revoked": [{"fingerprint": r.fingerprint, "name": r.name, "since": r.since_s} for r in trust.revoked],
        "pins": {
            name: {"fingerprint": pin.fingerprint, "version": pin.version, "since": pin.since_s}
            for name, pin in trust.pins.items()
        },
    }
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode("ascii")


def _render_key(one: TrustedKey) -> dict[str, JsonValue]:
    value: dict[str, JsonValue] = {
        "key": one.key.hex,
        "name": one.key.name,
        "since": one.since_s,
        "models": list(one.models),
    }
    return value if one.expires_s is None else {**value, "expires": one.expires_s}


def _parse(data: bytes, where: str) -> TrustList:
    top = Fields(load_object(data, where, max_bytes=_MAX_BYTES), where, _TOP)
    top.integer("format", _FORMAT, _FORMAT)
    return TrustList(
        require_signed=top.flag("require_signed"),
        keys=tuple(_parse_key(item, f"{where}: keys[{i}]") for i, item in enumerate(top.items("keys"))),
        revoked=tuple(_parse_revoked(item, f"{where}: revoked[{i}]") for i, item in enumerate(top.items("revoked"))),
        pins={name: _parse_pin(item, f"{where}: pins.{name[:80]}") for name, item in top.mapping("pins").items()},
    )


def _parse_key(value: JsonValue, where: str) -> TrustedKey:
    fields = Fields(value, where, _KEY, frozenset({"expires"}))
    return TrustedKey(
        PublicKey(fields.text("key", KEY_HEX_PATTERN), fields.text("name", KEY_NAME_PATTERN)),
        fields.integer("since", 0, MAX_TIME_S),
        tuple(_parse_model(item, f"{where}.models") for item in fields.items("models")),
        fields.integer("expires", 0, MAX_TIME_S) if fields.has("expires") else None,
    )


def _parse_model(value: JsonValue, where: str) -> str:
    if not isinstance(value, str) or not NAME_PATTERN.fullmatch(value):
        raise format_error(where, "not all names of models")
    return value


def _parse_revoked(value: JsonValue, where: str) -> RevokedKey:
    fields = Fields(value, where, _REVOKED)
    return RevokedKey(
        fields.text("fingerprint", FINGERPRINT_PATTERN),
        fields.text("name", KEY_NAME_PATTERN),
        fields.integer("since", 0, MAX_TIME_S),
    )


def _parse_pin(value: JsonValue, where: str) -> Pin:
    fields = Fields(value, where, _PIN)
    return Pin(
        fields.text("fingerprint", FINGERPRINT_PATTERN),
        fields.integer("version", 0, MAX_VERSION),
        fields.integer("since", 0, MAX_TIME_S),
    )
