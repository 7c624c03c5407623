"""Speech parts that are installed, for `models --parts`, `inspect` and `voice setup`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pocketseek.cli import messages
from pocketseek.cli.console import format_bytes, note, print_table, print_text
from pocketseek.cli.guard import seal_messages, trust_messages
from pocketseek.cli.guard.seal_view import is_sealed
from pocketseek.cli.guard.trust_view import day, look_by_path, short, trust_facts
from pocketseek.cli.messages import Words
from pocketseek.cli.models import pull_messages
from pocketseek.cli.models.previous_view import previous_facts
from pocketseek.cli.voice import voice_messages

if TYPE_CHECKING:
    from pocketseek.package.entries import Manifest
    from pocketseek.package.speech_part import SpeechPart
    from pocketseek.package.store import InstalledModel
    from pocketseek.package.trust.gatekeeper import Gatekeeper


def show_parts(parts: list[InstalledModel], gate: Gatekeeper, words: Words) -> None:
    if not parts:
        print_text(words(voice_messages.NO_PARTS))
        return
    titles = (
        messages.COLUMN_NAME,
        voice_messages.SETUP_TITLES[1],
        voice_messages.ENGINE,
        voice_messages.SETUP_TITLES[2],
        messages.COLUMN_SIZE,
        voice_messages.SETUP_TITLES[4],
        trust_messages.COLUMN_SIGNED,
        pull_messages.VERIFIED,
    )
    print_table([words(one) for one in titles], [_row(one, gate, words) for one in parts], essential=(0, 1))


def tell_of_parts(num_parts: int, words: Words) -> None:
    """Below a list of models."""
    if num_parts:
        note(words(voice_messages.PARTS_LISTED, num=num_parts))


def part_facts(one: InstalledModel, gate: Gatekeeper) -> dict[str, object]:
    """For --json."""
    from pocketseek.package.marker import marked_s

    state = look_by_path(gate, one.path, one.manifest)
    return {
        "name": one.name,
        "path": str(one.path),
        "num_bytes": one.num_bytes,
        **_own_facts(one.manifest),
        "sealed": is_sealed(one.path),
        "previous": previous_facts(one.path),
        "version": one.manifest.version,
        "verified": marked_s(one.path, one.manifest),
        "trust": {"status": "unchecked", "problem": state} if isinstance(state, str) else trust_facts(state),
    }


def manifest_facts(manifest: Manifest) -> dict[str, object]:
    """What `inspect --json` says of a part where it says of a model how that is made."""
    if manifest.part is None:
        return {}
    own = manifest.part.files_with_chunks(manifest.chunks)
    files = {file.name: sum(chunk.num_bytes for chunk in chunks) for file, chunks in own}
    return {"part": {**_own_facts(manifest), "files": files}, "provenance": dict(manifest.provenance)}


def part_rows(part: SpeechPart, words: Words) -> list[tuple[str, str]]:
    """For `inspect`."""
    return [
        (words(voice_messages.SETUP_TITLES[1]), words(voice_messages.KINDS[part.kind])),
        (words(voice_messages.ENGINE), part.engine),
        (words(voice_messages.SETUP_TITLES[2]), languages_of(part.languages, words)),
        (words(voice_messages.SETUP_TITLES[4]), part.licence),
        (words(voice_messages.WHOSE), part.origin),
    ]


def languages_of(languages: tuple[str, ...], words: Words) -> str:
    is_general = not languages or "*" in languages
    return words(voice_messages.ALL_LANGUAGES) if is_general else ", ".join(languages)


def short_state(path: Path, manifest: Manifest, gate: Gatekeeper, words: Words) -> str:
    """Who signed it, in a word, and whether it is sealed."""
    state = look_by_path(gate, path, manifest)
    signed = "?" if isinstance(state, str) else short(state, words)
    by = words(voice_messages.SIGNED_BY, name=signed) if signed else words(trust_messages.UNSIGNED)
    return f"{by} {words(seal_messages.LISTED)}" if is_sealed(path) else by


def _own_facts(manifest: Manifest) -> dict[str, object]:
    part = manifest.part
    if part is None:
        return {}
    return {
        "kind": part.kind,
        "engine": part.engine,
        "languages": list(part.languages),
        "licence": part.licence,
        "origin_of_model": part.origin,
    }


def _row(one: InstalledModel, gate: Gatekeeper, words: Words) -> tuple[str, ...]:
    from pocketseek.package.marker import marked_s

    part, time_s = one.manifest.part, marked_s(one.path, one.manifest)
    if part is None:
        return (one.name,)
    checked = "" if time_s is None else day(time_s)
    return (
        one.name,
        words(voice_messages.KINDS[part.kind]),
        part.engine,
        languages_of(part.languages, words),
        format_bytes(one.num_bytes),
        part.licence,
        short_state(one.path, one.manifest, gate, words),
        words(seal_messages.CHECKED) if is_sealed(one.path) else checked,
    )
