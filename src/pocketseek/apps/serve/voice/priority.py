"""The language model of a server gives way to hearing and speaking, where these are installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pocketseek.apps.voice.priorities import LANGUAGE_MODEL, made_giving_way
from pocketseek.errors import UnsupportedError, VoiceError

T = TypeVar("T")


def giving_way_to_voice(check_voice: Callable[[], None], make: Callable[[], T]) -> T:
    """What `make` returns; its threads give way unless check_voice raises VoiceError or UnsupportedError: who cannot
    talk need not be slower beside other programs."""
    try:
        check_voice()
    except (VoiceError, UnsupportedError):
        return make()
    return made_giving_way(make, LANGUAGE_MODEL)
