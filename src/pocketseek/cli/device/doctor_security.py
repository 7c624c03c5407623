"""The findings of `pocketseek doctor` about who can read what, who signed what, and the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketseek.apps.data_directory import mend_modes
from pocketseek.cli.device.doctor_check import Check
from pocketseek.cli.guard import trust_messages as messages
from pocketseek.cli.guard.trust_view import describe, look_by_path
from pocketseek.cli.messages import Words
from pocketseek.errors import BusyError, FormatError, StorageError
from pocketseek.settings import Settings

if TYPE_CHECKING:
    from pocketseek.package.trust.judge import TrustState


def security_checks(settings: Settings, words: Words) -> list[Check]:
    return [_privacy(settings, words), *_trust(settings, words), _audit(settings, words)]


def _privacy(settings: Settings, words: Words) -> Check:
    """Every command mends what it can, so what is left here needs the user."""
    label, exposed = words(messages.DOCTOR_PRIVACY), mend_modes(settings.home)
    if not exposed:
        return Check(label, True, words(messages.DOCTOR_PRIVATE))
    return Check(label, False, words(messages.DOCTOR_EXPOSED, paths=", ".join(map(str, exposed))))


def _trust(settings: Settings, words: Words) -> list[Check]:
    from pocketseek.package.store import ModelStore
    from pocketseek.package.trust.gatekeeper import Gatekeeper
    from pocketseek.package.trust.judge import is_allowed

    label = words(messages.DOCTOR_TRUST)
    gate = Gatekeeper.of(settings)
    try:
        trust = gate.store.load()
        store = ModelStore(settings.models_dir)
        models, parts = store.list(), store.list_parts()
    except (FormatError, StorageError) as error:  # findings here, not the end of the command
        return [Check(label, False, str(error))]
    states = {model.name: look_by_path(gate, model.path, model.manifest) for model in (*models, *parts)}
    signed = sum(_is_signed(states[model.name]) for model in models)
    policy = words(messages.POLICY_ON if trust.require_signed else messages.POLICY_OFF).rstrip(".。")
    policy = policy[:1].lower() + policy[1:]  # in the middle of a line
    values = {"keys": len(trust.keys), "signed": signed, "models": len(models), "policy": policy}
    checks = [Check(label, True, words(messages.DOCTOR_TRUST_VALUE, **values))]
    for name, state in states.items():
        if isinstance(state, str):
            checks.append(Check(label, False, words(messages.DOCTOR_REFUSED, model=name, state=state)))
        elif not is_allowed(state, trust):
            detail = words(messages.DOCTOR_REFUSED, model=name, state=describe(state, words))
            checks.append(Check(label, state.status in ("unknown", "elsewhere", "unsigned"), detail, warning=True))
    return checks


def _is_signed(state: TrustState | str) -> bool:
    return not isinstance(state, str) and state.key is not None


def _audit(settings: Settings, words: Words) -> Check:
    from pocketseek.package.trust.audit import AuditLog

    label = words(messages.DOCTOR_AUDIT)
    log = AuditLog(settings.audit_path)
    if not log.exists():
        return Check(label, True, words(messages.AUDIT_EMPTY))
    try:
        report = log.verify()
    except (FormatError, StorageError, BusyError) as error:  # as above
        return Check(label, False, str(error))
    if report.found:
        first = report.found[0]
        problem = words(messages.AUDIT_PROBLEMS[first.kind], **first.values)
        return Check(label, False, words(messages.DOCTOR_AUDIT_BAD, problem=problem))
    return Check(label, True, words(messages.DOCTOR_AUDIT_GOOD, lines=report.num_lines))
