"""What the shell completes: names of installed models and of the catalogue's, and access tokens.

Each function gets what was typed so far. Anything that goes wrong completes nothing: the shell is no place for errors.
"""

from __future__ import annotations

from pocketseek.errors import FormatError, StorageError, UsageError
from pocketseek.settings import read_settings

_DEMO = "demo"


def complete_model(incomplete: str) -> list[str]:
    """Installed models, broken ones too since they are to be removed, and `demo`."""
    return [name for name in sorted({*_directories(), _DEMO}) if name.startswith(incomplete)]


def complete_installed(incomplete: str) -> list[str]:
    return [name for name in _directories() if name.startswith(incomplete)]


def complete_source(incomplete: str) -> list[str]:
    """What `pull` knows by name."""
    from pocketseek.apps.catalogue import catalogue

    return [model.name for model in catalogue() if model.name != _DEMO and model.name.startswith(incomplete)]


def complete_token(incomplete: str) -> list[str]:
    from pocketseek.apps.access_tokens import TokenStore

    try:
        tokens = TokenStore(read_settings([]).tokens_path).list()
    except (FormatError, StorageError):
        return []
    return [token.name for token in tokens if token.name.startswith(incomplete)]


def _directories() -> list[str]:
    """By name alone: reading manifests would take longer than a key press may."""
    try:
        return sorted(path.name for path in read_settings([]).models_dir.iterdir() if path.name[0] not in "._~")
    except (OSError, UsageError):
        return []
