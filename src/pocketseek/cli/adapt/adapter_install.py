"""An adapter in PEFT's format becomes one of the installed: by `adapt add`, and after training, alone or together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pocketseek.errors import UsageError

if TYPE_CHECKING:
    from pocketseek.package.store import ModelStore
    from pocketseek.settings import Settings


def place_for(store: ModelStore, name: str, *, replace: bool) -> Path:
    """Where an adapter of that name will lie. A model is never replaced by one. Raises UsageError."""
    destination = store.path_for_new(name)
    if os.path.lexists(destination):
        if all(adapter.name != name for adapter in store.list_adapters()):
            raise UsageError(f"something else is called {name}; choose another name, or remove it first")
        if not replace:
            raise UsageError(f"there is an adapter {name} already; choose another name, or add --replace")
    return destination


def install_adapter(settings: Settings, folder: Path, base: Path, destination: Path) -> float:
    """Returns and raises as `add_adapter`."""
    from pocketseek.adapt.add import add_adapter
    from pocketseek.package.trust.audit import AuditLog

    error = add_adapter(folder, base, destination)
    AuditLog(settings.audit_path).note("model-installed", model=destination.name)
    return error
