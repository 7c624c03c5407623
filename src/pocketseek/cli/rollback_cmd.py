"""`pocketseek rollback MODEL`: back to the version before the last update."""

from __future__ import annotations

from pocketseek.cli import options, update_messages
from pocketseek.cli.console import print_json, print_text
from pocketseek.cli.messages import Words
from pocketseek.settings import read_settings


def rollback(model: options.ModelName, json: options.Json = False) -> None:
    """Go back to the version before the last update, as long as it is kept; the present one is removed."""
    from pocketseek.apps.repository.update import roll_back
    from pocketseek.package.store import ModelStore

    settings = read_settings()
    version = roll_back(ModelStore(settings.models_dir).resolve(model))
    if json:
        print_json({"name": model, "version": version})
    else:
        print_text(Words(settings.language)(update_messages.ROLLED_BACK, name=model))
