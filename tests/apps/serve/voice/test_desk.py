"""Speech engines: kept warm for the next one, closed when nobody comes, and never used by two at a time."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from fake_speech import FakeSpeech, ScriptedRecogniser
from voice_parts import ScriptedChat

from pocketseek.apps.serve.voice import desk as voice_desk_module
from pocketseek.apps.serve.voice.desk import VoiceDesk, voice_desk
from pocketseek.apps.voice.on_demand import OnDemand, OnDemandRecogniser
from pocketseek.errors import UnsupportedError


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_who_comes_later_gets_the_engine_of_before() -> None:
    desk = VoiceDesk(FakeSpeech().makers())
    with desk.recogniser("en") as one:
        pass
    with desk.recogniser("en") as other:
        assert other is one


def test_an_engine_is_lent_to_one_at_a_time_and_for_its_language() -> None:
    desk = VoiceDesk(FakeSpeech().makers())
    with desk.recogniser("en") as one, desk.recogniser("en") as other, desk.recogniser("zh") as third:
        assert len({id(one), id(other), id(third)}) == 3


def test_what_nobody_uses_is_closed_after_a_while() -> None:
    clock, speech = Clock(), FakeSpeech()
    desk = VoiceDesk(speech.makers(), idle_s=60, clock=clock)
    with desk.parts(None):
        clock.now_s = 100
        desk.close_idle()
        assert not speech.recognisers[0].is_closed
    clock.now_s = 159
    desk.close_idle()
    assert not speech.recognisers[0].is_closed
    clock.now_s = 160
    desk.close_idle()
    assert speech.recognisers[0].is_closed
    assert speech.synthesisers[0].is_closed


def test_what_a_silent_session_has_is_released_too(monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Callable[[], None]] = {}
    monkeypatch.setattr(voice_desk_module, "VoiceSession", lambda *_, **given: made.update(given))
    opened, clock = list[ScriptedRecogniser](), Clock()

    def open_one() -> ScriptedRecogniser:
        opened.append(ScriptedRecogniser(["Hello"]))
        return opened[-1]

    makers = FakeSpeech().makers()
    desk = VoiceDesk(
        replace(makers, recogniser=lambda _: OnDemandRecogniser(OnDemand("one", open_one, clock=clock), ()))
    )
    with desk.parts("en") as parts:
        makers.talk(parts, ScriptedChat(), language="en", push_to_talk=False)
        parts.recogniser.start("en").finish()
        made["when_quiet"]()
        assert not opened[0].is_closed
        clock.now_s = 301
        made["when_quiet"]()
        assert opened[0].is_closed


def test_an_engine_that_failed_is_not_lent_again() -> None:
    speech = FakeSpeech()
    desk = VoiceDesk(speech.makers())
    with pytest.raises(ZeroDivisionError), desk.recogniser(None):
        raise ZeroDivisionError
    assert speech.recognisers[0].is_closed
    with desk.recogniser(None) as other:
        assert other is not speech.recognisers[0]


def test_what_comes_back_after_the_end_is_closed() -> None:
    speech = FakeSpeech()
    desk = VoiceDesk(speech.makers())
    with desk.recogniser(None):
        desk.close()
    assert speech.recognisers[0].is_closed


def test_where_there_is_no_voice_the_way_to_it_is_told() -> None:
    with pytest.raises(UnsupportedError, match="voice setup"):
        voice_desk(None)
