"""`pocketseek voice setup`: what is here for listening and speaking, and fetching what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import options, voice_messages
from pocketseek.cli.console import (
    ShowProgress,
    format_bytes,
    is_interactive,
    note,
    print_json,
    print_table,
    print_text,
    progress_bar,
)
from pocketseek.cli.messages import Words
from pocketseek.cli.voice_languages import voice_language
from pocketseek.errors import UnsupportedError, VoiceError
from pocketseek.settings import Settings, read_settings

if TYPE_CHECKING:
    from pocketseek.apps.voice.parts import Part

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
    missing = [part for part in wanted if not part.is_installed(settings.voice_dir)]
    if not json:
        _show(settings, words, known_parts())
    if missing and not list_only and (parts or yes or _agreed(words, missing)):
        _fetch(settings, words, missing, quiet=json)
    if json:
        print_json(_facts(settings, spoken))
    else:
        _say_what_is_used(settings, words, spoken)


def _agreed(words: Words, missing: list[Part]) -> bool:
    """Nobody is there to be asked: nothing is fetched that was not named."""
    if not is_interactive():
        note(words(voice_messages.HOW_TO_FETCH, parts=" ".join(part.id for part in missing)))
        return False
    size = format_bytes(sum(part.num_bytes for part in missing))
    return typer.confirm(
        words(voice_messages.ASK_FETCH, parts=", ".join(part.id for part in missing), size=size), err=True
    )


def _fetch(settings: Settings, words: Words, missing: list[Part], *, quiet: bool) -> None:
    from pocketseek.apps.voice.parts import fetch_part

    for part in missing:
        with progress_bar() as show:
            fetch_part(part, settings.voice_dir, progress=_Labelled(words, part.id, show))
        if not quiet:
            note(words(voice_messages.FETCHED, part=part.id))


class _Labelled:
    def __init__(self, words: Words, part_id: str, show: ShowProgress) -> None:
        labels = {"download": voice_messages.FETCHING, "unpack": voice_messages.UNPACKING}
        self._labels = {phase: words(label, part=part_id) for phase, label in labels.items()}
        self._show = show

    def __call__(self, phase: str, done_bytes: int, total_bytes: int) -> None:
        self._show(self._labels[phase], done_bytes, total_bytes)


def _show(settings: Settings, words: Words, parts: tuple[Part, ...]) -> None:
    rows = [
        (
            part.id,
            words(voice_messages.KINDS[part.kind]),
            _languages(words, part),
            format_bytes(part.num_bytes),
            part.licence,
            _state(settings, words, part),
        )
        for part in parts
    ]
    print_table([words(title) for title in voice_messages.SETUP_TITLES], rows, essential=(0, 5))


def _languages(words: Words, part: Part) -> str:
    from pocketseek.apps.voice.parts import ANY_LANGUAGE

    is_general = not part.languages or ANY_LANGUAGE in part.languages
    return words(voice_messages.ALL_LANGUAGES) if is_general else ", ".join(part.languages)


def _state(settings: Settings, words: Words, part: Part) -> str:
    if not part.is_installed(settings.voice_dir):
        return words(voice_messages.ABSENT)
    if not _has_library(part):
        return words(voice_messages.NEEDS_LIBRARY, library=_PACKAGES[part.engine])
    return words(voice_messages.INSTALLED)


def _has_library(part: Part) -> bool:
    from importlib.util import find_spec

    return find_spec(_LIBRARIES[part.engine]) is not None


def _say_what_is_used(settings: Settings, words: Words, language: str) -> None:
    from pocketseek.apps.voice.choose import choose_detector, choose_recogniser, choose_synthesiser

    try:
        choose_detector(settings)
        recogniser = choose_recogniser(settings, language)
        voice = choose_synthesiser(settings, language, may_play_itself=True)
    except (UnsupportedError, VoiceError) as error:
        print_text(words(voice_messages.NOT_READY, language=language, problem=error))
        return
    print_text(
        words(
            voice_messages.USED,
            language=language,
            recogniser=recogniser.name,
            why=words(voice_messages.REASONS[recogniser.reason]),
            voice=voice.name,
            voice_why=words(voice_messages.REASONS[voice.reason]),
        )
    )


def _facts(settings: Settings, language: str) -> dict[str, object]:
    from pocketseek.apps.voice.choose import choose_detector, choose_recogniser, choose_synthesiser
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
                "installed": part.is_installed(settings.voice_dir),
                "library": _PACKAGES[part.engine],
                "library_installed": _has_library(part),
            }
            for part in known_parts()
        ],
    }
    try:
        choose_detector(settings)
        recogniser = choose_recogniser(settings, language)
        voice = choose_synthesiser(settings, language, may_play_itself=True)
    except (UnsupportedError, VoiceError) as error:
        return facts | {"ready": False, "problem": str(error)}
    return facts | {"ready": True, "recogniser": recogniser.name, "voice": voice.name}
