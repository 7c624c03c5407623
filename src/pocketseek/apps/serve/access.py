"""Who asks: a token decides, where one is needed.

Without tokens the server answers on this machine's loopback address alone, to everybody who can connect to it. With
`require_token`, and always on other addresses, what begins with one of `PROTECTED` wants `Authorization: Bearer
ps-...`. A token that is sent is checked in any case, so that its limits count and a wrong one is noticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from pocketseek.apps.access_tokens import NO_LIMITS, TOKEN_PREFIX, TokenLimits, TokenStore
from pocketseek.apps.serve.replies import RefusedError

PROTECTED = ("/v1/", "/api/", "/metrics")
NOBODY = "local"
NO_KEY = "none"  # what clients that insist on a key may always send where none is needed


@dataclass(frozen=True)
class Caller:
    """name: of the token, or "local" without one. digest: of the token itself; another one may get its name later."""

    name: str = NOBODY
    limits: TokenLimits = NO_LIMITS
    has_token: bool = False
    digest: str = ""


def identify(headers: Mapping[str, str], tokens: TokenStore, *, required: bool) -> Caller:
    """Raises RefusedError (401). Where none is needed, a made-up key counts as none, since some clients insist on one:
    any as long as nobody has a token, later `NO_KEY` alone, so that a mistyped token is not taken for it."""
    sent = headers.get("authorization", "")
    scheme, _, secret = sent.partition(" ")
    secret = secret.strip() if scheme.lower() == "bearer" else ""
    if not required and secret.lower() == NO_KEY:
        return Caller()
    if secret and (token := tokens.find(secret)) is not None:
        return Caller(token.name, token.limits, has_token=True, digest=token.digest)
    if required and not secret:
        raise _unknown("an access token is needed; send it as `Authorization: Bearer ps-...`")
    if required or TOKEN_PREFIX in sent:
        raise _unknown("this token is unknown or was revoked; ask for a new one (`pocketseek token create`)")
    if secret and tokens.list():
        raise _unknown(
            f"this token is unknown; send one as `Authorization: Bearer ps-...`, or on this machine none, or `{NO_KEY}`"
        )
    return Caller()


def is_revoked(caller: Caller, tokens: TokenStore) -> bool:
    """For what goes on after its request. Raises what reading the tokens raises."""
    return caller.has_token and all(token.digest != caller.digest for token in tokens.list())


def caller_of(connection: HTTPConnection) -> Caller:
    """As the guard found out."""
    caller = connection.scope["state"]["caller"]
    assert isinstance(caller, Caller)
    return caller


def _unknown(message: str) -> RefusedError:
    return RefusedError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
