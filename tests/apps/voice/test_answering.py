"""The stage of the model: what is stopped while it is computed, and what goes on."""

import threading
from collections.abc import Callable, Iterator

import pytest
from voice_parts import ScriptedChat, ToneSynthesiser
from voice_talk import wait_for

from pocketseek.apps.voice.answering import AnsweringStage
from pocketseek.apps.voice.attempt import Attempt, Marks
from pocketseek.apps.voice.contract import IsWanted, always
from pocketseek.apps.voice.event_queue import EventQueue
from pocketseek.apps.voice.events import Interrupted, TurnEnded, VoiceEvent
from pocketseek.apps.voice.speaking import SpeakingStage
from pocketseek.apps.voice.style import ReadAloud
from pocketseek.types import TextEvent


class SlowChat(ScriptedChat):
    """Computes every prompt until `go_on` is set or nobody wants it any more."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()
        self.began: list[str] = []
        self.stopped: list[str] = []
        self._looks = threading.Condition()

    def warm(self, text_so_far: str, is_wanted: IsWanted = always) -> int:
        return super().warm(text_so_far) if self._computes(text_so_far, is_wanted) else 0

    def answer(self, text: str, is_wanted: IsWanted = always) -> Iterator[TextEvent]:
        if self._computes(text, is_wanted):
            yield from super().answer(text)

    def stop_unwanted(self) -> None:
        with self._looks:
            self._looks.notify_all()

    def _computes(self, text: str, is_wanted: IsWanted) -> bool:
        with self._looks:
            self.began.append(text)
            while is_wanted() and not self.go_on.is_set():
                self._looks.wait()
            if not is_wanted():
                self.stopped.append(text)
            return is_wanted()

    def let_go(self) -> None:
        self.go_on.set()
        self.stop_unwanted()


class Stage:
    def __init__(self) -> None:
        self.chat, self.queue = SlowChat(), EventQueue()
        shape, clock = ReadAloud(), lambda: 0.0
        self.speaking = SpeakingStage(ToneSynthesiser(), shape, clock, self.failed)
        self.answering = AnsweringStage(self.chat, shape, self.speaking, self.queue, clock, self.failed)
        self.failures: list[Exception] = []
        self.events: list[VoiceEvent] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def failed(self, attempt: Attempt, error: Exception) -> None:
        self.failures.append(error)

    def _read(self) -> None:
        for event in self.queue:
            self.events.append(event)

    def close(self) -> None:
        self.answering.close()
        self.speaking.close()
        self.queue.close()
        self._reader.join(10)
        assert not self.failures


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


def begins(stage: Stage, text: str) -> Callable[[], bool]:
    return lambda: text in stage.chat.began


def test_a_prompt_that_begins_otherwise_than_what_was_said_is_computed_no_further(stage: Stage) -> None:
    stage.answering.warm("what is the whether")
    wait_for(begins(stage, "what is the whether"))
    stage.answering.warm("what is the weather like")
    wait_for(begins(stage, "what is the weather like"))
    assert stage.chat.stopped == ["what is the whether"]


def test_a_prompt_that_what_was_said_begins_with_is_computed_to_its_end(stage: Stage) -> None:
    stage.answering.warm("what is")
    wait_for(begins(stage, "what is"))
    stage.answering.warm("what is the weather like")
    stage.chat.let_go()
    wait_for(lambda: stage.chat.warmed == ["what is", "what is the weather like"])
    assert stage.chat.stopped == []


def test_a_try_that_is_dropped_ends_before_its_first_token(stage: Stage) -> None:
    stage.answering.try_answer(1, "what is", "en", Marks())
    wait_for(begins(stage, "what is"))
    stage.answering.drop_try(2)  # of another turn
    assert stage.chat.stopped == []
    stage.answering.drop_try(1)
    wait_for(lambda: stage.chat.stopped == ["what is"])


def test_an_answer_that_is_broken_off_ends_before_its_first_token(stage: Stage) -> None:
    stage.answering.answer(1, "what is it", "en", Marks())
    wait_for(begins(stage, "what is it"))
    assert stage.answering.interrupt()
    wait_for(lambda: [type(event) for event in stage.events] == [Interrupted, TurnEnded])
    wait_for(lambda: stage.chat.kept == [("what is it", "")])


def test_a_prompt_computed_ahead_ends_when_an_answer_is_asked_for(stage: Stage) -> None:
    stage.answering.warm("what is it then")
    wait_for(begins(stage, "what is it then"))
    stage.answering.answer(1, "what is it", "en", Marks())
    wait_for(begins(stage, "what is it"))
    assert stage.chat.stopped == ["what is it then"]


def test_an_answer_tried_before_more_was_computed_ahead_is_kept(stage: Stage) -> None:
    stage.chat.let_go()
    stage.answering.try_answer(1, "what is it", "en", Marks())
    attempt = stage.answering.current
    assert attempt is not None
    wait_for(lambda: attempt.held_sound_s > 0)
    stage.answering.warm("what is it called")
    wait_for(lambda: "what is it called" in stage.chat.warmed)
    stage.answering.answer(1, "what is it", "en", Marks())
    wait_for(lambda: any(isinstance(event, TurnEnded) for event in stage.events))
    attempt.played(100.0)
    wait_for(lambda: stage.chat.kept == [("what is it", "Yes, it is. Good.")])
