"""May this package be used here? Asked with the very bytes of the manifest that is then parsed and used.

`judge` finds out who signed them and what this device thinks of that; it decides nothing and touches no disk.
`check_allowed` decides. Who opens packages asks a `Gatekeeper` (gatekeeper.py), who uses both.

| | used | unless |
| --- | --- | --- |
| signed by a trusted key | yes | it is older than what was seen before, or another key signed it until now |
| signed by a key that is not known here | no | the user says that it is to be trusted (once) |
| unsigned | yes | the policy wants signatures, or the model was signed when it was last used |
| signature does not match, revoked, expired | no | |

Of several signatures of the manifest each has to match; the best one counts. Whoever can write into a package can
remove its signature: that is why a model that was signed once is expected to be signed (`Pin`).
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pocketseek.errors import FormatError, TrustError
from pocketseek.package.entries import Manifest
from pocketseek.package.manifest import parse_manifest
from pocketseek.package.trust.public_key import PublicKey
from pocketseek.package.trust.sign import is_genuine
from pocketseek.package.trust.signature import Signature, parse_signatures
from pocketseek.package.trust.trust_store import Pin, TrustList

Status = Literal["trusted", "unknown", "elsewhere", "expired", "revoked", "unsigned", "wrong"]

# The best signature of several counts.
_ORDER: tuple[Status, ...] = ("trusted", "expired", "elsewhere", "unknown", "revoked")


@dataclass(frozen=True)
class TrustState:
    """What is known of a package's origin. Times are Unix seconds.

    status: "elsewhere" is a key trusted for other models only; "wrong" a signature that does not match, or is none.
    model: the name in the manifest. places: what it is remembered by, see `Gatekeeper`. key: of the signature that
    counts, named as the user calls it if it is trusted. pinned: who signed it when it was last used. highest_version:
    seen of that model under the same key. problem: with "wrong". marker_counts: whether the package's marker was
    written here; that of a signed package elsewhere came from where it came from.
    """

    status: Status
    model: str
    version: int
    places: tuple[str, ...] = ()
    key: PublicKey | None = None
    signed_s: int | None = None
    expires_s: int | None = None
    trusted_since_s: int | None = None
    pinned: str | None = None
    pinned_key: PublicKey | None = None
    highest_version: int = 0
    marker_counts: bool = True
    problem: str = ""

    @property
    def is_older(self) -> bool:
        return self.version < self.highest_version

    @property
    def signer_changed(self) -> bool:
        """Signed by somebody else than before, or no longer."""
        return self.pinned is not None and (self.key is None or self.key.fingerprint != self.pinned)


def judge(
    manifest_bytes: bytes,
    signature: bytes | None,
    trust: TrustList,
    *,
    manifest: Manifest,
    places: Sequence[str],
    now_s: int,
) -> TrustState:
    """manifest: parsed from these very bytes. signature: the bytes of manifest.sig. places: names that it is remembered
    by. Where there is no pin, one of the manifest's name tells the version, if it is of the same key.

    Raises UnsupportedError if there is a signature and nothing to check it with.
    """
    pins = [pin for place in places if (pin := trust.pins.get(place)) is not None]
    state = TrustState("unsigned", manifest.name, manifest.version, tuple(places))
    if signature is not None:
        state = _judge_signature(state, manifest_bytes, signature, trust, {pin.fingerprint for pin in pins}, now_s)
    others = [pin for pin in pins if not _is_by(pin, state.key)]
    pinned = (others or pins)[0].fingerprint if pins else None
    of_name = trust.pins.get(manifest.name)
    seen = pins if pins or of_name is None else [of_name]
    return replace(
        state,
        pinned=pinned,
        pinned_key=next((one.key for one in trust.keys if one.key.fingerprint == pinned), None),
        highest_version=max((pin.version for pin in seen if _is_by(pin, state.key)), default=0),
    )


def check_allowed(
    state: TrustState, trust: TrustList, what: str, *, allow_older: bool = False, is_offered: bool = False
) -> None:
    """Raises TrustError, one line that names `what`. is_offered: it is not here yet, and so cannot be accepted here."""
    signer = "nobody" if state.key is None else f"{state.key.name} ({state.key.fingerprint})"
    accept = f"`pocketseek trust accept {shlex.quote(what)}`"
    older = f"`pocketseek trust accept {shlex.quote(what)} --allow-older`"
    if is_offered:
        older = "add --allow-older to `pocketseek pull` or `update`"
        accept = "get it with its manifest.sig from who publishes it"
        if state.key is not None:
            accept = f"add --trust {state.key.fingerprint} to `pocketseek pull` or `update`"
    if state.status == "wrong":
        raise TrustError(f"{what}: {state.problem}; it was changed after it was signed: install it again")
    if state.status == "revoked":
        raise TrustError(f"{what} is signed with the revoked key {signer}; install it from someone you trust")
    if state.status == "expired":
        raise TrustError(f"{what}: the signature of {signer} has expired; update it, or sign it with a key of your own")
    if state.status in ("unknown", "elsewhere"):
        known = "who is not trusted here" if state.status == "unknown" else "who is trusted for other models only"
        raise TrustError(
            f"{what} is signed by {signer}, {known}; compare the fingerprint with the publisher's, then {accept}"
        )
    if state.signer_changed:
        was = state.pinned if state.pinned_key is None else f"{state.pinned_key.name} ({state.pinned})"
        now = "is not signed any more" if state.key is None else f"is signed by {signer} now"
        meant = "" if is_offered and state.key is None else "if that is meant to be, "
        raise TrustError(f"{what} was signed by {was} and {now}; {meant}{accept}")
    if state.status == "unsigned" and trust.require_signed:
        signed = accept if is_offered else "sign it (`pocketseek sign`)"
        raise TrustError(
            f"{what} is not signed by someone you trust, and only signed models may run here; "
            f"{signed}, or `pocketseek trust require-signed off`"
        )
    if state.is_older and not allow_older:
        raise TrustError(
            f"{what} is version {state.version}, older than version {state.highest_version} that was here before; "
            f"update it, or {older}"
        )


def is_allowed(state: TrustState, trust: TrustList) -> bool:
    try:
        check_allowed(state, trust, "")
    except TrustError:
        return False
    return True


def check_update_allowed(
    old: Manifest | None,
    new_manifest_bytes: bytes,
    new_signature: bytes | None,
    trust: TrustList,
    *,
    place: str | None = None,
    what: str = "the update",
    allow_older: bool = False,
    accept: str | None = None,
    now_s: int | None = None,
) -> tuple[Manifest, TrustState]:
    """The manifest that is to take the place of `old` (None: of nothing), if it may. For who fetches packages: before a
    byte of it is fetched, and nothing is written here (`Gatekeeper.record` afterwards).

    place: the name it will be installed under. accept: the fingerprint of a key that the user has consented to trust.
    Raises TrustError, FormatError.
    """
    now_s = int(time.time()) if now_s is None else now_s
    new = parse_manifest(new_manifest_bytes)
    if old is not None and new.name != old.name:
        raise TrustError(f"{what} is {new.name}, another model than {old.name}; install it under a name of its own")
    if old is not None and new.version < old.version and not allow_older:
        raise TrustError(
            f"{what} is version {new.version}, older than the {old.version} that is installed; add --allow-older"
        )
    state = judge_offer(new_manifest_bytes, new_signature, trust, place=place, now_s=now_s)
    if needs_consent(state) and accept is not None and state.key is not None and state.key.fingerprint == accept:
        state = replace(state, status="trusted", pinned=None if state.pinned is None else accept, trusted_since_s=now_s)
    check_allowed(state, trust, what, allow_older=allow_older, is_offered=True)
    return new, state


def judge_offer(
    manifest_bytes: bytes, signature: bytes | None, trust: TrustList, *, place: str | None, now_s: int | None = None
) -> TrustState:
    """What is known of a package that is offered, to be installed under the name `place` (None: its own).

    Raises FormatError, UnsupportedError.
    """
    manifest = parse_manifest(manifest_bytes)
    places = tuple(dict.fromkeys((manifest.name, place or manifest.name)))
    now_s = int(time.time()) if now_s is None else now_s
    return judge(manifest_bytes, signature, trust, manifest=manifest, places=places, now_s=now_s)


def needs_consent(state: TrustState) -> bool:
    """Whether the user's word is all that is missing: of what is wrong, revoked or expired it changes nothing."""
    if state.status in ("unknown", "elsewhere"):
        return True
    return state.status in ("trusted", "unsigned") and (state.signer_changed or state.is_older)


