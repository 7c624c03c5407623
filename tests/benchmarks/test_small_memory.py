"""What the comparison in little memory makes of its processes: those that answer, fail, hang, or get nowhere.

The group is a stand-in that limits nothing; `tests/apps/test_memory_group.py` has the real one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from types import SimpleNamespace

import group_worker
import pytest
import small_memory
import small_workload
import workload
from group_worker import Outcome, run_worker
from small_workload import SmallJob


def group(num_kills: int = 0) -> SimpleNamespace:
    return SimpleNamespace(inside=lambda command: list(command), num_kills=num_kills, peak_bytes=123)


def worker(code: str) -> Sequence[str]:
    return [sys.executable, "-c", code]


def test_the_lines_of_a_worker_are_its_facts() -> None:
    code = """print('some remark'); print('{"first_token_s": 1}'); print('{"single": [[2.0, 6], [4.0, 6]]}')"""
    outcome = run_worker(worker(code), group(), 60)
    assert (outcome.ended, outcome.peak_bytes) == ("", 123)
    assert (outcome.token_s, outcome.token_bytes) == (3.0, 6)
    assert outcome.many_tokens_per_s is None


def test_a_worker_without_a_token_is_given_up() -> None:
    outcome = run_worker(worker("import time; time.sleep(600)"), group(), 0.2)
    assert outcome.ended.startswith("no token in")
    assert outcome.token_s is None


def test_a_worker_that_does_not_end_keeps_what_it_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_worker, "WHOLE_RUN_PATIENCES", 0.01)
    code = """print('{"single": [[2.0, 6]]}', flush=True); import time; time.sleep(600)"""
    outcome = run_worker(worker(code), group(), 60)
    assert outcome.ended.startswith("not done after")
    assert outcome.token_s == 2.0


def test_a_failure_is_quoted_and_a_kill_is_called_one() -> None:
    failed = run_worker(worker("raise SystemExit('no such model')"), group(), 60)
    assert failed.ended == "failed with code 1: no such model"
    killed = run_worker(worker("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"), group(num_kills=1), 60)
    assert killed.ended == "killed for lack of memory"


def outcome(token_s: float, many_s: float, num_bytes: int) -> Outcome:
    facts = {"single": [[token_s, num_bytes]], "many": [[many_s, num_bytes]], "num_sequences": 8}
    return Outcome(facts, peak_bytes=num_bytes)


def test_ratios_above_one_are_better_for_ours() -> None:
    summaries = {
        "pocketseek": small_memory.summarise([outcome(0.5, 0.8, 500), outcome(0.7, 0.8, 500)], best_plain=1000),
        "llama.cpp": small_memory.summarise([outcome(1.2, 1.6, 600)], best_plain=1000),
    }
    ratios = small_memory.ratios(summaries)
    assert ratios == {"single": pytest.approx(2.0), "many": pytest.approx(2.0)}
    assert summaries["pocketseek"].busy == pytest.approx((1000 / 1.3 + 1000 / 1.5) / 2 / 1000)


def test_an_engine_that_never_came_to_a_token_leaves_no_ratio() -> None:
    summaries = {
        "pocketseek": small_memory.summarise([outcome(0.5, 0.8, 500)], best_plain=1000),
        "llama.cpp": small_memory.summarise([Outcome(ended="killed for lack of memory")], best_plain=1000),
    }
    assert small_memory.ratios(summaries) == {"single": None, "many": None}
    assert summaries["llama.cpp"].ended == ["killed for lack of memory"]


class FakeRunner:
    engine = system = "fake"
    vocab_size = 100
    kv_bytes = None

    def __init__(self, _job: workload.Job) -> None:
        self.passes: list[tuple[int, int, int]] = []

    def forget(self) -> None:
        self.passes.append((0, 0, 0))

    def run(self, token_ids: list[list[int]], first_position: int) -> list[int]:
        self.passes.append((len(token_ids), len(token_ids[0]), first_position))
        return [0] * len(token_ids)


def test_every_runner_does_the_same_passes(capsys: pytest.CaptureFixture[str]) -> None:
    runners: list[FakeRunner] = []

    def open_runner(job: workload.Job) -> FakeRunner:
        runners.append(FakeRunner(job))
        return runners[0]

    small_workload.measure(SmallJob("model", 1, passes=2, prompt_tokens=4, num_sequences=3), open_runner)
    assert runners[0].passes == [(1, 4, 0), (1, 1, 4), (1, 1, 5), (0, 0, 0), (3, 4, 0), (3, 1, 4), (3, 1, 5)]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [next(iter(line)) for line in lines] == ["first_token_s", "single", "single", "many"]
    assert [len(lines[2]["single"]), len(lines[3]["many"]), lines[3]["num_sequences"]] == [2, 2, 3]
