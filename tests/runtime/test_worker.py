"""The worker's thread: requests left early, failures, ends, and what it does while idle."""

import gc
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Semaphore, Thread

import numpy as np
import pytest
from fakes import (
    ByteTokenizer,
    FakeExecutor,
    FakeTemplate,
    fake_engine,
    fake_logits,
    ids_of,
    random_request,
    slow_tokens,
)

from pocketseek.errors import EngineClosedError, ModelOutputError
from pocketseek.govern.governor import FixedGovernor
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.policy import Policy
from pocketseek.runtime.work import Work
from pocketseek.runtime.worker import Worker
from pocketseek.types import Limits, SamplingParams

WAIT_S = 60  # only a hanging test ever waits that long


class Gate:
    """Lets passes through one by one; `reached` is set whenever a pass waits at it."""

    def __init__(self) -> None:
        self.reached = Event()
        self._permits = Semaphore(0)

    def __call__(self, work: Work) -> None:
        self.reached.set()
        assert self._permits.acquire(timeout=WAIT_S)

    def let_through(self, count: int) -> None:
        self._permits.release(count)


@contextmanager
def gated_engine() -> Iterator[tuple[Engine, Gate, FakeExecutor]]:
    gate = Gate()
    executor = FakeExecutor(before_run=gate)
    engine = fake_engine(executor)
    try:
        yield engine, gate, executor
    finally:
        gate.let_through(100_000)
        engine.close()


@pytest.mark.parametrize("way", ["close", "with", "drop", "text"])
def test_leaving_a_stream_frees_its_pages_at_the_next_border(way: str) -> None:
    with gated_engine() as (engine, gate, executor):
        gate.let_through(2)
        if way == "text":
            texts = engine.stream_text("abc", sampling=SamplingParams(seed=1))
            next(texts)
            texts.close()
        else:
            stream = engine.stream(random_request(1, 100, 500))
            next(stream)
            if way == "close":
                stream.close()
            elif way == "with":
                with stream:
                    pass
            else:
                del stream
        later = engine.stream(random_request(2, 10, 3))
        gate.let_through(100)
        assert ids_of(later) == slow_tokens(random_request(2, 10, 3))
        load = engine.statistics().load
        assert (load.num_running, load.num_free_pages) == (0, load.num_pages)
        assert len(executor.works) < 20


def test_stream_never_read_is_cancelled_when_dropped() -> None:
    with gated_engine() as (engine, gate, _):
        engine.stream_text("abc", max_tokens=500)
        gate.let_through(2)
        later = engine.stream(random_request(2, 10, 3))
        gate.let_through(100)
        assert len(ids_of(later)) == 3
        assert engine.statistics().load.num_running == 0


def test_closed_stream_has_no_more_events() -> None:
    with fake_engine() as engine:
        stream = engine.stream(random_request(1))
        next(stream)
        stream.close()
        stream.close()
        assert list(stream) == []


def test_reader_blocked_while_another_thread_closes_gets_the_cancelled_event() -> None:
    with gated_engine() as (engine, gate, _), ThreadPoolExecutor(1) as threads:
        stream = engine.stream(random_request(1, 10, 500))
        blocked = threads.submit(next, stream)
        assert gate.reached.wait(WAIT_S)
        stream.close()
        gate.let_through(1)
        events = [blocked.result(WAIT_S), *stream]
        assert len(events) == 1


def test_failure_in_a_pass_reaches_every_waiting_request_as_the_cause() -> None:
    gate = Gate()

    def fail(work: Work) -> None:
        gate(work)
        raise RuntimeError("no KV memory")

    executor = FakeExecutor(before_run=fail)
    with fake_engine(executor) as engine:
        streams = [engine.stream(random_request(seed)) for seed in range(3)]
        gate.let_through(1)
        for stream in streams:
            with pytest.raises(EngineClosedError, match="no KV memory") as caught:
                list(stream)
            assert isinstance(caught.value.__cause__, RuntimeError)
        with pytest.raises(EngineClosedError, match="no KV memory"):
            engine.stream(random_request(9))
    assert executor.num_closed == 1


