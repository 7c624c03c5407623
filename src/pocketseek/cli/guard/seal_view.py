"""How a model is sealed, for `inspect` and `models`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pocketseek.cli.guard import seal_messages
from pocketseek.cli.messages import Message, Words

if TYPE_CHECKING:
    from pocketseek.package.manifest import Manifest


def sealed_facts(path: Path, manifest: Manifest) -> dict[str, object]:
    """For --json. opens_with: "passphrase", "key"; empty if it is plain."""
    from pocketseek.package.sealing.in_place import seal_state
    from pocketseek.package.sealing.seal_record import read_record

    record = read_record(path)
    return {
        "state": seal_state(path, manifest),
        "cipher": None if record is None else record.cipher,
        "opens_with": [] if record is None else sorted({slot.kind for slot in record.slots}),
    }


def sealed_line(path: Path, manifest: Manifest, words: Words) -> str:
    facts = sealed_facts(path, manifest)
    if facts["state"] == "plain":
        return words(seal_messages.STATE_PLAIN)
    if facts["state"] == "mixed":
        return words(seal_messages.STATE_MIXED)
    return words(seal_messages.STATE_SEALED, cipher=facts["cipher"], what=words(what_opens(path)))


def what_opens(path: Path) -> Message:
    """What a sealed model is opened with, in a word."""
    from pocketseek.package.sealing.seal_record import read_record

    record = read_record(path)
    is_phrase = record is not None and any(slot.kind == "passphrase" for slot in record.slots)
    return seal_messages.WHAT_PASSPHRASE if is_phrase else seal_messages.WHAT_KEY


def is_sealed(path: Path) -> bool:
    from pocketseek.package.sealing.seal_record import read_record

    return read_record(path) is not None
