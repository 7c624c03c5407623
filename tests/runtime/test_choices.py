"""Several answers to one prompt: it is read once, its pages are shared, and each answer is that of its seed alone."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeExecutor, fake_engine, ids_of, looping_logits, random_request, slow_tokens
from simulated_engine import SimulatedEngine, choices

from pocketseek.errors import ModelOutputError, UsageError
from pocketseek.runtime.work import Logits
from pocketseek.types import Limits, Message, Request, SamplingParams, Service

AT_ONCE = Limits(1, coalesce_s=0.0)


def prompt_tokens_of(executor: FakeExecutor) -> int:
    return sum(part.num_tokens for work in executor.works for part in work.slices if part.num_tokens > 1)


@pytest.mark.parametrize("num_prompt", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("prefix_cache", [False, True])
def test_each_answer_is_that_of_its_seed_and_the_prompt_is_read_once(num_prompt: int, prefix_cache: bool) -> None:
    engine = SimulatedEngine(limits=AT_ONCE, prefix_cache=prefix_cache)
    engine.submit(*choices(random_request(1, num_prompt, 80), 5))
    engine.play()
    engine.check_all_ended()
    assert engine.scheduler.counts().num_prompt_tokens == num_prompt
    assert len({tuple(tokens) for tokens in engine.tokens}) > 1


def test_full_pages_of_the_prompt_exist_once() -> None:
    engine = SimulatedEngine(limits=AT_ONCE)
    engine.submit(*choices(random_request(1, 200, 30), 4))
    engine.run_pass()
    engine.run_pass()
    assert engine.scheduler.counts().num_running == 4
    assert engine.pool.num_used == 3 + 4  # the part-filled page was copied for all but the last


def test_answers_that_find_no_place_wait_and_come_out_the_same() -> None:
    engine = SimulatedEngine(limits=replace(AT_ONCE, max_sequences=2), prefix_cache=True)
    engine.submit(*choices(random_request(3, 150, 40), 5))
    engine.play()
    engine.check_all_ended()


def test_answers_go_on_when_the_first_of_them_is_cancelled_before_the_prompt_is_read() -> None:
    engine = SimulatedEngine(limits=replace(AT_ONCE, max_tokens_per_pass=32))
    engine.submit(*choices(random_request(3, 100, 20), 3))
    engine.run_pass()
    assert engine.cancel(0)
    assert engine.cancel(2)
    engine.play()
    engine.check_all_ended()
    assert engine.tokens[1] == slow_tokens(engine.requests[1])


def test_scarce_pages_change_no_answer() -> None:
    engine = SimulatedEngine(5, limits=AT_ONCE, logits=looping_logits)
    engine.submit(*choices(random_request(3, 100, 150), 4))
    engine.play()
    engine.check_all_ended()
    assert engine.scheduler.counts().num_preemptions > 0


def test_a_prompt_without_answers_ends_all_of_them() -> None:
    engine = SimulatedEngine(limits=AT_ONCE)
    engine.submit(*choices(random_request(3, 100, 0), 3))
    engine.play()
    assert set(engine.ended.values()) == {"length"}


def test_unusable_logits_end_every_answer_with_the_error() -> None:
    def broken(tokens: object, vocab_size: int) -> Logits:
        return np.full(vocab_size, np.nan, np.float32)

    with fake_engine(FakeExecutor(logits=broken)) as engine:
        streams = engine.stream_choices(random_request(1), 3)
        for stream in streams:
            with pytest.raises(ModelOutputError):
                list(stream)
        assert engine.statistics().load.num_running == 0


def test_stream_choices_counts_seeds_up() -> None:
    with fake_engine() as engine:
        request = random_request(5)
        together = [ids_of(stream) for stream in engine.stream_choices(request, 3)]
    assert together == [slow_tokens(one) for one in choices(request, 3)]


def test_choices_without_a_seed_differ() -> None:
    with fake_engine() as engine:
        request = Request((1, 2, 3), 30, SamplingParams(temperature=1.0))
        answers = [tuple(ids_of(stream)) for stream in engine.stream_choices(request, 4)]
    assert len(set(answers)) == 4


def test_generate_choices_gives_texts() -> None:
    with fake_engine() as engine:
        sampling = SamplingParams(temperature=1.0, seed=3)
        prompt = [Message("user", "hello")]
        answers = engine.generate_choices(prompt, 3, max_tokens=12, sampling=sampling)
        alone = [engine.generate(prompt, max_tokens=12, sampling=replace(sampling, seed=seed)) for seed in (3, 4, 5)]
    assert answers == alone


@pytest.mark.parametrize("count", [0, -1, 129])
def test_a_senseless_number_of_answers_is_refused(count: int) -> None:
    with fake_engine() as engine, pytest.raises(UsageError, match="1 to 128"):
        engine.stream_choices(random_request(1), count)


@pytest.mark.parametrize("seed", [-1, 2**64, "x"])
def test_seeds_are_checked_as_for_one_answer(seed: object) -> None:
    wrong = Request((1, 2), 5, SamplingParams(seed=seed))  # type: ignore[arg-type]  # wrong on purpose
    with fake_engine() as engine, pytest.raises(UsageError):
        engine.stream_choices(wrong, 2)


def test_service_reaches_the_request() -> None:
    with fake_engine() as engine, pytest.raises(UsageError, match="priority"):
        engine.generate("a", service=Service(priority="urgent"))  # type: ignore[arg-type]  # wrong on purpose
