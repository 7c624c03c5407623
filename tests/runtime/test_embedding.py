"""Texts as vectors, through the engine: alone, in company, cut, giving way, cancelled."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from fakes import (
    FakeExecutor,
    fake_engine,
    ids_of,
    random_request,
    slow_embedding,
    slow_tokens,
)
from simulated_engine import SimulatedEngine

from pocketseek.errors import ContextLengthError, PocketseekError, StorageError, UsageError
from pocketseek.runtime.work import Work
from pocketseek.types import Limits, Request, SamplingParams, Service


def ids(seed: int, length: int) -> tuple[int, ...]:
    return random_request(seed, length).prompt_ids


def expected(token_ids: tuple[int, ...]) -> bytes:
    return np.array(slow_embedding(token_ids), np.float32).tobytes()


def embedding_request(seed: int, length: int) -> Request:
    return Request(ids(seed, length), 0, SamplingParams(seed=seed), embed_prompt=True)


def test_an_embedding_is_the_mean_over_all_positions() -> None:
    with fake_engine() as engine:
        for length in (1, 63, 64, 65, 300):
            assert engine.embed(ids(1, length)).tobytes() == expected(ids(1, length))


def test_a_text_an_encoded_prompt_and_ids_give_the_same() -> None:
    with fake_engine() as engine:
        encoded = engine.encode("some text")
        assert engine.embed("some text").tobytes() == engine.embed(encoded).tobytes()
        assert engine.embed(encoded.token_ids).tobytes() == engine.embed(encoded).tobytes()
        assert engine.start_embedding("some text").num_tokens == len(encoded.token_ids)


def test_many_share_passes_with_answers_and_come_out_as_alone() -> None:
    executor = FakeExecutor()
    with fake_engine(executor, num_pages=16) as engine:
        answers = [engine.stream(random_request(seed, 50)) for seed in range(4)]
        pending = [engine.start_embedding(ids(seed, 30 + seed * 20)) for seed in range(10)]
        for seed, one in enumerate(pending):
            assert one.wait().tobytes() == expected(ids(seed, 30 + seed * 20))
        for seed, answer in enumerate(answers):
            assert ids_of(answer) == slow_tokens(random_request(seed, 50))
    assert any(len(work.slices) > 1 and work.num_states for work in executor.works)


def test_what_the_cache_knows_is_computed_all_the_same_and_what_is_computed_serves_others() -> None:
    text = ids(3, 200)
    with fake_engine() as engine:
        assert engine.embed(text).tobytes() == engine.embed(text).tobytes() == expected(text)
        (event,) = engine.stream(Request(text, max_tokens=0))
        assert event.num_cached_prompt_tokens == 192


@pytest.mark.parametrize("max_tokens_per_pass", [1, 7, 64, 100])
def test_no_cut_changes_an_embedding(max_tokens_per_pass: int) -> None:
    bench = SimulatedEngine(num_pages=64, limits=Limits(1, max_tokens_per_pass=max_tokens_per_pass))
    for seed in range(3):
        bench.submit(embedding_request(seed, 90 + seed))
    bench.play()
    bench.check_all_ended()


def test_giving_way_in_the_middle_does_not_change_an_embedding() -> None:
    bench = SimulatedEngine(num_pages=6, limits=Limits(1, max_tokens_per_pass=32))
    bench.submit(replace(embedding_request(0, 250), priority="background"))
    while bench.executor.works == [] or bench.executor.works[-1].slices[0].end_position < 100:
        bench.run_pass()
    bench.submit(random_request(1, 200, 60))
    bench.play()
    assert bench.scheduler.counts().num_preemptions > 0
    bench.check_all_ended()


def test_it_is_cancelled_by_closing_it() -> None:
    held, go_on = threading.Event(), threading.Event()

    def hold(work: Work) -> None:
        held.set()
        assert go_on.wait(30)

    with fake_engine(FakeExecutor(before_run=hold), num_pages=64) as engine:
        pending = engine.start_embedding(ids(1, 900))
        assert held.wait(30)
        pending.close()
        go_on.set()
        with pytest.raises(PocketseekError, match="not read to its end"):
            pending.wait()
        assert engine.embed(ids(1, 40)).tobytes() == expected(ids(1, 40))
        assert engine.statistics().load.num_prompt_tokens < 900


def test_a_deadline_that_passes_is_an_error() -> None:
    with fake_engine() as engine:
        pending = engine.start_embedding(ids(1, 900), service=Service(deadline_s=1e-9))
        with pytest.raises(PocketseekError, match="deadline"):
            pending.wait()


def test_polling_gives_what_waiting_gives() -> None:
    come = threading.Event()
    with fake_engine() as engine:
        pending = engine.start_embedding("abc", announce=come.set)
        assert come.wait(30)
        got = pending.poll()
        assert got is not None
        assert got.tobytes() == engine.embed("abc").tobytes()
        assert pending.has_ended
        assert pending.poll() is None


def test_what_cannot_be_embedded_is_refused_before_anything_runs() -> None:
    executor = FakeExecutor(context_length=50)
    with fake_engine(executor) as engine:
        with pytest.raises(UsageError, match="empty"):
            engine.embed("")
        with pytest.raises(ContextLengthError):
            engine.embed(ids(1, 51))
        with pytest.raises(UsageError, match="set max_tokens to 0"):
            engine.stream(Request((1, 2), max_tokens=1, embed_prompt=True))
        engine.embed(ids(1, 50))
    assert sum(work.num_tokens for work in executor.works) == 50


def test_a_failing_pass_ends_it_with_the_error() -> None:
    def fail(work: Work) -> None:
        raise StorageError("gone; plug it in")

    with fake_engine(FakeExecutor(before_run=fail)) as engine, pytest.raises(StorageError):
        engine.embed("abc")


def test_other_passes_have_no_states() -> None:
    executor = FakeExecutor()
    with fake_engine(executor) as engine:
        engine.generate("abc", max_tokens=5)
        engine.score(ids(1, 20))
    assert not any(work.num_states for work in executor.works)
