"""Access tokens of the server: who may ask, and how much.

A token is `ps-` and 256 random bits, shown once and kept as a SHA-256 with a salt. A slow hash (scrypt) protects words
that people choose, which can be guessed; nobody guesses 256 random bits, so a fast hash, which costs a request nothing,
is as good. Digests are compared in constant time.

The file `tokens.json` in the data directory is readable by its owner alone, written whole or not at all, and looked at
again when it has changed: what another process creates or revokes counts at the next request.
Threads: every method may be called from any thread. Changing calls of several processes hold the file's lock.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pocketseek.errors import FormatError, NotFoundError, UsageError
from pocketseek.package.private_file import private_lock, read_private, write_private
from pocketseek.package.storage import storage_errors

TOKEN_PREFIX = "ps-"
MAX_NAME_CHARACTERS = 64
_FORMAT = 1
_TOKEN_BYTES = 32
_SALT_BYTES = 16
_MOST_BYTES = 4_000_000


@dataclass(frozen=True)
class TokenLimits:
    """None, or empty: no limit. requests_per_minute counts those that begin; concurrent those that run or wait.
    may_update: whether it may look for updates of models and install them."""

    requests_per_minute: int | None = None
    concurrent: int | None = None
    models: tuple[str, ...] = ()
    may_update: bool = False


NO_LIMITS = TokenLimits()


@dataclass(frozen=True)
class AccessToken:
    """What is known of a token: everything but the token. created_s: Unix time."""

    name: str
    created_s: int
    limits: TokenLimits
    salt: str
    digest: str


class TokenStore:
    """Cheap to make; the file need not exist."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._tokens: tuple[AccessToken, ...] = ()

    def list(self) -> tuple[AccessToken, ...]:
        """By name. Raises FormatError, StorageError."""
        stamp = self._stamp()
        if stamp != self._seen or stamp is None:
            self._tokens = self._read() if stamp is not None else ()
            self._seen = stamp
        return self._tokens

    def find(self, secret: str) -> AccessToken | None:
        """Whose token this is; None if nobody's. Takes as long for a wrong one as for a right one."""
        found = None
        for token in self.list():
            if hmac.compare_digest(_digest(token.salt, secret), token.digest):
                found = token
        return found

    def create(self, name: str, limits: TokenLimits = NO_LIMITS) -> tuple[AccessToken, str]:
        """A new token and its secret, which cannot be had again. Raises UsageError for a name that is taken or odd."""
        _check(name, limits)
        secret, salt = TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES), secrets.token_hex(_SALT_BYTES)
        token = AccessToken(name, int(time.time()), limits, salt, _digest(salt, secret))
        with private_lock(self._path):
            tokens = self._read()
            if any(other.name == name for other in tokens):
                raise UsageError(f"there is a token named {name!r}; revoke it first or choose another name")
            self._write((*tokens, token))
        return token, secret

    def revoke(self, name: str) -> None:
        """Raises NotFoundError."""
        missing = NotFoundError(f"there is no token named {name[:80]!r}; `pocketseek token list` shows them")
        if self._stamp() is None:
            raise missing
        with private_lock(self._path):
            tokens = self._read()
            rest = tuple(token for token in tokens if token.name != name)
            if len(rest) == len(tokens):
                raise missing
            self._write(rest)

    def _stamp(self) -> tuple[int, int, int] | None:
        with storage_errors(self._path):
            try:
                status = self._path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _read(self) -> tuple[AccessToken, ...]:
        data = read_private(self._path, max_bytes=_MOST_BYTES)
        return () if data is None else parse_tokens(data, self._path)

    def _write(self, tokens: tuple[AccessToken, ...]) -> None:
        value = {"format": _FORMAT, "tokens": [asdict(token) for token in sorted(tokens, key=lambda item: item.name)]}
        write_private(self._path, (json.dumps(value, indent=2) + "\n").encode())


def parse_tokens(data: bytes, path: Path) -> tuple[AccessToken, ...]:
    """Raises FormatError: a damaged file lets nobody in."""
    try:
        value = json.loads(data)
        if value["format"] != _FORMAT:
            raise ValueError(f"format {value['format']}")
        return tuple(_token(item) for item in value["tokens"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(f"{path} is damaged ({error!r:.80}); delete it and create the tokens again") from error


def _token(item: dict[str, Any]) -> AccessToken:
    limits = item["limits"]
    token = AccessToken(
        str(item["name"]),
        int(item["created_s"]),
        TokenLimits(
            limits["requests_per_minute"],
            limits["concurrent"],
            tuple(map(str, limits["models"])),
            limits.get("may_update") is True,  # files of older versions do not say
        ),
        str(item["salt"]),
        str(item["digest"]),
    )
    for number in (token.limits.requests_per_minute, token.limits.concurrent):
        if number is not None and (not isinstance(number, int) or number < 1):
            raise ValueError(f"a limit of {number!r:.20}")
    return token


def _check(name: str, limits: TokenLimits) -> None:
    if not 0 < len(name) <= MAX_NAME_CHARACTERS or not name.isprintable() or name.strip() != name:
        raise UsageError(f"{name[:80]!r} is no name for a token; use 1 to {MAX_NAME_CHARACTERS} characters of one line")
    for number in (limits.requests_per_minute, limits.concurrent):
        if number is not None and number < 1:
            raise UsageError(f"a limit of {number} lets nobody in; use 1 or more, or revoke the token")


def _digest(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}:{secret}".encode("utf-8", "surrogatepass")).hexdigest()
