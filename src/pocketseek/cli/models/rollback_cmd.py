"""`pocketseek rollback MODEL`: back to the version before the last update."""

from __future__ import annotations

from pathlib import Path

from pocketseek.cli import options
from pocketseek.cli.console import print_json, print_text
from pocketseek.cli.messages import Words
from pocketseek.cli.models import update_messages
from pocketseek.settings import Settings, read_settings


def rollback(model: options.ModelName, json: options.Json = False) -> None:
    """Go back to the version before the last update, as long as it is kept (`inspect` tells). Nothing is asked; the
    present version is removed, and `update` fetches it again."""
    from pocketseek.apps.repository.update import roll_back
    from pocketseek.package.store import ModelStore

    settings = read_settings()
    path = ModelStore(settings.models_dir).resolve(model)
    version = roll_back(path)
    _take_its_word(settings, path)
    if json:
        print_json({"name": model, "version": version})
    else:
        print_text(Words(settings.language)(update_messages.ROLLED_BACK, name=model))


def _take_its_word(settings: Settings, path: Path) -> None:
    """Who goes back wants the older version, and says so by it."""
    from pocketseek.package.trust.audit import AuditLog
    from pocketseek.package.trust.gatekeeper import Gatekeeper

    gate = Gatekeeper.of(settings)
    state = gate.look_at(path)
    if state.is_older and state.status == "trusted" and not state.signer_changed:
        gate.accept(path, state, allow_older=True)
    AuditLog(settings.audit_path).note("model-rolled-back", model=path.name)
