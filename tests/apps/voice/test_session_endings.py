"""Every turn ends, once, whatever happens in it and around it; nothing is told of it afterwards."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
from voice_parts import (
    CountingRecogniser,
    LoudnessDetector,
    ScriptedChat,
    ToneSynthesiser,
    session_of,
    silence,
    speech,
)
from voice_talk import Start, Talk, talks, wait_for

from pocketseek.apps.voice.contract import Samples
from pocketseek.apps.voice.events import (
    AnswerAudio,
    AnswerText,
    Interrupted,
    NotKept,
    SpeechEnded,
    SpeechStarted,
    Transcript,
    TurnEnded,
    TurnFailed,
)
from pocketseek.apps.voice.listening import MOST_BACKLOG_S
from pocketseek.apps.voice.session import VoiceSettings
from pocketseek.errors import OverloadedError, StorageError, VoiceError


@pytest.fixture
def start() -> Iterator[Start]:
    yield from talks()


def test_a_recogniser_that_crashes_ends_the_turn_and_the_next_one_works(start: Start) -> None:
    recogniser = CountingRecogniser(fails=lambda number: number == 1)
    talk = start(recogniser=recogniser)
    talk.say(speech(3), silence(1.5))
    failed = talk.until(TurnFailed)
    assert isinstance(failed, TurnFailed)
    assert "the engine crashed" in failed.message
    assert "\n" not in failed.message
    talk.say(speech(3), silence(1.5))
    talk.until(TurnEnded, turn=2)
    assert recogniser.num_open == 0


def test_a_voice_that_crashes_ends_the_turn_and_the_next_one_works(start: Start) -> None:
    answers = iter(["Bad one here.", "Bad one here.", "Fine this time."])
    talk = start(
        chat=ScriptedChat(lambda question: next(answers)),
        synthesiser=ToneSynthesiser(fails=lambda text: "Bad" in text),
        settings=VoiceSettings("en", try_early=False),
    )
    talk.say(speech(3), silence(1.5))
    assert "no voice" in getattr(talk.until(TurnFailed), "message", "")
    talk.session.ask("again")
    talk.until(TurnFailed, turn=2)
    talk.session.ask("and again")
    talk.until(TurnEnded, turn=3)


def test_a_model_that_fails_ends_the_turn_and_the_next_one_works(start: Start) -> None:
    def answer(question: str) -> str:
        if question == "fail":
            raise RuntimeError("out of order")
        return "Fine."

    chat = ScriptedChat(answer)
    talk = start(chat=chat)
    talk.session.ask("fail")
    assert "out of order" in getattr(talk.until(TurnFailed), "message", "")
    talk.session.ask("work")
    talk.until(TurnEnded, turn=2)
    talk.close()
    assert [question for question, _ in chat.kept] == ["work"]


def test_a_detector_that_fails_ends_the_session_in_one_line() -> None:
    class Broken(LoudnessDetector):
        def probability(self, frame: Samples) -> float:
            raise RuntimeError("no detector")

    session = session_of()
    with closing(session):
        session._listening._detector = Broken()
        session.feed(silence(0.1))
        with pytest.raises(VoiceError, match="no detector"):
            list(session.events())


def test_closing_in_the_middle_of_everything_ends_all_threads() -> None:
    before = threading.active_count()
    hold = threading.Event()
    session = session_of(chat=ScriptedChat(hold=hold))
    session.feed(np.concatenate([speech(3), silence(1.0)]))
    session.ask("something else")
    hold.set()
    session.close()
    session.close()
    assert list(session.events())[-1].turn >= 1
    assert threading.active_count() <= before


def test_two_hundred_turns_leave_nothing_behind(start: Start) -> None:
    recogniser = CountingRecogniser()
    talk = start(recogniser=recogniser, chat=ScriptedChat(lambda question: "Yes."))
    for turn in range(1, 201):
        talk.session.ask(f"question {turn}")
        talk.until(TurnEnded, turn=turn)
        talk.session.played(100.0)
    assert len(talk.session._marks) < 20
    assert not talk.session._speaking._inbox
    assert recogniser.num_open == 0


class HeldRecogniser(CountingRecogniser):
    """Waits before it starts; fails at the one that it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()
        self.has_begun = threading.Event()
        self.failing = 0
        self._number = 0

    def start(self, language: str | None):  # type: ignore[no-untyped-def]
        self.has_begun.set()
        assert self.go_on.wait(20)
        self._number += 1
        if self._number == self.failing:
            raise VoiceError("the model is gone; fetch it again")
        return super().start(language)