def test_failure_after_some_tokens_does_not_lose_them() -> None:
    def fail_late(work: Work) -> None:
        if work.slices[0].first_position > 21:
            raise RuntimeError("late")

    engine = fake_engine(FakeExecutor(before_run=fail_late))
    stream = engine.stream(random_request(1))
    assert [next(stream).token_id for _ in range(3)] == slow_tokens(random_request(1))[:3]
    with pytest.raises(EngineClosedError, match="late"):
        next(stream)
    assert list(stream) == []


def test_unusable_logits_fail_one_request_and_not_the_engine() -> None:
    def logits(tokens: list[int], vocab_size: int) -> np.ndarray:
        return fake_logits(tokens, vocab_size) * np.float32(np.nan if tokens[0] == 7 else 1)

    with fake_engine(FakeExecutor(logits=logits)) as engine:  # type: ignore[arg-type]
        with pytest.raises(ModelOutputError):
            list(engine.stream(replace(random_request(1), prompt_ids=(7, 8))))
        good = replace(random_request(1), prompt_ids=(8, 7))
        assert ids_of(engine.stream(good)) == slow_tokens(good)


def test_closing_answers_those_who_wait_and_refuses_those_who_come() -> None:
    with gated_engine() as (engine, gate, executor):
        stream = engine.stream(random_request(1, 10, 500))
        assert gate.reached.wait(WAIT_S)
        closer = Thread(target=engine.close)
        closer.start()
        gate.let_through(1000)
        with pytest.raises(EngineClosedError):
            list(stream)
        closer.join(WAIT_S)
        with pytest.raises(EngineClosedError):
            engine.stream(random_request(1))
        assert executor.num_closed == 1


@pytest.mark.parametrize("used", [False, True])
def test_closing_twice_closes_the_parts_once_and_in_order(used: bool) -> None:
    closed: list[str] = []

    class Part(FakeExecutor):
        def __init__(self, name: str) -> None:
            super().__init__()
            self._name = name

        def close(self) -> None:
            closed.append(self._name)

    engine = Engine(
        Part("executor"),
        ByteTokenizer(),  # type: ignore[arg-type]
        FakeTemplate(),  # type: ignore[arg-type]
        FixedGovernor(1),
        num_pages=8,
        resources=[Part("package")],
    )
    if used:
        list(engine.stream(random_request(1)))
    engine.close()
    engine.close()
    assert closed == ["executor", "package"]


def test_a_part_that_cannot_be_closed_keeps_none_of_the_others_open() -> None:
    closed: list[str] = []

    class Part(FakeExecutor):
        def __init__(self, name: str, *, fails: bool = False) -> None:
            super().__init__()
            self._name, self._fails = name, fails

        def close(self) -> None:
            closed.append(self._name)
            if self._fails:
                raise OSError("no")

    worker = Worker(
        fake_engine(FakeExecutor())._scheduler, Part("executor", fails=True), FixedGovernor(1), (Part("clocks"),)
    )
    with pytest.raises(OSError, match="no"):
        worker.close()
    assert closed == ["executor", "clocks"]


def test_forgotten_engine_closes_itself() -> None:
    closed = Event()

    class Executor(FakeExecutor):
        def close(self) -> None:
            closed.set()

    engine = fake_engine(Executor())
    list(engine.stream(random_request(1)))
    del engine
    gc.collect()
    assert closed.wait(WAIT_S)


def test_engine_lives_as_long_as_one_of_its_streams() -> None:
    gate = Gate()
    stream = fake_engine(FakeExecutor(before_run=gate)).stream(random_request(1))
    gc.collect()
    gate.let_through(100)
    assert ids_of(stream) == slow_tokens(random_request(1))


