"""Many prompts at once give what each gives alone, and what they share is computed once."""

from collections.abc import Iterable

import pytest
from fake_task_engine import FakeTaskEngine
from fakes import fake_engine

from pocketseek.apps.doc.background import Step, Task, run_tasks
from pocketseek.apps.doc.written_answer import Note
from pocketseek.errors import EngineClosedError
from pocketseek.runtime.engine import Engine
from pocketseek.types import Message


def task(text: str, max_tokens: int = 30) -> Task:
    return Task((Message("user", text),), max_tokens)


def notes(steps: Iterable[Step]) -> dict[int, Note]:
    return {step.index: step.note for step in steps if step.note is not None}


def texts_of(engine: Engine, tasks: list[Task], max_in_flight: int) -> list[str]:
    found = notes(run_tasks(engine, tasks, max_in_flight=max_in_flight))
    return [found[index].text for index in range(len(tasks))]


def test_side_by_side_the_answers_are_those_of_one_after_the_other() -> None:
    tasks = [task(f"question {number} " * (number + 1), 12) for number in range(9)]
    with fake_engine() as engine:
        assert texts_of(engine, tasks, 5) == texts_of(engine, tasks, 1)


def test_what_all_prompts_begin_with_is_computed_once() -> None:
    head = "The same instructions for everybody, of more than two pages. " * 3
    tasks = [task(f"{head} {number}", 4) for number in range(8)]
    with fake_engine() as engine:
        found = notes(run_tasks(engine, tasks))
        counts = engine.statistics().load
    shared = len(head) // 64 * 64
    assert sorted(note.num_cached_prompt_tokens for note in found.values()) == [0, *[shared] * 7]
    assert counts.num_prompt_tokens == sum(note.num_prompt_tokens for note in found.values()) - 7 * shared


def test_no_more_than_a_window_is_in_flight_and_it_is_refilled() -> None:
    engine = FakeTaskEngine(lambda prompt: f"answer to {prompt}")
    found = notes(run_tasks(engine, [task(str(number)) for number in range(20)], max_in_flight=6))
    assert engine.most_at_once == 6
    assert {index: note.text for index, note in found.items()} == {n: f"answer to {n}" for n in range(20)}


def test_a_kill_loses_no_more_than_fills_a_pass() -> None:
    engine = FakeTaskEngine(lambda prompt: "x" * 20)
    begun: set[int] = set()
    done: set[int] = set()
    for step in run_tasks(engine, [task(str(number)) for number in range(40)]):
        begun.add(step.index)
        if step.note is not None:
            done.add(step.index)
        assert len(begun - done) <= 8
    assert engine.most_at_once == 8


def test_the_oldest_end_first() -> None:
    tasks = [task(f"question {number}" + " of some length" * 20, 12) for number in range(12)]
    with fake_engine() as engine:
        ended = [step.index for step in run_tasks(engine, tasks) if step.note is not None]
    assert set(ended[:4]) <= set(range(8))


def test_the_share_of_a_task_only_grows() -> None:
    engine = FakeTaskEngine(lambda prompt: "x" * 20)
    shares = [step.share for step in run_tasks(engine, [task("one")])]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_an_answer_that_cannot_be_computed_fails_alone() -> None:
    engine = FakeTaskEngine(lambda prompt: None if prompt == "bad" else "fine")
    found = notes(run_tasks(engine, [task("good"), task("bad"), task("also good")]))
    assert [found[index].outcome for index in range(3)] == ["complete", "failed", "complete"]
    assert "NaN" in found[1].problem


def test_an_answer_that_is_too_long_is_stopped() -> None:
    engine = FakeTaskEngine(lambda prompt: "word " * 1000)
    (note,) = notes(run_tasks(engine, [task("one", 50)])).values()
    assert (note.outcome, note.num_tokens) == ("cut", 50)
    assert engine.num_open == 0


def test_leaving_early_cancels_what_runs() -> None:
    engine = FakeTaskEngine(lambda prompt: "x" * 50)
    steps = run_tasks(engine, [task(str(number)) for number in range(5)])
    next(steps)
    assert engine.num_open == 5
    steps.close()
    assert engine.num_open == 0


def test_the_end_of_the_engine_is_an_error() -> None:
    engine = fake_engine()
    steps = run_tasks(engine, [task("one", 300), task("two", 300)])
    next(steps)
    engine.close()
    with pytest.raises(EngineClosedError):
        list(steps)
