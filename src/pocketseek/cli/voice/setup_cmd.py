"""`pocketseek voice setup`: what is here for listening and speaking, and fetching what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import options
from pocketseek.cli.console import (
    ShowProgress,
    confirm,
    format_bytes,
    is_interactive,
    note,
    print_json,
    print_table,
    print_text,
    progress_bar,
)
from pocketseek.cli.messages import Words
from pocketseek.cli.models.parts_view import languages_of, short_state
from pocketseek.cli.voice import voice_messages
from pocketseek.cli.voice.languages import voice_language
from pocketseek.errors import UnsupportedError, VoiceError
from pocketseek.settings import Settings, read_settings

if TYPE_CHECKING:
    from pocketseek.apps.voice.parts import Part
    from pocketseek.package.speech_part import PartKind

_LIBRARIES = {"faster-whisper": "faster_whisper", "piper": "piper", "onnxruntime": "onnxruntime"}
_PACKAGES = {"faster-whisper": "faster-whisper", "piper": "piper-tts", "onnxruntime": "onnxruntime"}


def setup(
    parts: Annotated[
        list[str] | None,
        typer.Argument(metavar="PART", help="What to fetch; none: what fits the language.", show_default=False),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(
            "--language", metavar="CODE", help="The language to talk in: en, zh, ...", show_default="that of messages"
        ),
    ] = None,
    list_only: Annotated[bool, typer.Option("--list", help="Only show what there is.")] = False,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Show and fetch what is needed to listen and to speak. Every file is checked against its known hash."""
    from pocketseek.apps.voice.parts import known_parts, part_by_id, recommended_parts

    settings = read_settings()
    words = Words(settings.language)
    spoken = voice_language(settings, language)
    wanted = [part_by_id(one) for one in parts or ()] or list(recommended_parts(spoken))
    missing = [part for part in wanted if not part.is_installed(settings)]
    is_agreed = bool(parts) or yes  # nobody is asked, and what is shown is how it is afterwards
    if not json and not is_agreed:
        _show(settings, words, known_parts())
    if missing and not list_only and (is_agreed or _agreed(words, missing)):
        _fetch(settings, words, missing, quiet=json)
    if json:
        print_json(_facts(settings, spoken))
        return
    if is_agreed:
        _show(settings, words, known_parts())
    _say_what_is_used(settings, words, spoken)


def _agreed(words: Words, missing: list[Part]) -> bool:
    """Nobody is there to be asked: nothing is fetched that was not named."""
    if not is_interactive():
        note(words(voice_messages.HOW_TO_FETCH, parts=" ".join(part.id for part in missing)))
        return False
    size = format_bytes(sum(part.num_bytes for part in missing))
    return confirm(words(voice_messages.ASK_FETCH, parts=", ".join(part.id for part in missing), size=size))


def _fetch(settings: Settings, words: Words, missing: list[Part], *, quiet: bool) -> None:
    from pocketseek.apps.voice.parts import fetch_part

    for part in missing:
        with progress_bar() as show:
            fetch_part(part, settings, progress=_Labelled(words, part.id, show))
        if not quiet:
            note(words(voice_messages.FETCHED, part=part.id))
            if not _has_library(part):
                note(words(voice_messages.PART_NEEDS_LIBRARY, part=part.id, library=_PACKAGES[part.engine]))


class _Labelled:
    def __init__(self, words: Words, part_id: str, show: ShowProgress) -> None:
        labels = {"download": voice_messages.FETCHING, "unpack": voice_messages.UNPACKING}
        self._labels = {phase: words(label, part=part_id) for phase, label in labels.items()}
        self._show = show

    def __call__(self, phase: str, done_bytes: int, total_bytes: int) -> None:
        self._show(self._labels[phase], done_bytes, total_bytes)


def _show(settings: Settings, words: Words, parts: tuple[Part, ...]) -> None:
    here = _Here(settings, words)
    rows = [
        (
            part.id,
            words(voice_messages.KINDS[part.kind]),
            languages_of(part.languages, words),
            format_bytes(part.num_bytes),
            part.licence,
            _state(settings, words, part, here),
        )
        for part in parts
    ]
    print_table(
        [words(title) for title in voice_messages.SETUP_TITLES],
        [*rows, *here.other_rows({part.id for part in parts})],
        essential=(0, 5),
    )


