"""Whether what a source offers may become an installed model.

Whoever fetches asks an `Admit` with the bytes of manifest and signature before anything else is fetched, and installs
these very bytes. `by_form` looks at the manifest alone. `Admission` is that of this device: signatures, who is trusted,
what was revoked, no older version than was seen (package/trust/judge.py); with a person to ask, a key that is not known
yet can be trusted on first use. What was admitted is remembered by `installed`, once it is there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pocketseek.errors import UnsupportedError
from pocketseek.package.manifest import Manifest, parse_manifest
from pocketseek.package.trust.audit import AuditLog
from pocketseek.package.trust.gatekeeper import Gatekeeper
from pocketseek.package.trust.judge import TrustState, check_update_allowed, judge_offer
from pocketseek.settings import Settings

Admit = Callable[["Manifest | None", "str | None", bytes, "bytes | None"], Manifest]
"""admit(old, place, manifest_bytes, signature): the manifest that may be installed under the name `place` (None: its
own) instead of `old`, which is a version of the same model; None: of nothing, or of what may be another one, as `pull`
was told. Raises FormatError, TrustError, UnsupportedError."""


def by_form(old: Manifest | None, place: str | None, manifest_bytes: bytes, signature: bytes | None) -> Manifest:
    return parse_manifest(manifest_bytes)


class Admission:
    """accept: the fingerprint of a key that the user says is to be trusted. ask(state): whether a key that is not known
    here is to be trusted for this model; not asked where accept says it. allow_older: also an older version."""

    def __init__(
        self,
        settings: Settings,
        *,
        accept: str | None = None,
        ask: Callable[[TrustState], bool] = lambda state: False,
        allow_older: bool = False,
    ) -> None:
        self._gate = Gatekeeper.of(settings)
        self._audit = AuditLog(settings.audit_path)
        self._accept = accept
        self._ask = ask
        self._allow_older = allow_older
        self._agreed = False

    def admit(
        self, old: Manifest | None, place: str | None, manifest_bytes: bytes, signature: bytes | None
    ) -> Manifest:
        """An `Admit`."""
        trust = self._gate.store.load()
        if signature is not None and self._accept is None:
            state = judge_offer(manifest_bytes, signature, trust, place=place)
            is_new = state.key is not None and state.status in ("unknown", "elsewhere") and not state.signer_changed
            if is_new and state.key is not None and self._ask(state):
                self._accept = state.key.fingerprint
        manifest, state = check_update_allowed(
            old,
            manifest_bytes,
            signature,
            trust,
            place=place,
            what=place or "the model",
            allow_older=self._allow_older,
            accept=self._accept,
        )
        self._agreed = state.key is not None and state.key.fingerprint == self._accept
        return manifest

    def installed(self, path: Path, event: str) -> None:
        """What was admitted lies there now: its signer is remembered, and the event is written down."""
        state = self._gate.look_at(path)
        goes_back = self._allow_older and state.is_older and state.status == "trusted" and not state.signer_changed
        if self._agreed or goes_back:
            self._gate.accept(path, state, allow_older=self._allow_older)
        else:
            self._gate.record(state, self._gate.store.load())
        self._audit.note(event, model=path.name)


def check_not_sealed(sealed: bytes | None, where: str) -> None:
    """Raises UnsupportedError for a package whose chunks only its owner can read. sealed: its sealed.json; a page that
    some servers send for whatever they have not is none."""
    if sealed is not None and sealed.lstrip().startswith(b"{"):
        raise UnsupportedError(f"{where} is a sealed package; copy the folder and unseal it, or publish it unsealed")