class BrokenInSpeech(CountingRecogniser):
    def start(self, language: str | None):  # type: ignore[no-untyped-def]
        utterance = super().start(language)

        def partial(*, may_be_over: bool = False) -> str:
            raise RuntimeError("out of order")

        if self.num_started == 1:
            utterance.partial = partial  # type: ignore[method-assign]
        return utterance


def endings(talk: Talk) -> list[tuple[str, int]]:
    return [(type(event).__name__, event.turn) for event in talk.events if isinstance(event, TurnEnded | TurnFailed)]


def test_nothing_is_told_of_a_turn_that_failed_while_they_spoke(start: Start) -> None:
    talk = start(recogniser=BrokenInSpeech())
    talk.say(speech(4))
    talk.until(TurnFailed)
    talk.say(silence(1.5), speech(2), silence(1.5))
    talk.until(TurnEnded, turn=2)
    assert talk.kinds(1) == ["SpeechStarted", "TurnFailed"]


def test_turns_that_came_while_an_engine_failed_to_open_get_their_answers(start: Start) -> None:
    recogniser = HeldRecogniser()
    recogniser.failing = 2  # the first of those that wait together
    talk = start(recogniser=recogniser)
    talk.say(speech(2), silence(1.5))
    assert recogniser.has_begun.wait(20)
    for _ in range(10):
        talk.say(speech(2), silence(1.5))
    wait_for(lambda: talk.session._listening.backlog_s == 0)
    recogniser.go_on.set()
    talk.until(TurnEnded, turn=11)
    assert sorted(endings(talk)) == [*(("TurnEnded", turn) for turn in range(1, 12) if turn != 2), ("TurnFailed", 2)]
    assert isinstance(failed := talk.until(TurnFailed, turn=2), TurnFailed)
    assert failed.message == "the model is gone; fetch it again"


def feed_for(talk: Talk, seconds: float) -> None:
    """As quickly as it is listened to."""
    for _ in range(int(seconds / 10)):
        talk.session.feed(speech(1, word_s=10.0))
        wait_for(lambda: talk.session._listening.backlog_s == 0)


def test_sound_that_an_engine_does_not_work_off_is_refused_in_the_end(start: Start) -> None:
    recogniser = HeldRecogniser()
    talk = start(recogniser=recogniser)
    try:
        talk.session.feed(speech(4))
        assert recogniser.has_begun.wait(20)
        with pytest.raises(OverloadedError, match="understood"):
            feed_for(talk, MOST_BACKLOG_S + 60.0)
    finally:
        recogniser.go_on.set()


def test_questions_that_were_overtaken_end_and_are_kept_in_order(start: Start) -> None:
    hold = threading.Event()
    chat = ScriptedChat(hold=hold)
    talk = start(chat=chat)
    talk.session.ask("first")
    wait_for(lambda: bool(chat.questions))  # the stage is busy with it
    for text in ("second", "third", "fourth"):
        talk.session.ask(text)
    hold.set()
    talk.until(TurnEnded, turn=4)
    talk.session.played(100.0)
    wait_for(lambda: len(chat.kept) == 4)
    assert sorted(endings(talk)) == [("TurnEnded", turn) for turn in (1, 2, 3, 4)]
    assert [(question, bool(answer)) for question, answer in chat.kept] == [
        ("first", False),
        ("second", False),
        ("third", False),
        ("fourth", True),
    ]
    assert chat.kept_turns == [1, 2, 3, 4]


def test_a_question_that_waits_when_the_session_is_closed_is_kept(start: Start) -> None:
    hold = threading.Event()
    chat = ScriptedChat(hold=hold)
    talk = start(chat=chat)
    talk.session.ask("first")
    wait_for(lambda: bool(chat.questions))
    talk.session.ask("second")
    threading.Timer(0.05, hold.set).start()
    talk.session.close()
    assert chat.kept == [("first", ""), ("second", "")]