def test_interpreter_ends_quietly_with_an_open_engine_at_work() -> None:
    script = (
        "from fakes import *\n"
        "from pocketseek.govern.governor import FixedGovernor\n"
        "from pocketseek.runtime.engine import Engine\n"
        "engine = Engine(FakeExecutor(), ByteTokenizer(), FakeTemplate(), FixedGovernor(1), num_pages=64)\n"
        "streams = [engine.stream(Request((1, 2), 900)) for _ in range(8)]\n"
        "next(streams[0])\n"
    )
    tests = Path(__file__).parents[1]
    source = Path(sys.modules["pocketseek"].__file__ or "").parents[1]
    paths = f"import sys; sys.path[:0] = [{str(tests)!r}, {str(source)!r}]\n"
    done = subprocess.run([sys.executable, "-c", paths + script], capture_output=True, timeout=WAIT_S, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_governor_is_asked_once_for_every_pass_and_not_when_idle() -> None:
    class Counting(FixedGovernor):
        asked = 0

        def limits(self) -> Limits:
            self.asked += 1
            return super().limits()

    governor, executor = Counting(1), FakeExecutor()
    tokenizer, template = ByteTokenizer(), FakeTemplate()
    with Engine(executor, tokenizer, template, governor, num_pages=8) as engine:  # type: ignore[arg-type]
        list(engine.stream(random_request(1)))
        list(engine.stream(random_request(2)))
    assert governor.asked == len(executor.works) == 30


def test_thread_count_is_set_when_it_changes() -> None:
    class Alternating:
        def __init__(self) -> None:
            self.answers = iter([2, 2, 1, 1, 1, 3] + [3] * 100)

        def limits(self) -> Limits:
            return Limits(num_threads=next(self.answers))

    executor = FakeExecutor()
    tokenizer, template = ByteTokenizer(), FakeTemplate()
    with Engine(executor, tokenizer, template, Alternating(), num_pages=8) as engine:  # type: ignore[arg-type]
        list(engine.stream(random_request(1)))
    assert executor.threads == [2, 1, 3]


def test_cores_are_set_when_they_change_and_asked_for_again_when_refused() -> None:
    class Moving:
        """The cores 8 and 9 are offline until the fourth pass."""

        def __init__(self) -> None:
            self.num_asked = 0

        def limits(self) -> Limits:
            self.num_asked += 1
            if self.num_asked == 4:
                executor.usable_cores.update((8, 9))
            return Limits(1, cores=() if self.num_asked in (1, 6) else (8, 9) if self.num_asked > 2 else (0, 1))

    executor = FakeExecutor()
    tokenizer, template = ByteTokenizer(), FakeTemplate()
    # tokenizer and template are fakes (tests/fakes.py) with only the methods that an engine calls
    with Engine(executor, tokenizer, template, Moving(), num_pages=8) as engine:  # type: ignore[arg-type]
        assert ids_of(engine.stream(random_request(1))) == slow_tokens(random_request(1))
    assert executor.cores == [(0, 1), (8, 9), (), (8, 9)]


def test_worker_wakes_by_itself_when_background_has_waited_long_enough() -> None:
    executor = FakeExecutor()
    with fake_engine(executor) as engine:
        wishes = [replace(random_request(seed), priority="background") for seed in range(3)]
        streams = [engine.stream(wish) for wish in wishes]
        assert [ids_of(stream) for stream in streams] == [slow_tokens(wish) for wish in wishes]
        assert engine.statistics().num_wakeups == 1
    assert len(executor.works[0].slices) == 3


def test_a_deadline_that_has_passed_ends_a_request_before_its_first_pass() -> None:
    with fake_engine() as engine:
        events = list(engine.stream(replace(random_request(1), priority="background", deadline_s=1e-9)))
        assert [event.finish_reason for event in events] == ["deadline"]
        assert engine.statistics().load.num_passes == 0


def test_deadline_ends_a_running_answer_with_what_it_has() -> None:
    with gated_engine() as (engine, gate, _):
        now_s = 0.0
        engine._scheduler.policy.clock = lambda: now_s
        stream = engine.stream(replace(random_request(1), deadline_s=0.05))
        gate.let_through(1)
        first = next(stream)
        assert gate.reached.wait(WAIT_S)
        now_s = 1.0  # the deadline passes while a pass runs
        gate.let_through(1)
        rest = list(stream)
    assert rest[-1].finish_reason == "deadline"
    assert [first.token_id, *(event.token_id for event in rest[:-1])] == slow_tokens(random_request(1))[: len(rest)]


def test_costs_are_learnt_from_typical_passes_only() -> None:
    for is_typical in (True, False):
        executor = FakeExecutor()
        executor.is_typical = is_typical
        policy = Policy()
        with Engine(
            executor,
            ByteTokenizer(),  # type: ignore[arg-type]  # fakes with the methods that an engine calls
            FakeTemplate(),  # type: ignore[arg-type]
            FixedGovernor(1),
            num_pages=8,
            policy=policy,
        ) as engine:
            assert ids_of(engine.stream(random_request(1))) == slow_tokens(random_request(1))
        assert any(model.points for model in policy.costs.models.values()) == is_typical
