"""Many prompts at once: what a map over a document's chunks runs on.

All tasks are background requests. MAX_IN_FLIGHT of them are with the engine at a time: as many as fill a pass (one with
8 tokens costs little more than one with 1; beyond that the cost grows with the tokens). More would be no faster, would
all end late and together, and a kill would lose them all. The oldest is read first and so ends first. The engine
computes what the prompts begin with in common once. An answer never depends on what ran beside it, so the order in
which notes come is the only thing that is left to chance.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from pocketseek.apps.doc.written_answer import Note, WrittenAnswer
from pocketseek.errors import ModelOutputError
from pocketseek.runtime.prompt import EncodedPrompt
from pocketseek.types import Constraint, Message, SamplingParams, Service, TextEvent

MAX_IN_FLIGHT = 8
MAX_REASONING_TOKENS = 1024
# Temperature 0: the same document, the same answers. The penalty, which only knows the answer's own words, keeps small
# models from saying the same again and again.
SAMPLING = SamplingParams(temperature=0.0, frequency_penalty=0.1, seed=0)

_BACKGROUND = Service("background", keep_on_disk=False)
UNKEPT = Service(keep_on_disk=False)
"""For what is made of a document: who deletes it wants it gone, also from the prefix cache on disk."""
_READ_SHARE = 0.6  # of the work of a task is reading its prompt, roughly


class PolledAnswer(Protocol):
    """What is needed of a TextAnswer."""

    has_ended: bool

    def poll(self) -> TextEvent | None: ...

    def close(self) -> None: ...


class TaskEngine(Protocol):
    """What is needed of an Engine."""

    @property
    def context_length(self) -> int: ...

    def encode(self, prompt: Sequence[Message], /) -> EncodedPrompt: ...

    def stream_text_choices(
        self,
        prompt: EncodedPrompt,
        count: int,
        /,
        *,
        max_tokens: int,
        sampling: SamplingParams,
        service: Service,
        constraint: Constraint | None,
        announce: Callable[[], None] | None,
    ) -> Sequence[PolledAnswer]: ...


@dataclass(frozen=True)
class Task:
    """max_tokens: of the answer; its reasoning, which nobody sees, may take MAX_REASONING_TOKENS besides."""

    prompt: tuple[Message, ...]
    max_tokens: int
    constraint: Constraint | None = None


@dataclass(frozen=True)
class Step:
    """A task got further. share: how far, 0 to 1. note: once it is done."""

    index: int
    share: float
    note: Note | None = None


def run_tasks(
    engine: TaskEngine, tasks: Sequence[Task], *, max_in_flight: int = MAX_IN_FLIGHT
) -> Generator[Step, None, None]:
    """What happens to the tasks, as it happens; closing the iterator cancels those that run.

    Raises what the engine raises, but for the failure of a single answer.
    """
    something_came = threading.Event()
    waiting = iter(enumerate(tasks))
    running: list[_Running] = []
    try:
        while True:
            for index, task in islice(waiting, max_in_flight - len(running)):
                running.append(_Running(engine, index, task, something_came.set))
            if not running:
                return
            something_came.wait()
            something_came.clear()
            for one in running:
                yield from one.steps()
            running = [one for one in running if not one.is_done]
    finally:
        for one in running:
            one.close()


class _Running:
    """A task that the engine works on."""

    def __init__(self, engine: TaskEngine, index: int, task: Task, announce: Callable[[], None]) -> None:
        prompt = engine.encode(task.prompt)
        self._index = index
        self._num_prompt = len(prompt.token_ids)
        room = engine.context_length - self._num_prompt
        (self._answer,) = engine.stream_text_choices(
            prompt,
            1,
            max_tokens=max(1, min(task.max_tokens + MAX_REASONING_TOKENS, room)),
            sampling=SAMPLING,
            service=_BACKGROUND,
            constraint=task.constraint,
            announce=announce,
        )
        self._written = WrittenAnswer(task.max_tokens, is_prose=task.constraint is None)
        self.is_done = False

    def close(self) -> None:
        self._answer.close()

    def steps(self) -> Iterator[Step]:
        """What has come since."""
        try:
            while not self.is_done and (event := self._answer.poll()) is not None:
                yield self._step(event)
        except ModelOutputError as error:
            self.is_done = True
            yield Step(self._index, 1.0, Note("", "failed", num_prompt_tokens=self._num_prompt, problem=str(error)))

    def _step(self, event: TextEvent) -> Step:
        if self._written.add(event):
            return Step(self._index, _READ_SHARE + (1 - _READ_SHARE) * self._written.share)
        self.is_done = True
        self._answer.close()
        return Step(self._index, 1.0, self._written.note(self._num_prompt))
