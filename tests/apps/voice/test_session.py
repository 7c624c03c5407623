"""Whole turns with engines that take no time: what is told, in which order, and what the conversation keeps.

Sound is fed as quickly as it is worked off; the session's decisions depend on the sound alone, not on the clock.
"""

from collections.abc import Iterator

import numpy as np
import pytest
from voice_parts import (
    ScriptedChat,
    silence,
    speech,
)
from voice_talk import Start, talks, wait_for

from pocketseek.apps.voice.events import (
    AnswerAudio,
    AnswerText,
    Interrupted,
    PartialTranscript,
    SpeechEnded,
    SpeechStarted,
    SpokenClause,
    Transcript,
    TurnEnded,
)
from pocketseek.apps.voice.session import VoiceSettings
from pocketseek.errors import UsageError

ENGLISH = VoiceSettings(language="en")


@pytest.fixture
def start() -> Iterator[Start]:
    yield from talks()


def test_a_turn_is_heard_answered_and_spoken(start: Start) -> None:
    chat = ScriptedChat(lambda question: "Yes, it is. Good.")
    talk = start(chat=chat)
    talk.say(silence(0.3), speech(4), silence(1.5))
    ended = talk.until(TurnEnded)
    assert isinstance(ended, TurnEnded)
    kinds = talk.kinds()
    assert [
        kind for kind in kinds if kind not in ("AnswerText", "SpokenClause", "AnswerAudio", "PartialTranscript")
    ] == [
        "SpeechStarted",
        "SpeechEnded",
        "Transcript",
        "TurnEnded",
    ]
    transcript = talk.until(Transcript)
    assert isinstance(transcript, Transcript)
    assert transcript.text == "word word word word"
    assert "".join(event.text for event in talk.events if isinstance(event, AnswerText)) == "Yes, it is. Good."
    assert " ".join(event.text for event in talk.events if isinstance(event, SpokenClause)) == "Yes, it is. Good."
    first = kinds.index("Transcript")
    assert all(kinds.index(kind) > first for kind in ("AnswerText", "SpokenClause", "AnswerAudio"))
    assert set(chat.questions) == {"word word word word"}


def test_times_of_a_turn_are_in_order(start: Start) -> None:
    talk = start()
    talk.say(speech(3), silence(1.5))
    ended = talk.until(TurnEnded)
    assert isinstance(ended, TurnEnded)
    times = ended.timings
    assert times.endpoint_s is not None
    assert times.transcript_s is not None
    assert times.first_audio_s is not None
    assert times.end_s is not None
    assert times.endpoint_s <= times.transcript_s <= times.first_audio_s <= times.end_s
    assert times.tokens == 4
    assert times.cached_tokens == 64


def test_the_first_sound_is_told_although_the_edge_reported_before_it(start: Start) -> None:
    talk = start()
    talk.say(speech(3))
    talk.session.played(0.0)
    talk.say(silence(1.5))
    ended = talk.until(TurnEnded)
    assert isinstance(ended, TurnEnded)
    assert ended.timings.first_audio_s is not None


def test_the_prompt_is_computed_ahead_on_what_was_heard_so_far(start: Start) -> None:
    chat = ScriptedChat()
    talk = start(chat=chat)
    talk.say(speech(3))
    wait_for(lambda: "word" in " ".join(chat.warmed))
    talk.say(speech(3), silence(1.5))
    talk.until(TurnEnded)
    assert chat.warmed[0] == ""  # the system prompt, before anybody spoke
    assert all("word word word word word word".startswith(text) for text in chat.warmed)


def test_what_was_tried_early_is_not_told_if_more_was_said(start: Start) -> None:
    chat = ScriptedChat(lambda question: f"You said {len(question.split())} words.")
    talk = start(chat=chat)
    talk.say(speech(3), silence(0.35))
    wait_for(lambda: bool(chat.questions))
    talk.say(speech(3), silence(1.5))
    talk.until(TurnEnded)
    assert chat.questions[0] == "word word word"
    assert chat.questions[-1] == "word word word word word word"
    assert "".join(event.text for event in talk.events if isinstance(event, AnswerText)) == "You said 6 words."
    talk.close()
    assert [question for question, _ in chat.kept] == ["word word word word word word"]


def test_an_early_try_on_the_same_words_is_the_answer(start: Start) -> None:
    chat = ScriptedChat()
    talk = start(chat=chat)
    talk.say(speech(3), silence(0.35))
    wait_for(lambda: bool(chat.questions))
    talk.say(silence(1.0))
    talk.until(TurnEnded)
    assert chat.questions == ["word word word"]


@pytest.mark.parametrize("settings", [VoiceSettings("en", try_early=False), VoiceSettings("en", warm=False)])
def test_without_working_ahead_the_answer_is_the_same(start: Start, settings: VoiceSettings) -> None:
    chat = ScriptedChat()
    talk = start(chat=chat, settings=settings)
    talk.say(speech(3), silence(1.5))
    talk.until(TurnEnded)
    assert chat.questions == ["word word word"]
    assert chat.warmed == [] or settings.warm


def test_without_clauses_speech_begins_when_all_is_written(start: Start) -> None:
    talk = start(settings=VoiceSettings("en", clause_wise=False))
    talk.say(speech(3), silence(1.5))
    talk.until(TurnEnded)
    kinds = [type(event) for event in talk.events]
    last_text = max(index for index, kind in enumerate(kinds) if kind is AnswerText)
    assert kinds.index(AnswerAudio) > last_text


