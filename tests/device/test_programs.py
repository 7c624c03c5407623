"""Slow programs: never waited for, never started without need, asked more and more rarely. A few real ones, too."""

import sys
import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from pocketseek.device import programs
from pocketseek.device.programs import LONGEST_WAIT_S, Program, Programs, Told, run_program

PROGRAM = Program("battery", (sys.executable, "-V"), every_s=10.0)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Answers:
    def __init__(self, *answers: str | None) -> None:
        self.left = list(answers)
        self.num_asked = 0

    def __call__(self, command: Sequence[str]) -> str | None:
        self.num_asked += 1
        return self.left.pop(0) if self.left else None


def at_once(work: Callable[[], None]) -> None:
    work()


def test_a_program_is_asked_again_only_when_it_is_due() -> None:
    clock, answers = Clock(), Answers("one", "two")
    asked = Programs([PROGRAM], clock=clock, run=answers, start=at_once)
    assert asked.ask("battery") == "one"
    clock.now_s = 9.9
    assert asked.ask("battery") == "one"
    clock.now_s = 10.0
    assert asked.ask("battery") == "two"


def test_an_unknown_or_missing_program_is_never_run(tmp_path: Path) -> None:
    answers = Answers("never")
    missing = Program("dump", (str(tmp_path / "dumpsys"),), every_s=1.0)
    asked = Programs([missing], clock=Clock(), run=answers, start=at_once)
    assert (asked.ask("dump"), asked.ask("other"), answers.num_asked) == (None, None, 0)


def test_failures_are_asked_for_ever_more_rarely() -> None:
    clock, answers = Clock(), Answers()
    asked = Programs([PROGRAM], clock=clock, run=answers, start=at_once)
    times_s = []
    for second in range(10_000):
        clock.now_s, before = float(second), answers.num_asked
        asked.ask("battery")
        if answers.num_asked > before:
            times_s.append(second)
    assert times_s[:6] == [0, 20, 60, 140, 300, 620]
    assert {later - earlier for earlier, later in pairwise(times_s[6:])} == {LONGEST_WAIT_S}


def test_an_old_answer_is_none_and_a_success_forgives() -> None:
    clock, answers = Clock(), Answers("one", None, None, "two")
    asked = Programs([PROGRAM], clock=clock, run=answers, start=at_once)
    asked.ask("battery")
    clock.now_s = 10.0
    assert asked.ask("battery") is None  # it was there, and failed
    for now_s in (30.0, 70.0):
        clock.now_s = now_s
        last = asked.ask("battery")
    assert last == "two"


def test_asking_does_not_wait_for_a_program_that_hangs() -> None:
    clock, release = Clock(), threading.Event()

    def hang(command: Sequence[str]) -> str | None:
        release.wait()
        return "late"

    asked = Programs([PROGRAM], clock=clock, run=hang)
    assert asked.ask("battery") is None
    assert asked.ask("battery") is None  # one at a time
    assert not asked.wait(0.0)
    release.set()
    assert asked.wait(10.0)
    assert asked.ask("battery") == "late"


def test_an_answer_is_not_given_for_ever_while_the_next_one_hangs() -> None:
    clock = Clock()
    waiting: list[Callable[[], None]] = []
    asked = Programs([PROGRAM], clock=clock, run=Answers("one"), start=waiting.append)
    asked.ask("battery")
    waiting.pop()()
    clock.now_s = 40.0
    assert asked.ask("battery") == "one"
    clock.now_s = 41.0
    assert asked.ask("battery") is None


def test_an_answer_knows_its_age() -> None:
    clock = Clock()
    asked = Programs([PROGRAM], clock=clock, run=Answers("one", "two"), start=at_once)
    assert asked.told("battery") == Told("one", 0.0)
    clock.now_s = 7.0
    assert asked.told("battery") == Told("one", 7.0)
    clock.now_s = 10.0
    assert asked.told("battery") == Told("two", 0.0)


@pytest.mark.parametrize("answer", ["one", None])
def test_a_program_is_awaited_until_it_has_ended_once(answer: str | None) -> None:
    waiting: list[Callable[[], None]] = []
    asked = Programs([PROGRAM], clock=Clock(), run=Answers(answer), start=waiting.append)
    asked.ask("battery")
    assert asked.is_awaited("battery")
    waiting.pop()()
    assert not asked.is_awaited("battery")
    assert not asked.is_awaited("thermal")


def test_a_real_program_gives_what_it_prints() -> None:
    assert run_program([sys.executable, "-c", "print('75')"]) == "75\n"


@pytest.mark.parametrize("command", [["/nonexistent/program"], [sys.executable, "-c", "raise SystemExit(1)"]])
def test_a_real_program_that_fails_gives_nothing(command: list[str]) -> None:
    assert run_program(command) is None


def test_a_real_program_that_takes_too_long_is_ended_with_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "TIMEOUT_S", 0.3)
    assert run_program(["/bin/sh", "-c", "sleep 600 & sleep 600"]) is None  # comes back: nobody holds the pipe
