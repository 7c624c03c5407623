"""A spoken conversation with an engine: what is computed ahead, and what is remembered."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from pocketseek.apps.voice.engine_chat import PAGE_TOKENS, EngineChat
from pocketseek.types import Message, Request, SamplingParams, Service, TextEvent, TokenEvent

E = TypeVar("E", TokenEvent, TextEvent)


class FakeStream(Iterator[E]):
    """One event; where the engine hangs, it comes when somebody closes the stream, as the end of a cancelled one."""

    def __init__(self, engine: "FakeEngine", event: E) -> None:
        self._engine = engine
        self._events = [event]

    def __next__(self) -> E:
        if not self._events:
            raise StopIteration
        event = self._events.pop()
        if not self._engine.hangs:
            return event
        self._engine.is_reading.set()
        assert self._engine.is_closed.wait(10)
        if isinstance(event, TextEvent):
            raise StopIteration
        return replace(event, finish_reason="cancelled")

    def close(self) -> None:
        if self._engine.hangs:
            self._engine.is_closed.set()


class FakeEngine:
    """A token is a letter of the prompt."""

    context_length = 2000

    def __init__(self, *, hangs: bool = False) -> None:
        self.hangs = hangs
        self.is_reading = threading.Event()
        self.is_closed = threading.Event()
        self.requests: list[Request] = []
        self.prompts: list[list[Message]] = []

    def encode_prompt(self, prompt: Sequence[Message], /) -> tuple[int, ...]:
        return tuple(ord(letter) for letter in "".join(f"<{one.role}>{one.content}" for one in prompt) + "<end>")

    def stream(self, request: Request, /) -> FakeStream[TokenEvent]:
        self.requests.append(request)
        return FakeStream(self, TokenEvent(None, finish_reason="length"))

    def stream_text(
        self, prompt: Sequence[Message], /, *, max_tokens: int, sampling: SamplingParams | None, service: Service
    ) -> FakeStream[TextEvent]:
        self.prompts.append(list(prompt))
        return FakeStream(self, TextEvent("Yes.", num_tokens=1, finish_reason="stop"))


def roles(prompt: list[Message]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in prompt]


def test_whole_pages_of_what_stays_are_computed_ahead_once() -> None:
    engine = FakeEngine()
    chat = EngineChat(engine, system="s" * 90)
    assert chat.warm("") == PAGE_TOKENS
    assert chat.warm("") == PAGE_TOKENS
    assert chat.warm("what is") == PAGE_TOKENS
    assert len(engine.requests) == 1
    assert chat.warm("what is the capital of France") == 2 * PAGE_TOKENS
    request = engine.requests[1]
    assert len(request.prompt_ids) == 2 * PAGE_TOKENS + 1
    assert request.max_tokens == 0
    assert (request.priority, request.gathers) == ("background", False)
    whole = engine.encode_prompt([Message("system", "s" * 90), Message("user", "what is the capital of France")])
    assert whole[: len(request.prompt_ids)] == request.prompt_ids


def test_a_short_prompt_needs_no_pass() -> None:
    engine = FakeEngine()
    assert EngineChat(engine, system="short").warm("hi") == 0
    assert engine.requests == []


def test_warming_and_answering_end_when_they_are_wanted_no_more() -> None:
    engine = FakeEngine(hangs=True)
    chat = EngineChat(engine, system="s" * 90)
    results: list[object] = []
    for work in (lambda wanted: chat.warm("", wanted), lambda wanted: list(chat.answer("why", wanted))):
        is_dropped = threading.Event()
        thread = threading.Thread(target=lambda: results.append(work(lambda: not is_dropped.is_set())))  # noqa: B023
        engine.is_reading.clear()
        thread.start()
        assert engine.is_reading.wait(10)
        chat.stop_unwanted()  # of something else
        assert not engine.is_closed.is_set()
        is_dropped.set()
        chat.stop_unwanted()
        thread.join(10)
        engine.is_closed.clear()
    assert results == [0, []]
    engine.hangs = False
    assert chat.warm("") == PAGE_TOKENS  # what was stopped does not count as done


def test_what_was_stopped_before_it_began_does_not_begin() -> None:
    engine = FakeEngine()
    chat = EngineChat(engine, system="s" * 90)
    chat.stop_unwanted()
    assert chat.warm("", lambda: False) == 0
    assert list(chat.answer("why", lambda: False)) == []
    assert engine.requests == []
    assert engine.prompts == []


def test_only_what_was_kept_is_in_the_next_prompt() -> None:
    engine = FakeEngine()
    chat = EngineChat(engine, system="be brief")
    list(chat.answer("one"))
    list(chat.answer("two"))
    chat.keep("two", "Yes, and ")
    list(chat.answer("three"))
    assert roles(engine.prompts[1]) == [("system", "be brief"), ("user", "two")]
    assert roles(engine.prompts[2]) == [
        ("system", "be brief"),
        ("user", "two"),
        ("assistant", "Yes, and"),
        ("user", "three"),
    ]


def test_a_question_of_whose_answer_nothing_was_heard_goes_before_the_next() -> None:
    engine = FakeEngine()
    chat = EngineChat(engine)
    chat.keep("Tell me about cats", "")
    list(chat.answer("I mean big cats"))
    assert roles(engine.prompts[0]) == [("user", "Tell me about cats\nI mean big cats")]
    chat.keep("I mean big cats", "Lions.")
    assert [turn.content for turn in chat.turns] == ["Tell me about cats\nI mean big cats", "Lions."]


def test_a_long_conversation_forgets_its_beginning() -> None:
    engine = FakeEngine()
    chat = EngineChat(engine, system="be brief")
    for number in range(60):
        chat.keep(f"question {number} {'x' * 30}", "y" * 30)
    list(chat.answer("last"))
    assert len(engine.encode_prompt(engine.prompts[0])) < engine.context_length
    assert roles(engine.prompts[0])[0] == ("system", "be brief")
    assert roles(engine.prompts[0])[-1] == ("user", "last")