def _judge_signature(
    state: TrustState, manifest_bytes: bytes, data: bytes, trust: TrustList, pinned: set[str], now_s: int
) -> TrustState:
    try:
        signatures = [one for one in parse_signatures(data) if one.is_for(manifest_bytes)]
    except FormatError as error:
        return replace(state, status="wrong", problem=str(error).rpartition("; ")[0])
    if not signatures:
        return replace(state, status="wrong", problem="its signature is of another manifest than the one beside it")
    if not all(is_genuine(one, manifest_bytes) for one in signatures):
        return replace(state, status="wrong", problem="its signature does not match the manifest")
    judged = [(_status_of(one, trust, state.model, now_s), one) for one in signatures]
    status, best = min(judged, key=lambda one: (_ORDER.index(one[0]), one[1].key.fingerprint not in pinned))
    known = trust.find(best.key.hex)
    return replace(
        state,
        status=status,
        key=known.key if known else best.key,
        signed_s=best.created_s,
        expires_s=_earliest(best.expires_s, known.expires_s if known else None),
        trusted_since_s=known.since_s if known else None,
    )


def _status_of(signature: Signature, trust: TrustList, model: str, now_s: int) -> Status:
    known = trust.find(signature.key.hex)
    if trust.is_revoked(signature.key.fingerprint):
        return "revoked"
    expires_s = _earliest(signature.expires_s, known.expires_s if known else None)
    if expires_s is not None and expires_s <= now_s:
        return "expired"
    if known is None:
        return "unknown"
    return "trusted" if known.covers(model) else "elsewhere"


def _is_by(pin: Pin, key: PublicKey | None) -> bool:
    return key is not None and pin.fingerprint == key.fingerprint


def _earliest(*times_s: int | None) -> int | None:
    return min((one for one in times_s if one is not None), default=None)
