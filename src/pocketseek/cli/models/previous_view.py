"""The version before, which `rollback` would bring back, for `inspect` and `models`."""

from __future__ import annotations

from pathlib import Path

from pocketseek.cli.messages import Message, Words
from pocketseek.cli.models import update_messages

_KEPT: dict[str, Message] = {
    "until it has answered": update_messages.PREVIOUS_UNTIL_ANSWER,
    "until the next update": update_messages.PREVIOUS_UNTIL_UPDATE,
    "until it is opened": update_messages.PREVIOUS_UNTIL_OPENED,
}
_SHORT = 12  # digits of an id that tell versions apart


def previous_facts(path: Path) -> dict[str, object] | None:
    """For --json."""
    from pocketseek.apps.repository.versions import previous_version

    found = previous_version(path)
    if found is None:
        return None
    return {"id": found.id, "version": found.number, "name": found.name, "kept": found.kept}


def previous_rows(path: Path, words: Words) -> list[tuple[str, str]]:
    """None or one."""
    from pocketseek.apps.repository.versions import previous_version

    found = previous_version(path)
    if found is None:
        return []
    short = found.id[:_SHORT]
    version = words(update_messages.PREVIOUS_NUMBER, number=found.number, id=short) if found.number else short
    return [(words(update_messages.PREVIOUS), words(_KEPT[found.kept], version=version, name=path.name))]