def test_speaking_breaks_an_answer_off(start: Start) -> None:
    chat = ScriptedChat(lambda question: "One two three four. " * 40)
    talk = start(chat=chat)
    talk.say(speech(3), silence(1.0))
    talk.until(AnswerAudio)
    talk.say(speech(5), silence(1.5))
    talk.until(Interrupted, turn=1)
    talk.until(TurnEnded, turn=1)
    after = [type(event) for event in talk.events if event.turn == 1]
    assert set(after[after.index(Interrupted) + 1 :]) <= {TurnEnded}
    talk.until(TurnEnded, turn=2)
    assert talk.events.index(talk.until(Interrupted)) < talk.events.index(talk.until(SpeechStarted, turn=2))


def test_the_conversation_keeps_what_was_heard(start: Start) -> None:
    chat = ScriptedChat(lambda question: "One two three four. " * 40)
    talk = start(chat=chat)
    talk.say(speech(3), silence(1.0))
    wait_for(lambda: sum(isinstance(event, AnswerAudio) for event in talk.events) > 30)
    talk.session.played(1.0)  # the first clause lasts as long
    assert talk.session.interrupt()
    interrupted = talk.until(Interrupted)
    assert isinstance(interrupted, Interrupted)
    wait_for(lambda: bool(chat.kept))
    assert chat.kept == [("word word word", interrupted.heard_text)]
    assert interrupted.heard_text.startswith("One two three four.")
    assert len(interrupted.heard_text) < 200
    assert not talk.session.interrupt()


def test_an_answer_that_was_heard_to_its_end_is_kept_whole(start: Start) -> None:
    chat = ScriptedChat(lambda question: "Yes, it is. Good.")
    talk = start(chat=chat)
    talk.say(speech(2), silence(1.5))
    talk.until(TurnEnded)
    talk.session.played(100.0)
    wait_for(lambda: bool(chat.kept))
    assert chat.kept == [("word word", "Yes, it is. Good.")]


def test_without_barge_in_nobody_is_listened_to_while_it_speaks(start: Start) -> None:
    talk = start(
        chat=ScriptedChat(lambda question: "One two three four. " * 40), settings=VoiceSettings("en", barge_in=False)
    )
    talk.say(speech(3), silence(1.0))
    talk.until(AnswerAudio)
    talk.say(speech(5), silence(0.5))
    wait_for(lambda: talk.session.backlog_s == 0)
    assert not any(isinstance(event, Interrupted | SpeechStarted) and event.turn > 1 for event in talk.events)


def test_push_to_talk_listens_between_press_and_release(start: Start) -> None:
    talk = start(settings=VoiceSettings("en", push_to_talk=True))
    talk.say(speech(3), silence(1.0))  # nobody pressed
    talk.session.press()
    talk.say(speech(3), silence(2.0), speech(2))
    talk.session.release()
    transcript = talk.until(Transcript)
    assert isinstance(transcript, Transcript)
    talk.until(TurnEnded)
    # The button may lie between two blocks of sound, and a little from before it counts.
    assert 5 <= len(transcript.text.split()) <= 7
    assert sum(isinstance(event, SpeechStarted) for event in talk.events) == 1


def test_a_button_that_was_pressed_for_nothing_is_no_question(start: Start) -> None:
    chat = ScriptedChat()
    talk = start(settings=VoiceSettings("en", push_to_talk=True), chat=chat)
    talk.session.press()
    talk.say(silence(1.0))
    talk.session.release()
    talk.until(TurnEnded)
    assert chat.questions == []
    assert talk.kinds() == ["SpeechStarted", "SpeechEnded", "Transcript", "TurnEnded"]


def test_ten_minutes_of_silence_are_nothing(start: Start) -> None:
    talk = start()
    for _ in range(10):
        talk.session.feed(silence(60.0))
        wait_for(lambda: talk.session.backlog_s < 30)
    talk.say(speech(3), silence(1.5))
    talk.until(TurnEnded)
    assert {event.turn for event in talk.events} == {1}


def test_noise_that_is_no_voice_is_nothing(start: Start) -> None:
    noise = np.random.default_rng(1).uniform(-0.05, 0.05, 5 * 16_000).astype(np.float32)
    talk = start()
    talk.say(noise)
    wait_for(lambda: talk.session.backlog_s == 0)
    assert talk.events == []


def test_what_is_no_sound_is_refused_and_clipping_and_nan_are_borne(start: Start) -> None:
    talk = start()
    with pytest.raises(UsageError, match="float32"):
        talk.session.feed(np.zeros(10, np.int16))  # type: ignore[arg-type]
    talk.say(40 * speech(3), np.full(512, np.nan, np.float32), silence(1.5))
    talk.until(TurnEnded)


def test_an_answer_without_anything_to_say_ends_the_turn(start: Start) -> None:
    talk = start(chat=ScriptedChat(lambda question: "🎉 *** 🎉"))
    talk.session.ask("congratulate me")
    talk.until(TurnEnded)
    assert not any(isinstance(event, AnswerAudio) for event in talk.events)


def test_partial_transcripts_come_before_the_end(start: Start) -> None:
    talk = start()
    talk.say(speech(6))
    talk.until(PartialTranscript)
    assert not any(isinstance(event, SpeechEnded) for event in talk.events)


def test_where_it_is_warm_no_answer_is_tried_before_the_end_is_certain(start: Start) -> None:
    shares = {"now": 0.5}
    chat = ScriptedChat()
    talk = start(chat=chat, heat_share=lambda: shares["now"])
    talk.say(speech(3), silence(0.3), speech(2), silence(1.5))
    talk.until(TurnEnded)
    assert chat.questions == ["word word word word word"]
    shares["now"] = 1.0
    talk.say(speech(3), silence(0.3))
    wait_for(lambda: len(chat.questions) == 2)
    talk.say(speech(2), silence(1.5))
    talk.until(TurnEnded, 2)
