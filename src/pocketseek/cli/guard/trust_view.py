"""How a model's origin is told: in a line, in a word, and as values for --json."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from pocketseek.cli.guard import trust_messages as messages
from pocketseek.cli.messages import Words
from pocketseek.errors import FormatError, NotFoundError, StorageError, UnsupportedError

if TYPE_CHECKING:
    from pocketseek.package.entries import Manifest
    from pocketseek.package.trust.gatekeeper import Gatekeeper
    from pocketseek.package.trust.judge import TrustState


def describe(state: TrustState, words: Words) -> str:
    """One line without a full stop."""
    line = _signed(state, words)
    if state.signer_changed and state.status != "wrong":
        was = state.pinned if state.pinned_key is None else f"{state.pinned_key.name} ({state.pinned})"
        line = words(messages.CHANGED_SIGNER, state=line, was=was)
    if state.is_older and state.key is not None:
        line = words(messages.OLDER, state=line, highest=state.highest_version)
    return line


def short(state: TrustState, words: Words) -> str:
    """For a column: a name, `name?` for a key that is not trusted, empty without a signature."""
    if state.status in ("wrong", "revoked", "expired") or state.signer_changed or state.is_older:
        return words(messages.SHORT_REFUSED)
    if state.key is None:
        return ""
    message = messages.SHORT_TRUSTED if state.status == "trusted" else messages.SHORT_UNTRUSTED
    return words(message, name=state.key.name)


def trust_facts(state: TrustState) -> dict[str, object]:
    """For --json. Times are Unix seconds."""
    return {
        "status": state.status,
        "signed_by": state.key.name if state.key is not None else None,
        "fingerprint": state.key.fingerprint if state.key is not None else None,
        "signed": state.signed_s,
        "expires": state.expires_s,
        "trusted_since": state.trusted_since_s,
        "signed_before_by": state.pinned if state.signer_changed else None,
        "highest_version": state.highest_version,
        "problem": state.problem or None,
    }


def look_safely(gate: Gatekeeper, path: Path, data: bytes, manifest: Manifest) -> TrustState | str:
    """The state, or why it cannot be told: a list of models is shown in any case."""
    try:
        return gate.look(path, data, manifest)
    except (UnsupportedError, FormatError, StorageError) as error:
        return str(error)


def look_by_path(gate: Gatekeeper, path: Path, manifest: Manifest) -> TrustState | str:
    """As `look_safely`, where the manifest was read a moment ago."""
    from pocketseek.package.manifest import read_manifest_bytes

    try:
        return gate.look(path, read_manifest_bytes(path), manifest)
    except (UnsupportedError, FormatError, StorageError, NotFoundError) as error:
        return str(error)


def day(time_s: int | None) -> str:
    return "?" if time_s is None else time.strftime("%Y-%m-%d", time.localtime(time_s))


def moment(time_s: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(time_s))


def _signed(state: TrustState, words: Words) -> str:
    if state.status == "wrong":
        return words(messages.WRONG)
    if state.key is None:
        return words(messages.UNSIGNED)
    signed = words(messages.SIGNED_BY, name=state.key.name, fingerprint=state.key.fingerprint)
    if state.status == "trusted":
        return words(messages.TRUSTED, signed=signed, day=day(state.trusted_since_s))
    if state.status == "expired":
        return words(messages.EXPIRED, signed=signed, day=day(state.expires_s))
    if state.status == "revoked":
        return words(messages.REVOKED, signed=signed)
    message = messages.OTHER_MODELS if state.status == "elsewhere" else messages.UNKNOWN_KEY
    return words(message, signed=signed)
