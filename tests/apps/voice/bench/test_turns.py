"""Files are played into a session with fake engines, fast, so no test waits for sound."""

import numpy as np
import pytest
from voice_parts import CountingRecogniser, ScriptedChat, ToneSynthesiser, session_of, silence, speech

from pocketseek.apps.voice.bench.files import SpokenFile, speech_end_s
from pocketseek.apps.voice.bench.turns import play
from pocketseek.apps.voice.contract import Samples


def file_of(*parts: Samples, reference: str | None = None) -> SpokenFile:
    samples = np.concatenate(parts)
    return SpokenFile("a.wav", samples, speech_end_s(samples), reference, "en")


def test_a_question_is_a_turn_with_its_answer() -> None:
    chat = ScriptedChat(lambda question: "It is five, I think. Good.")
    played = play(session_of(chat=chat), file_of(silence(0.5), speech(3), silence(0.3)), fast=True)
    (turn,) = played.turns
    assert turn.transcript == "word word word" == played.transcript
    assert turn.answer == "It is five, I think. Good."
    assert turn.clauses == ("It is five,", "I think.", "Good.")
    assert turn.failure is None
    assert turn.timings.first_audio_s is not None
    assert turn.sounds
    assert chat.questions == ["word word word"]


def test_two_questions_in_a_file_are_two_turns() -> None:
    played = play(session_of(), file_of(speech(3), silence(3), speech(2), silence(0.3)), fast=True)
    assert [turn.transcript for turn in played.turns] == ["word word word", "word word"]
    assert played.transcript == "word word word word word"


def test_silence_is_no_turn() -> None:
    assert play(session_of(), file_of(silence(2)), fast=True).turns == ()


def test_an_engine_that_crashes_is_a_failed_turn_and_no_more() -> None:
    sound = file_of(speech(3), silence(0.3))
    (turn,) = play(session_of(CountingRecogniser(lambda number: True)), sound, fast=True).turns
    assert turn.failure is not None
    assert "crashed" in turn.failure
    (turn,) = play(session_of(synthesiser=ToneSynthesiser(lambda text: True)), sound, fast=True).turns
    assert turn.failure is not None
    assert "no voice" in turn.failure


def test_in_real_time_the_end_of_speech_is_that_of_the_file() -> None:
    played = play(session_of(), file_of(silence(0.1), speech(1), silence(0.1)))
    (turn,) = played.turns
    assert turn.speech_end_s == pytest.approx(turn.timings.speech_end_s or 0.0, abs=0.2)
    assert turn.timings.endpoint_s is not None
    assert turn.timings.endpoint_s > turn.speech_end_s
