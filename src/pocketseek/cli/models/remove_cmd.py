"""`pocketseek remove NAME`: delete an installed model."""

from __future__ import annotations

import os

from pocketseek.cli import options
from pocketseek.cli.console import confirm, format_bytes, is_interactive, print_json, print_text
from pocketseek.cli.messages import Words
from pocketseek.cli.models import models_messages
from pocketseek.errors import UsageError
from pocketseek.settings import read_settings


def remove(model: options.InstalledName, yes: options.Yes = False, json: options.Json = False) -> None:
    """Delete an installed model, broken or not. Asks first; a script says --yes."""
    from pocketseek.adapt.train_output import remove_trained
    from pocketseek.apps.kept_pages import owners_of
    from pocketseek.apps.onnx_models import sweep_cache
    from pocketseek.package.part_view import forget_views
    from pocketseek.package.storage import tree_bytes
    from pocketseek.package.store import ModelStore
    from pocketseek.package.trust.audit import AuditLog
    from pocketseek.runtime.prefix.forgotten import forget_model

    settings = read_settings()
    words = Words(settings.language)
    store = ModelStore(settings.models_dir)
    if os.sep in model and os.path.exists(model):
        raise UsageError(f"{model} is a path; remove takes the name of an installed model, delete a folder by hand")
    if store.is_installed(model) and not yes:
        if not is_interactive():
            raise UsageError(f"removing {model} needs a confirmation; add --yes")
        size = format_bytes(tree_bytes(store.path_for_new(model)))
        if not confirm(words(models_messages.CONFIRM_REMOVE, name=model, size=size)):
            print_text(words(models_messages.NOT_REMOVED))
            return
    owners = owners_of(store.path_for_new(model), settings) if store.is_installed(model) else frozenset[str]()
    is_adapter = any(adapter.name == model for adapter in store.list_adapters())
    freed_bytes = store.remove(model) + store.clean()  # whoever removes wants space, so dead writers' leftovers go too
    AuditLog(settings.audit_path).note("model-removed", model=model)
    freed_bytes += forget_views(model, settings.views_dir)  # and copies of a speech part's files
    freed_bytes += sweep_cache(settings)  # and what was made of the model for ONNX Runtime
    if is_adapter:  # and what it was trained as here
        freed_bytes += remove_trained(settings.adapters_dir / model)
    forget_model(settings.prefix_dir, owners)  # and of what it was asked
    if json:
        print_json({"name": model, "freed_bytes": freed_bytes})
    else:
        print_text(words(models_messages.REMOVED, name=model, size=format_bytes(freed_bytes)))
