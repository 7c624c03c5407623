"""A server's model gives way to speech, if there is any."""

import os
import sys
import threading

import pytest

from pocketseek.apps.serve.voice.priority import giving_way_to_voice
from pocketseek.apps.voice.priorities import LANGUAGE_MODEL
from pocketseek.errors import VoiceError


def nice_value() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="nice values of threads are Linux's")
def test_a_model_beside_speech_gives_way() -> None:
    before = nice_value()
    assert giving_way_to_voice(lambda: None, nice_value) == min(before + LANGUAGE_MODEL, 19)
    assert nice_value() == before


def test_without_speech_it_stays_as_it_is() -> None:
    def missing() -> None:
        raise VoiceError("nothing speaks here; install something")

    assert giving_way_to_voice(missing, threading.current_thread) is threading.current_thread()
