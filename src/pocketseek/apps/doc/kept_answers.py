"""Answers to many tasks, each kept as soon as it is there and never computed again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Protocol

from pocketseek.apps.doc.background import MAX_REASONING_TOKENS, SAMPLING, Task, TaskEngine, run_tasks
from pocketseek.apps.doc.summary_events import Phase, Progress
from pocketseek.apps.doc.written_answer import Note


class Keeper(Protocol):
    """Who keeps answers, from one run to the next."""

    def find(self, key: str) -> Note | None: ...

    def keep(self, key: str, note: Note) -> None: ...


def task_key(task: Task) -> str:
    """The name under which the answer is kept: all that decides it, but for the model."""
    asked = [[message.role, message.content] for message in task.prompt]
    value = json.dumps([asked, task.max_tokens, MAX_REASONING_TOKENS, repr(task.constraint), repr(SAMPLING)])
    return hashlib.sha256(value.encode()).hexdigest()


class KeptAnswers:
    """The answers of one run. Work is counted in answers; those that were kept are none.

    num_to_do: what the run will take, as far as one knows. num_done: answers computed so far.
    """

    def __init__(self, engine: TaskEngine, keeper: Keeper) -> None:
        self.num_to_do = 1
        self.num_done = 0
        self._engine = engine
        self._keeper = keeper

    def num_missing(self, tasks: Sequence[Task]) -> int:
        return sum(self.find(task) is None for task in tasks)

    def find(self, task: Task) -> Note | None:
        return self._keeper.find(task_key(task))

    def keep(self, task: Task, note: Note) -> None:
        self.num_done += 1
        self._keeper.keep(task_key(task), note)

    def run(self, phase: Phase, tasks: Sequence[Task]) -> Generator[Progress, None, list[Note]]:
        """Returns the answers in the order of the tasks. What failed is not kept: the next run may have more luck."""
        found = {number: note for number, task in enumerate(tasks) if (note := self.find(task)) is not None}
        asked = [number for number in range(len(tasks)) if number not in found]
        shares = dict.fromkeys(asked, 0.0)
        yield self.progress(phase, len(found), len(tasks))
        with closing(run_tasks(self._engine, [tasks[number] for number in asked])) as steps:
            for step in steps:
                number = asked[step.index]
                shares[number] = step.share
                if step.note is not None:
                    found[number] = step.note
                    del shares[number]
                    self._account(tasks[number], step.note)
                yield self.progress(phase, len(found), len(tasks), sum(shares.values()))
        return [found[number] for number in range(len(tasks))]

    def progress(self, phase: Phase, done: int, total: int, begun: float = 0.0) -> Progress:
        """begun: the work that went into answers that are not done."""
        work = self.num_done + begun
        return Progress(phase, done, total, min(1.0, work / max(self.num_to_do, work)) if work else 0.0)

    def _account(self, task: Task, note: Note) -> None:
        if note.outcome == "failed":
            self.num_done += 1
        else:
            self.keep(task, note)
