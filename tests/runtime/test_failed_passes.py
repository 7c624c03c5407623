"""A pass that storage fails ends who was in it, and nobody else: what the others say is what they would have said."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from threading import Event

import pytest
from fakes import FakeExecutor, fake_engine, ids_of, looping_logits, random_request, slow_tokens
from simulated_engine import SimulatedEngine, choices

from pocketseek.errors import IntegrityError, MemoryLimitError, PocketseekError, StorageError
from pocketseek.runtime.speculate import PromptLookup, Speculation
from pocketseek.runtime.work import Work
from pocketseek.types import Limits

WAIT_S = 60  # only a hanging test ever waits that long
AT_ONCE = Limits(1, coalesce_s=0.0)


class Disk:
    """Fails the next `num_faults` runs, the run with the number `faulty_run`, and every run of a request in `of`."""

    def __init__(self, error: PocketseekError | None = None) -> None:
        self.error = error or StorageError("the disk cannot be read; look at its cable")
        self.num_faults = 0
        self.of: set[int] = set()
        self.faulty_run: int | None = None
        self.num_runs = 0

    def __call__(self, work: Work) -> None:
        self.num_runs += 1
        if (
            self.num_faults
            or self.num_runs == self.faulty_run
            or any(part.request_id in self.of for part in work.slices)
        ):
            self.num_faults = max(0, self.num_faults - 1)
            raise self.error


@contextmanager
def held(disk: Disk) -> Iterator[tuple[FakeExecutor, Event, Event]]:
    """The executor says that it has reached a pass, and waits there until it may go on."""
    reached, go = Event(), Event()

    def before_run(work: Work) -> None:
        reached.set()
        assert go.wait(WAIT_S)
        disk(work)

    yield FakeExecutor(before_run=before_run), reached, go


def simulated(disk: Callable[[Work], object], num_pages: int = 64, **kwargs: object) -> SimulatedEngine:
    return SimulatedEngine(num_pages, limits=AT_ONCE, before_run=disk, **kwargs)  # type: ignore[arg-type]  # handed on as they are


# -- the engine -------------------------------------------------------------------------------------------------------


def test_a_disk_that_hiccups_once_is_not_noticed() -> None:
    disk = Disk()
    disk.faulty_run = 5
    with fake_engine(FakeExecutor(before_run=disk)) as engine:
        assert ids_of(engine.stream(random_request(1))) == slow_tokens(random_request(1))
        statistics = engine.statistics()
    assert (statistics.num_retried_passes, statistics.num_failed_passes) == (1, 0)
    assert statistics.load.num_passes == disk.num_runs - 1


@pytest.mark.parametrize(
    ("error", "num_runs"), [(StorageError("unreadable; buy a disk"), 2), (IntegrityError("flipped; install again"), 1)]
)
def test_who_was_in_a_failed_pass_gets_the_error_and_the_engine_goes_on(error: PocketseekError, num_runs: int) -> None:
    disk = Disk(error)
    with held(disk) as (executor, reached, go), fake_engine(executor) as engine:
        stream = engine.stream(random_request(1))
        assert reached.wait(WAIT_S)
        disk.num_faults = num_runs
        go.set()
        with pytest.raises(type(error), match=str(error)) as caught:
            list(stream)
        assert caught.value.exit_code == error.exit_code
        assert list(stream) == []
        assert disk.num_runs == num_runs
        assert ids_of(engine.stream(random_request(7))) == slow_tokens(random_request(7))
        statistics = engine.statistics()
    assert statistics.num_failed_passes == 1
    assert statistics.num_retried_passes == num_runs - 1


def test_memory_that_is_refused_to_a_pass_ends_its_requests_and_not_the_engine() -> None:
    refusals = [MemoryError()]

    def before_run(work: Work) -> None:
        if refusals:
            raise refusals.pop()

    with fake_engine(FakeExecutor(before_run=before_run)) as engine:
        with pytest.raises(MemoryLimitError, match="close other programs"):
            list(engine.stream(random_request(1)))
        assert ids_of(engine.stream(random_request(7))) == slow_tokens(random_request(7))


def test_every_request_of_a_failed_pass_has_an_error_of_its_own() -> None:
    disk = Disk()
    engine = simulated(disk)
    sequences = [engine.scheduler.prepare(i, random_request(i)) for i in range(3)]
    for sequence in sequences:
        engine.scheduler.submit(sequence)
    work = engine.scheduler.plan(AT_ONCE)
    assert work is not None
    errors = [event.error for event in engine.scheduler.fail(work, disk.error)]
    assert len({id(error) for error in (*errors, disk.error)}) == 4
    for error in errors:
        assert type(error) is StorageError
        assert str(error) == str(disk.error)
        assert error.__cause__ is disk.error


def test_the_error_keeps_nothing_of_the_executor_alive() -> None:
    seen = []

    def fail(work: Work) -> None:
        buffer = bytearray(1)  # noqa: F841  what a frame holds
        raise StorageError("unreadable")

    with fake_engine(FakeExecutor(before_run=fail)) as engine:
        with pytest.raises(StorageError) as caught:
            list(engine.stream(random_request(1)))
        cause = caught.value.__cause__
        while cause is not None:
            trace = cause.__traceback__
            while trace is not None:
                seen.append(trace.tb_frame.f_code.co_name)
                assert "buffer" not in trace.tb_frame.f_locals
                trace = trace.tb_next
            cause = cause.__context__
    assert seen.count("fail") == 2


def test_any_other_failure_still_closes_the_engine() -> None:
    def fail(work: Work) -> None:
        raise OSError("not ours")

    with fake_engine(FakeExecutor(before_run=fail)) as engine:
        with pytest.raises(PocketseekError, match="not ours"):
            list(engine.stream(random_request(1)))
        with pytest.raises(PocketseekError, match="not ours"):
            engine.stream(random_request(2))


def test_a_stream_that_was_left_before_its_pass_failed_disturbs_nobody() -> None:
    disk = Disk()
    with held(disk) as (executor, reached, go), fake_engine(executor) as engine:
        left = engine.stream(random_request(1))
        assert reached.wait(WAIT_S)
        left.close()
        disk.num_faults = 2
        go.set()
        assert ids_of(engine.stream(random_request(3))) == slow_tokens(random_request(3))
        assert engine.statistics().num_failed_passes == 1


def test_any_requests_on_a_bad_disk_end_right_or_with_its_error() -> None:
    random = Random(5)
    faulty_runs = {number for number in range(2000) if random.random() < 0.3}
    num_runs = itertools.count()

    def sometimes(work: Work) -> None:
        if next(num_runs) in faulty_runs:
            raise StorageError("unreadable")

    requests = [random_request(seed, random.randint(1, 150), random.randint(1, 30)) for seed in range(40)]
    num_failed = 0
    with fake_engine(FakeExecutor(before_run=sometimes), num_pages=12) as engine:
        streams = [engine.stream(one) for one in requests]
        for one, stream in zip(requests, streams, strict=True):
            tokens = []
            try:
                tokens += [event.token_id for event in stream]
            except StorageError:
                num_failed += 1
                continue
            assert tokens == slow_tokens(one)
        statistics = engine.statistics()
        assert statistics.load.num_free_pages == statistics.load.num_pages
    assert 0 < num_failed < len(requests)
    assert statistics.num_retried_passes > statistics.num_failed_passes > 0


# -- the scheduler ----------------------------------------------------------------------------------------------------


def test_others_go_on_and_all_pages_come_back() -> None:
    disk = Disk()
    engine = simulated(disk, 6, prefix_cache=True)
    for seed in range(4):
        engine.submit(random_request(seed, 100, 30))  # two pages each and one more: not all run at once
    for _ in range(3):
        engine.run_pass()
    disk.num_faults = 1
    engine.run_pass()
    failed = [request_id for request_id, reason in engine.ended.items() if reason == "error"]
    assert 0 < len(failed) < 4
    engine.play()
    engine.check_all_ended()
    assert len(engine.ended) == 4


def test_nothing_of_a_failed_pass_is_found_in_the_prefix_cache() -> None:
    disk = Disk()
    engine = simulated(disk, prefix_cache=True)
    disk.num_faults = 1
    engine.submit(random_request(1, 200, 5))
    engine.run_pass()
    assert engine.ended == {0: "error"}
    assert engine.cache.num_cached == 0
    engine.submit(random_request(1, 200, 5))
    engine.play()
    engine.check_all_ended()


def test_what_earlier_passes_computed_stays_in_the_prefix_cache() -> None:
    disk = Disk()
    engine = simulated(disk, prefix_cache=True)
    engine.limits = replace(AT_ONCE, max_tokens_per_pass=100)
    engine.submit(random_request(1, 200, 5))
    engine.run_pass()
    disk.num_faults = 1
    engine.run_pass()
    assert engine.ended == {0: "error"}
    assert engine.cache.num_cached == 1
    engine.submit(random_request(1, 200, 5))
    engine.play()
    assert engine.scheduler.counts().num_cached_prompt_tokens == 64
    engine.check_all_ended()


def test_followers_of_who_failed_go_on_by_themselves() -> None:
    disk = Disk()
    engine = simulated(disk)
    engine.limits = replace(AT_ONCE, max_tokens_per_pass=30)
    engine.submit(*choices(random_request(1, 50, 10), 3))
    engine.run_pass()
    disk.num_faults = 1
    engine.run_pass()
    assert engine.ended == {0: "error"}
    engine.play()
    assert engine.ended == {0: "error", 1: "length", 2: "length"}
    engine.check_all_ended()


def test_choices_that_run_on_shared_pages_fail_without_taking_them_from_the_others() -> None:
    disk = Disk()
    engine = simulated(disk)
    engine.limits = replace(AT_ONCE, max_tokens_per_pass=50)
    engine.submit(*choices(random_request(1, 50, 40), 3))
    engine.run_pass()
    engine.limits = replace(AT_ONCE, max_tokens_per_pass=2)  # one of the three has to wait for the next pass
    disk.num_faults = 1
    work = engine.run_pass()
    assert work is not None
    assert len(work.slices) == len(engine.ended) == 2
    engine.limits = AT_ONCE
    engine.play()
    engine.check_all_ended()


def test_a_request_that_came_back_from_disk_fails_and_leaves_nothing_there(tmp_path: Path) -> None:
    disk = Disk()
    engine = simulated(disk, 7, swap_folder=tmp_path)
    for seed in range(2):
        engine.submit(random_request(seed, 150, 100))
    for _ in range(60):
        engine.run_pass()
    assert engine.scheduler.counts().num_swapped_out == 1
    disk.of = {1}
    engine.play()
    assert engine.ended == {0: "length", 1: "error"}
    engine.check_all_ended()


def test_a_scored_prompt_fails_without_scores() -> None:
    disk = Disk()
    engine = simulated(disk)
    engine.submit(replace(random_request(1, 200, 0), score_prompt=True))
    engine.run_pass()
    disk.num_faults = 1
    sequence = engine.scheduler.prepare(1, random_request(2))
    engine.scheduler.submit(sequence)
    work = engine.scheduler.plan(AT_ONCE)
    assert work is not None
    scored, plain = engine.scheduler.fail(work, disk.error)
    assert scored.token.prompt_logprobs is None
    assert (scored.token.finish_reason, plain.token.finish_reason) == ("error", "error")
    assert not engine.scheduler.has_work
    assert engine.cache.num_in_use == 0


def test_a_draft_that_borrowed_a_page_gives_it_back_when_its_pass_fails() -> None:
    def fail_on_a_lent_page(work: Work) -> None:
        (part,) = work.slices
        if part.first_position > 40 and len(part.pages) > part.first_position // 64 + 1:
            raise StorageError("unreadable")

    guessed = Speculation(PromptLookup, pass_cost=lambda num_tokens: 1.0)
    engine = simulated(fail_on_a_lent_page, logits=looping_logits, speculation=guessed)
    engine.submit(random_request(1, 40, 500))
    engine.play()
    assert engine.ended == {0: "error"}
    engine.check_all_ended()


def test_failed_passes_teach_nothing_about_costs() -> None:
    engine = simulated(Disk())
    engine.submit(random_request(1))
    engine.play()
    before = engine.policy.costs.num_observed
    failing = Disk()
    failing.num_faults = 1
    engine.executor._before_run = failing
    engine.submit(random_request(2))
    engine.play()
    assert engine.policy.costs.num_observed == before