class _Here:
    """What is installed, and what somebody put there."""

    def __init__(self, settings: Settings, words: Words) -> None:
        from pocketseek.apps.voice.candidates import recogniser_folders, voice_folders
        from pocketseek.package.store import ModelStore
        from pocketseek.package.trust.gatekeeper import Gatekeeper

        self._words = words
        self._gate = Gatekeeper.of(settings)
        self._packages = {one.name: one for one in ModelStore(settings.models_dir).list_parts()}
        self._folders: dict[str, tuple[PartKind, tuple[str, ...], int]] = {}
        for listening in recogniser_folders(settings.voice_dir):
            self._folders[listening.name] = ("recogniser", listening.languages, listening.num_bytes)
        for speaking in voice_folders(settings.voice_dir):
            self._folders[speaking.name] = ("voice", speaking.languages, speaking.num_bytes)

    def state(self, name: str) -> str:
        """In a few words; of what is there."""
        if (one := self._packages.get(name)) is not None:
            return short_state(one.path, one.manifest, self._gate, self._words)
        return self._words(voice_messages.BY_HAND)

    def other_rows(self, known: set[str]) -> list[tuple[str, ...]]:
        """Of what `voice setup` does not fetch."""
        rows: list[tuple[str, ...]] = []
        for name, one in self._packages.items():
            if name not in known and (part := one.manifest.part) is not None:
                rows.append(self._row(name, part.kind, part.languages, one.num_bytes, part.licence))
        for name, (kind, languages, num_bytes) in self._folders.items():
            if name not in known and name not in self._packages:
                rows.append(self._row(name, kind, languages, num_bytes, ""))
        return rows

    def facts(self) -> list[dict[str, object]]:
        """Of folders, for --json; packages are told by `models --json`."""
        return [
            {"name": name, "kind": kind, "languages": list(languages), "bytes": num_bytes}
            for name, (kind, languages, num_bytes) in self._folders.items()
        ]

    def _row(
        self, name: str, kind: PartKind, languages: tuple[str, ...], num_bytes: int, licence: str
    ) -> tuple[str, ...]:
        words = self._words
        spoken = languages_of(languages, words)
        return (name, words(voice_messages.KINDS[kind]), spoken, format_bytes(num_bytes), licence, self.state(name))


def _state(settings: Settings, words: Words, part: Part, here: _Here) -> str:
    if not _has_library(part):
        return words(voice_messages.NEEDS_LIBRARY, library=_PACKAGES[part.engine])
    if not part.is_installed(settings):
        return words(voice_messages.ABSENT)
    return words(voice_messages.INSTALLED, state=here.state(part.id))


def _has_library(part: Part) -> bool:
    from importlib.util import find_spec

    return find_spec(_LIBRARIES[part.engine]) is not None


def _say_what_is_used(settings: Settings, words: Words, language: str) -> None:
    from pocketseek.apps.voice.engines.choose import choose_detector, choose_recogniser, choose_synthesiser

    try:
        choose_detector(settings)
        recogniser = choose_recogniser(settings, language)
        voice = choose_synthesiser(settings, language, may_play_itself=True)
    except (UnsupportedError, VoiceError) as error:
        print_text(words(voice_messages.NOT_READY, language=_name_of(language, words), problem=error))
        return
    print_text(
        words(
            voice_messages.USED,
            language=_name_of(language, words),
            recogniser=recogniser.name,
            why=words(voice_messages.REASONS[recogniser.reason]),
            voice=voice.name,
            voice_why=words(voice_messages.REASONS[voice.reason]),
        )
    )


def _name_of(language: str, words: Words) -> str:
    name = voice_messages.LANGUAGE_NAMES.get(language)
    return language if name is None else words(name)


def _facts(settings: Settings, language: str) -> dict[str, object]:
    from pocketseek.apps.voice.engines.choose import choose_detector, choose_recogniser, choose_synthesiser
    from pocketseek.apps.voice.parts import known_parts

    facts: dict[str, object] = {
        "language": language,
        "parts": [
            {
                "id": part.id,
                "kind": part.kind,
                "languages": list(part.languages),
                "bytes": part.num_bytes,
                "licence": part.licence,
                "installed": part.is_installed(settings),
                "library": _PACKAGES[part.engine],
                "library_installed": _has_library(part),
            }
            for part in known_parts()
        ],
    }
    facts["folders"] = _Here(settings, Words(settings.language)).facts()
    try:
        choose_detector(settings)
        recogniser = choose_recogniser(settings, language)
        voice = choose_synthesiser(settings, language, may_play_itself=True)
    except (UnsupportedError, VoiceError) as error:
        return facts | {"ready": False, "problem": str(error)}
    return facts | {"ready": True, "recogniser": recogniser.name, "voice": voice.name}
