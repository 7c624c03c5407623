"""A conversation: who said what, kept within the model's context, and how to save it.

When the conversation no longer fits, its oldest turns are left out of the prompt, whole turns at a time; the system
message and the newest question always stay. They are not lost: `messages` and `save` have everything.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from pocketseek.errors import UsageError
from pocketseek.package.storage import storage_errors, write_file
from pocketseek.types import Message, SamplingParams, Service, TextEvent

_DEFAULT_SAMPLING = SamplingParams()


class ChatEngine(Protocol):
    """What a conversation needs of an Engine."""

    @property
    def context_length(self) -> int: ...

    def encode_prompt(self, prompt: Sequence[Message]) -> tuple[int, ...]: ...

    def stream_text(
        self, prompt: Sequence[Message], *, max_tokens: int, sampling: SamplingParams, service: Service
    ) -> Iterator[TextEvent]: ...


class Recorder(Protocol):
    """Who keeps a conversation as it goes. Whether keeping works or not is no business of the conversation."""

    @property
    def kept_for(self) -> str:
        """What is computed of it goes with the conversation of this id; "": nothing is kept on disk."""

    def begin(self, question: str, system: str) -> None: ...

    def see(self, event: TextEvent) -> None: ...

    def end(self, finish_reason: str) -> None:
        """The answer is what was seen of it."""

    def drop(self) -> None:
        """The question counts as not asked, if one was begun."""

    def undo(self, question: str) -> None:
        """The last time this was asked counts as not asked."""

    def restart(self) -> None:
        """What comes next belongs to another conversation."""


class _NoRecorder:
    kept_for = ""

    def begin(self, question: str, system: str) -> None:
        pass

    def see(self, event: TextEvent) -> None:
        pass

    def end(self, finish_reason: str) -> None:
        pass

    def drop(self) -> None:
        pass

    def undo(self, question: str) -> None:
        pass

    def restart(self) -> None:
        pass


class Chat:
    """One conversation. Not for use from several threads."""

    def __init__(
        self,
        engine: ChatEngine,
        *,
        system: str = "",
        max_tokens: int = 1024,
        sampling: SamplingParams = _DEFAULT_SAMPLING,
        recorder: Recorder | None = None,
    ) -> None:
        self._recorder = recorder or _NoRecorder()
        self._engine = engine
        self._max_tokens = max_tokens
        self._sampling = sampling
        self._turns: list[Message] = []
        self._first = 0  # turns before this one are left out of the prompt
        self._system = system

    @property
    def messages(self) -> list[Message]:
        """Everything that was said, the system message first."""
        return [*self._system_messages(), *self._turns]

    @property
    def num_forgotten(self) -> int:
        """How many of the messages no longer fit and are left out of the prompt."""
        return self._first

    def reset(self, system: str | None = None) -> None:
        """Start afresh, with another system message if one is given ("" for none)."""
        self._turns = []
        self._first = 0
        if system is not None:
            self._system = system
        self._recorder.restart()

    def undo(self) -> bool:
        """Take back the last question and its answer. False: nothing was asked."""
        if not self._turns:
            return False
        question = self._turns[-2].content
        del self._turns[-2:]
        self._first = 0  # there is room again: the next question finds out for how much
        self._recorder.undo(question)
        return True

    def resume(self, system: str, turns: Sequence[Message]) -> None:
        """Go on with what was said elsewhere or earlier; the recorder is told by who has it."""
        self._turns = list(turns)
        self._first = 0
        self._system = system

    def use(self, engine: ChatEngine, sampling: SamplingParams) -> None:
        """Another model answers from now on, which may remember more or less of the conversation."""
        self._engine = engine
        self._sampling = sampling
        self._first = 0

    def ask(self, text: str) -> Generator[TextEvent, None, None]:
        """The answer's pieces. What was read of it is kept if the iterator is closed early; its reasoning never is.

        Raises what the engine raises; the question is then forgotten as if it had not been asked.
        """
        num_turns = len(self._turns)
        self._turns.append(Message("user", text))
        pieces: list[str] = []
        finish_reason = "cancelled"
        try:
            label = self._recorder.kept_for
            events = self._engine.stream_text(
                self._fitting_prompt(),
                max_tokens=self._max_tokens,
                sampling=self._sampling,
                service=Service(keep_on_disk=bool(label), kept_for=label),
            )
            self._recorder.begin(text, self._system)
            for event in events:
                pieces.append(event.text)
                finish_reason = event.finish_reason or finish_reason
                self._recorder.see(event)
                yield event
        finally:
            if answer := "".join(pieces).strip():
                self._turns.append(Message("assistant", answer))
                self._recorder.end(finish_reason)
            else:
                del self._turns[num_turns:]
                self._recorder.drop()

    def save(self, path: Path) -> None:
        """Write the conversation to a new file, whole or not at all: JSON if the name ends in .json, text otherwise."""
        render = _render_json if path.suffix == ".json" else _render_text
        with storage_errors(path):
            if os.path.lexists(path):
                raise UsageError(f"{path} exists; choose another name")
            _write_new(path, render(self.messages).encode("utf-8", "replace"))

    def _system_messages(self) -> list[Message]:
        return [Message("system", self._system)] if self._system else []

    def _fitting_prompt(self) -> list[Message]:
        """The messages, oldest turns left out until there is room for an answer (or nothing more can go)."""
        context_length = self._engine.context_length
        room = context_length - min(self._max_tokens, context_length // 4)
        while True:
            prompt = [*self._system_messages(), *self._turns[self._first :]]
            following = self._next_question()
            if following is None or len(self._engine.encode_prompt(prompt)) <= room:
                return prompt
            self._first = following

    def _next_question(self) -> int | None:
        """Where the second turn of the prompt starts; None if there is only one."""
        later = range(self._first + 1, len(self._turns))
        return next((index for index in later if self._turns[index].role == "user"), None)


def _write_new(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{os.getpid()}.pocketseek-partial")
    try:
        write_file(partial, data)
        os.rename(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _render_json(messages: Sequence[Message]) -> str:
    plain = [{"role": message.role, "content": message.content} for message in messages]
    return json.dumps({"messages": plain}, ensure_ascii=False, indent=2) + "\n"


def _render_text(messages: Sequence[Message]) -> str:
    return "".join(f"[{message.role}]\n{message.content}\n\n" for message in messages)
