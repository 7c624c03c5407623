"""Trust on first use: whether a key that this device does not know is to be trusted, asked before a model is opened.

Only the user's word counts: an answer at the terminal, or the fingerprint itself (`--trust`). `--yes` is not one. That
a model is suddenly signed by somebody else, not at all, or older is no question on the way: `trust accept` is for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pocketseek.cli.console import confirm, is_interactive
from pocketseek.cli.guard import trust_messages as messages
from pocketseek.cli.messages import Words
from pocketseek.errors import TrustError
from pocketseek.settings import Settings

if TYPE_CHECKING:
    from pocketseek.apps.repository.admission import Admission


def settle_trust(settings: Settings, path: Path, trust: str | None = None) -> None:
    """For the package at path. trust: a fingerprint; it has to be the signer's. Whoever opens the package checks again.

    Raises TrustError (signed by another, or the user says no), UsageError (no fingerprint) and what looking raises.
    """
    from pocketseek.package.trust.gatekeeper import Gatekeeper
    from pocketseek.package.trust.public_key import parse_fingerprint
    from pocketseek.package.trust.signature import has_signature

    wanted = parse_fingerprint(trust) if trust is not None else None
    if not has_signature(path):
        if wanted is not None:
            raise TrustError(f"{path.name} is not signed; leave out --trust, or install one that is")
        return
    gate = Gatekeeper.of(settings)
    state = gate.look_at(path)
    if wanted is not None and (state.key is None or state.key.fingerprint != wanted):
        signer = state.problem if state.key is None else f"it is signed by {state.key.fingerprint}"
        raise TrustError(f"{path.name} is not signed by {wanted}: {signer}; compare with what the publisher shows")
    if state.key is None or state.status not in ("unknown", "elsewhere") or state.signer_changed:
        return
    if wanted is None and not _agrees(settings, path.name, state.key.name, state.key.fingerprint):
        return
    gate.accept(path, state)
    write_acceptance(settings, path, state.key.fingerprint)


def admission_of(settings: Settings, trust: str | None, *, allow_older: bool) -> Admission:
    """For `pull` and `update`. trust: a fingerprint; without it a person is asked about a key that is not known."""
    from pocketseek.apps.repository.admission import Admission
    from pocketseek.package.trust.judge import TrustState
    from pocketseek.package.trust.public_key import parse_fingerprint

    def ask(state: TrustState) -> bool:
        return state.key is not None and _agrees(settings, state.model, state.key.name, state.key.fingerprint)

    wanted = parse_fingerprint(trust) if trust is not None else None
    return Admission(settings, accept=wanted, ask=ask, allow_older=allow_older)


def write_acceptance(settings: Settings, path: Path, fingerprint: str | None) -> None:
    from pocketseek.package.trust.audit import AuditLog

    AuditLog(settings.audit_path).write("model-accepted", model=path.name, key=fingerprint)


def _agrees(settings: Settings, model: str, name: str, fingerprint: str) -> bool:
    """False where nobody can be asked, or the answer is no: opening then says what is missing."""
    if not is_interactive():
        return False
    question = Words(settings.language)(messages.ASK_TRUST, model=model, name=name, fingerprint=fingerprint)
    return confirm(question)
