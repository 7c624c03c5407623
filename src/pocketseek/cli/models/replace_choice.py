"""Whether an installed model may give way to what `pull` found: one line names both, with their signers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketseek.cli.console import confirm, is_interactive
from pocketseek.cli.guard.trust_view import describe, look_by_path
from pocketseek.cli.messages import Message, Words
from pocketseek.cli.models import pull_messages
from pocketseek.errors import FormatError, UnsupportedError, UsageError
from pocketseek.settings import Settings

if TYPE_CHECKING:
    from pocketseek.apps.repository.pull import Replacing
    from pocketseek.apps.repository.receive import Offer
    from pocketseek.package.entries import Manifest
    from pocketseek.package.trust.gatekeeper import Gatekeeper


def allow_replacing(replacing: Replacing, settings: Settings, words: Words, *, yes: bool) -> None:
    """Raises UsageError where nobody can be asked or the answer is no."""
    if yes:
        return
    if not is_interactive():
        line = _told(pull_messages.REPLACING, replacing, settings, Words("en"))
        raise UsageError(f"{line}; add --yes to replace it, or choose another --name")
    if not confirm(_told(pull_messages.CONFIRM_REPLACE, replacing, settings, words)):
        raise UsageError(f"{replacing.name} was left as it is; choose another --name to have both")


def _told(message: Message, replacing: Replacing, settings: Settings, words: Words) -> str:
    from pocketseek.package.trust.gatekeeper import Gatekeeper

    gate, offer = Gatekeeper.of(settings), replacing.offer
    state = look_by_path(gate, replacing.path, replacing.old)
    old = _model(replacing.old, state if isinstance(state, str) else describe(state, words), words)
    new = words(pull_messages.A_CHECKPOINT)
    if offer is not None:
        new = _model(offer.manifest, _offered(gate, offer, replacing.name, words), words)
    return words(message, name=replacing.name, old=old, address=replacing.address, new=new)


def _model(manifest: Manifest, signed: str, words: Words) -> str:
    """With its version, if the publisher counts them: it may be all that differs."""
    if manifest.version:
        values = {"name": manifest.name, "version": manifest.version, "signed": signed}
        return words(pull_messages.MODEL_VERSION_AND_SIGNER, **values)
    return words(pull_messages.MODEL_AND_SIGNER, name=manifest.name, signed=signed)


def _offered(gate: Gatekeeper, offer: Offer, place: str, words: Words) -> str:
    """What is known of its signature; it is judged for good afterwards."""
    from pocketseek.package.trust.judge import judge_offer

    try:
        state = judge_offer(offer.manifest_bytes, offer.signature, gate.store.load(), place=place)
    except (FormatError, UnsupportedError) as error:
        return str(error)
    return describe(state, words)