def test_an_answer_that_is_released_while_they_begin_to_speak_is_broken_off(start: Start) -> None:
    """The answer is released when the listening thread has just broken off what there was, which was nothing."""
    recogniser = HeldRecogniser()
    talk = start(recogniser=recogniser, chat=ScriptedChat(lambda question: "One two three four. " * 40))
    session = talk.session
    interrupt = session.interrupt

    def interrupt_and_release() -> bool:
        result = interrupt()
        if session.is_answering or not recogniser.has_begun.is_set():
            return result
        recogniser.go_on.set()
        wait_for(lambda: (current := session._answering.current) is not None and current.is_released)
        return result

    talk.say(speech(2), silence(1.5))
    assert recogniser.has_begun.wait(20)
    wait_for(lambda: session._listening.backlog_s == 0)
    session.interrupt = interrupt_and_release  # type: ignore[method-assign]
    talk.say(speech(2), silence(1.5))
    talk.until(TurnEnded, turn=1)
    talk.until(Transcript, turn=2)
    texts = [index for index, kind in enumerate(talk.kinds_and_turns()) if kind == ("PartialTranscript", 2)]
    assert talk.kinds_and_turns().index(("Interrupted", 1)) < min(texts)


def test_what_was_asked_in_writing_while_they_spoke_leaves_the_spoken_turn_its_end(start: Start) -> None:
    chat = ScriptedChat()
    talk = start(chat=chat)
    talk.say(speech(3))
    talk.until(SpeechStarted)
    talk.session.ask("typed")
    talk.say(silence(1.5))
    talk.until(TurnEnded, turn=1)
    talk.until(TurnEnded, turn=2)
    told = [kind for kind in talk.kinds(1) if kind != "PartialTranscript"]  # which may come late
    assert told[-4:] == ["SpeechEnded", "Transcript", "Interrupted", "TurnEnded"]
    assert any(isinstance(event, AnswerAudio) and event.turn == 2 for event in talk.events)
    talk.session.played(100.0)
    wait_for(lambda: ("typed", "Yes, it is. Good.") in chat.kept)


def test_a_button_pressed_for_nothing_leaves_the_answer_before_it(start: Start) -> None:
    recogniser = HeldRecogniser()
    talk = start(recogniser=recogniser, settings=VoiceSettings("en", push_to_talk=True))
    session = talk.session
    session.press()
    talk.say(speech(3))
    session.release()
    talk.until(SpeechEnded)
    session.press()
    talk.say(silence(0.5))
    session.release()
    talk.until(TurnEnded, turn=2)
    recogniser.go_on.set()
    talk.until(TurnEnded, turn=1)
    assert "".join(event.text for event in talk.events if isinstance(event, AnswerText)) == "Yes, it is. Good."
    assert not any(isinstance(event, Interrupted) for event in talk.events)


@pytest.mark.parametrize("is_followed", [False, True])
def test_what_cannot_be_kept_is_told_and_costs_no_other_turn(start: Start, is_followed: bool) -> None:
    class Full(ScriptedChat):
        def keep(self, question: str, answer: str, turn: int = 0) -> None:
            if turn == 1:
                raise StorageError("the disk is full; make room")
            super().keep(question, answer, turn)

    chat = Full()
    talk = start(chat=chat)
    talk.session.ask("first")
    talk.until(TurnEnded, turn=1)
    if is_followed:
        talk.session.ask("second")
        talk.until(TurnEnded, turn=2)
    talk.session.played(100.0)
    assert isinstance(told := talk.until(NotKept), NotKept)
    assert told.message == "the disk is full; make room"
    if is_followed:
        wait_for(lambda: chat.kept_turns == [2])
    assert not any(isinstance(event, TurnFailed) for event in talk.events)


class SlowLock:
    """Whoever gave it back rests, so that the other one has it next."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()
        time.sleep(0.01)


def test_two_who_break_an_answer_off_at_once_tell_it_once(start: Start) -> None:
    talk = start(chat=ScriptedChat(lambda question: "One two three four. " * 40))
    talk.session.ask("go on")
    talk.until(AnswerAudio)
    attempt = talk.session._answering.current
    assert attempt is not None
    attempt._lock = SlowLock()  # type: ignore[assignment]
    others = [threading.Thread(target=attempt.interrupt) for _ in range(2)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    talk.until(TurnEnded)
    assert sum(isinstance(event, Interrupted) for event in talk.events) == 1
