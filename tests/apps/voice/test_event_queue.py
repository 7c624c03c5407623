"""Events in order, and only who makes sound waits."""

import threading

import numpy as np
import pytest

from pocketseek.apps.voice.event_queue import EventQueue
from pocketseek.apps.voice.events import AnswerAudio, AnswerText, VoiceEvent
from pocketseek.errors import VoiceError


def sound(turn: int, seconds: float = 1.0) -> AnswerAudio:
    return AnswerAudio(0.0, turn, np.zeros(int(8000 * seconds), np.float32), 8000)


def test_events_come_in_order_and_end_with_the_queue() -> None:
    queue = EventQueue()
    events: list[VoiceEvent] = [AnswerText(0.0, 1, "a"), sound(1), AnswerText(0.0, 1, "b")]
    for event in events:
        queue.put(event)
    queue.close()
    assert list(queue) == events


def test_sound_of_a_turn_can_be_dropped() -> None:
    queue = EventQueue()
    kept = [AnswerText(0.0, 1, "a"), sound(2)]
    for event in (kept[0], sound(1), kept[1], sound(1)):
        queue.put(event)
    queue.drop_sound(1)
    queue.close()
    assert list(queue) == kept


def test_who_makes_sound_waits_until_it_is_read() -> None:
    queue = EventQueue(most_sound_s=1.5)
    queue.put(sound(1))
    queue.wait_for_room(lambda: True)
    queue.put(sound(1))
    passed = threading.Event()
    waiter = threading.Thread(target=lambda: (queue.wait_for_room(lambda: True), passed.set()))
    waiter.start()
    assert not passed.is_set()
    next(iter(queue))
    waiter.join(5)
    assert passed.is_set()


def test_who_is_not_wanted_any_more_does_not_wait() -> None:
    queue = EventQueue(most_sound_s=0.5)
    queue.put(sound(1))
    queue.wait_for_room(lambda: False)


def test_an_error_comes_after_what_was_there() -> None:
    queue = EventQueue()
    queue.put(AnswerText(0.0, 1, "a"))
    queue.close(VoiceError("gone; come back"))
    events = iter(queue)
    assert isinstance(next(events), AnswerText)
    with pytest.raises(VoiceError, match="gone"):
        next(events)
    assert list(queue) == []
