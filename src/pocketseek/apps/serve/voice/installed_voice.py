"""The speech engines that are installed here, for the server; chosen anew each time, so that what `pocketseek voice
setup` brings is used without a restart."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pocketseek.apps.serve.voice.chat import SpokenManner
from pocketseek.apps.serve.voice.desk import VoiceDesk, VoiceMakers
from pocketseek.apps.voice.engines.choose import choose_detector, choose_recogniser, choose_synthesiser
from pocketseek.apps.voice.installed_parts import SecretOf
from pocketseek.apps.voice.on_demand import Room, prepare
from pocketseek.apps.voice.style import DEFAULT_MAX_TOKENS, ReadAloud, spoken_style
from pocketseek.settings import Settings

_ANY = "en"  # where the language is found out only when somebody speaks

P = TypeVar("P")


def installed_voice(
    settings: Settings,
    secret_of: SecretOf | None = None,
    room: Room | None = None,
    heat_share: Callable[[], float] = lambda: 1.0,
) -> VoiceDesk:
    """Opens nothing, and looks for nothing yet. secret_of: of sealed parts. room: what they take memory of.
    heat_share: as of VoiceSession."""

    def check(language: str | None) -> None:
        choose_detector(settings)
        choose_recogniser(settings, language)
        choose_synthesiser(settings, language or _ANY)

    manner = SpokenManner(
        lambda own, language: spoken_style(language or _ANY, system=own).system,
        DEFAULT_MAX_TOKENS,
        ReadAloud(),
    )
    return VoiceDesk(
        VoiceMakers(
            lambda language: _ready(choose_recogniser(settings, language, secret_of=secret_of, room=room).open()),
            lambda language: _ready(
                choose_synthesiser(settings, language or _ANY, secret_of=secret_of, room=room).open()
            ),
            lambda: choose_detector(settings, secret_of=secret_of).open(),
            manner,
            check,
            heat_share,
        )
    )


def _ready(part: P) -> P:
    """With its model loaded: the first question would have to wait for that."""
    prepare(part)
    return part
