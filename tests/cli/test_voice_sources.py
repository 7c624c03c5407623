"""What a source of sound remembers of turns, and what a microphone does that goes away."""

from collections.abc import Iterator

import numpy as np
import pytest

from pocketseek.apps.voice.contract import SAMPLE_RATE, Samples
from pocketseek.apps.voice.endpoint import EndpointSettings
from pocketseek.apps.voice.events import SpeechEnded, TurnEnded, TurnFailed, TurnTimings
from pocketseek.cli import voice_sources
from pocketseek.cli.messages import Words
from pocketseek.cli.voice_sources import _Live, _OpenTurns
from pocketseek.errors import VoiceError


class Quiet:
    is_answering = False


def test_a_turn_is_open_from_its_end_of_speech_to_its_answer() -> None:
    turns, session = _OpenTurns(), Quiet()
    turns.see(SpeechEnded(1.0, 1, 0.5))
    assert turns.are_there(session)  # type: ignore[arg-type]
    turns.see(TurnEnded(2.0, 1, TurnTimings()))
    assert not turns.are_there(session)  # type: ignore[arg-type]


def test_a_turn_that_failed_while_they_spoke_is_not_waited_for() -> None:
    turns, session = _OpenTurns(), Quiet()
    turns.see(TurnFailed(1.0, 1, "the engine crashed"))
    turns.see(SpeechEnded(2.0, 1, 1.5))
    assert not turns.are_there(session)  # type: ignore[arg-type]


class Plugged:
    """A microphone that hears so much, and is pulled out then, or closed."""

    name = "test"

    def __init__(self, level: float, *, is_pulled: bool) -> None:
        self._block = np.full(SAMPLE_RATE // 2, level, np.float32)
        self._is_pulled = is_pulled

    def __iter__(self) -> Iterator[Samples]:
        yield self._block
        if self._is_pulled:
            raise VoiceError("the microphone stopped (unplugged); check it and start again")

    def close(self) -> None:
        pass


class Ear(Quiet):
    def __init__(self) -> None:
        self.fed: list[Samples] = []

    def feed(self, samples: Samples) -> None:
        self.fed.append(samples)


def test_what_was_said_ends_where_the_microphone_is_pulled_out_and_it_is_heard_again_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(voice_sources, "_RETRY_S", 0.0)
    monkeypatch.setattr(voice_sources, "open_microphone", lambda device: Plugged(0.7, is_pulled=False))
    ear = Ear()
    live = _Live(Plugged(0.5, is_pulled=True), None, Words("en"), has_button=False)
    live.run(ear)  # type: ignore[arg-type]
    before, between, after = ear.fed
    assert (before[0], after[0]) == (np.float32(0.5), np.float32(0.7))
    assert not between.any()
    assert len(between) >= EndpointSettings().most_hangover_s * SAMPLE_RATE
    assert "It is back." in capsys.readouterr().err


def test_a_microphone_that_does_not_come_back_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str | None] = []

    def absent(device: str | None) -> None:
        tries.append(device)
        raise VoiceError("no microphone can be used; plug one in")

    monkeypatch.setattr(voice_sources, "_RETRY_S", 0.0)
    monkeypatch.setattr(voice_sources, "open_microphone", absent)
    live = _Live(Plugged(0.5, is_pulled=True), "headset", Words("en"), has_button=False)
    with pytest.raises(VoiceError, match="the microphone stopped"):
        live.run(Ear())  # type: ignore[arg-type]
    assert len(tries) > 3
    assert set(tries) == {"headset"}
