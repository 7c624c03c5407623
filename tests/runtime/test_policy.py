"""Who goes first, who gives way, who waits: on the real scheduler, with a clock that only moves when told."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from fakes import VOCAB_SIZE, slow_tokens
from simulated_engine import SimulatedEngine, weights_and_rows

from pocketseek.errors import UsageError
from pocketseek.runtime.pass_room import MIN_CHUNK
from pocketseek.runtime.policy import RECENT_S, STARVED_PASSES
from pocketseek.runtime.work import Work
from pocketseek.types import Limits, Priority, Request, SamplingParams

AT_ONCE = Limits(1, coalesce_s=0.0)


def request(seed: int, num_prompt: int, max_tokens: int = 20, **kwargs: Any) -> Request:
    prompt = np.random.default_rng(seed).integers(0, VOCAB_SIZE, num_prompt)
    sampling = SamplingParams(temperature=0.8, seed=seed)
    return replace(Request(tuple(prompt.tolist()), max_tokens, sampling), **kwargs)


def background(seed: int, num_prompt: int, max_tokens: int = 20, **kwargs: Any) -> Request:
    return request(seed, num_prompt, max_tokens, priority="background", **kwargs)


def ids(work: Work | None) -> list[int]:
    assert work is not None
    return [part.request_id for part in work.slices]


def num_tokens_of(work: Work | None, request_id: int) -> int:
    assert work is not None
    return sum(part.num_tokens for part in work.slices if part.request_id == request_id)


# -- interactive first ----------------------------------------------------------------------------------------------


def test_interactive_is_admitted_before_background_that_came_earlier() -> None:
    engine = SimulatedEngine(limits=replace(AT_ONCE, max_sequences=2))
    for seed in range(4):
        engine.submit(background(seed, 10))
    chat = engine.submit(request(9, 10))
    assert ids(engine.run_pass()) == [chat]  # background prompts rest while an interactive one is read
    assert ids(engine.run_pass()) == [chat, 0]
    engine.play()
    engine.check_all_ended()


def test_background_gives_its_place_to_an_arriving_interactive_request_the_youngest_first() -> None:
    engine = SimulatedEngine(limits=replace(AT_ONCE, max_sequences=3))
    for seed in range(3):
        engine.submit(background(seed, 10))
    engine.run_pass()
    chat = engine.submit(request(9, 10))
    assert set(ids(engine.run_pass())) == {chat, 0, 1}
    assert engine.scheduler.counts().num_preemptions == 1
    engine.play()
    engine.check_all_ended()


def test_background_gives_its_pages_to_an_arriving_interactive_request() -> None:
    engine = SimulatedEngine(num_pages=6, limits=AT_ONCE)
    engine.submit(background(1, 150))
    engine.submit(background(2, 120))
    engine.run_pass()
    chat = engine.submit(request(9, 100))
    assert ids(engine.run_pass())[0] == chat
    assert engine.scheduler.counts().num_preemptions == 1
    engine.play()
    engine.check_all_ended()


def test_nobody_gives_way_when_it_would_not_be_enough() -> None:
    engine = SimulatedEngine(num_pages=6, limits=AT_ONCE)
    engine.submit(request(1, 180, 40))
    engine.run_pass()
    engine.submit(background(2, 10, 40))
    engine.run_pass()
    engine.submit(request(3, 250, 2))
    assert ids(engine.run_pass()) == [0, 1]
    assert engine.scheduler.counts().num_preemptions == 0
    engine.play()
    engine.check_all_ended()


def test_growing_takes_pages_from_the_youngest_background_request_first() -> None:
    engine = SimulatedEngine(num_pages=8, limits=AT_ONCE)
    for seed in range(2):
        engine.submit(background(seed, 60, 200))
    engine.run_pass()
    for seed in range(2, 4):
        engine.submit(request(seed, 60, 100))
    restarted: set[int] = set()
    while engine.scheduler.has_work:
        restarted |= {
            part.request_id
            for part in (engine.run_pass() or Work(())).slices
            if part.first_position == 0 and engine.tokens[part.request_id][1:]
        }
    assert 1 in restarted
    assert restarted <= {0, 1}
    engine.check_all_ended()


def test_answers_take_turns_within_their_class_and_background_takes_what_is_left() -> None:
    engine = SimulatedEngine(limits=AT_ONCE)
    for seed in range(3):
        engine.submit(request(seed, 1, 100))
    for seed in range(3, 6):
        engine.submit(background(seed, 1, 100))
    engine.run_pass()
    engine.run_pass()
    engine.limits = replace(AT_ONCE, max_tokens_per_pass=4)
    for _ in range(30):
        assert set(ids(engine.run_pass())) > {0, 1, 2}
    progress = [len(engine.tokens[i]) for i in range(3, 6)]
    assert max(progress) - min(progress) <= 1


# -- no starvation --------------------------------------------------------------------------------------------------


def longest_standstill(engine: SimulatedEngine, watched: int, answer: int, num_passes: int = 2000) -> int:
    """The most passes in a row in which the watched request got no further, while two chats are always there."""
    chats: list[int] = []
    longest = standing = furthest = 0
    for number in range(num_passes):
        chats = [chat for chat in chats if chat not in engine.ended]
        while len(chats) < 2:
            chats.append(engine.submit(request(1000 + number, 10, answer)))
        work = engine.run_pass()
        assert work is not None
        ends = [part.end_position for part in work.slices if part.request_id == watched]
        standing = 0 if ends and ends[0] > furthest else standing + 1
        furthest = max([furthest, *ends])
        longest = max(longest, standing)
        if watched in engine.ended:
            return longest
    raise AssertionError("it did not end")


@pytest.mark.parametrize("room", [2, 256])
def test_background_progresses_in_a_bounded_number_of_passes_though_every_place_is_wanted(room: int) -> None:
    engine = SimulatedEngine(limits=Limits(1, room, max_sequences=2, coalesce_s=0.0))
    watched = engine.submit(background(1, 100, 10))
    assert longest_standstill(engine, watched, answer=12) <= STARVED_PASSES + 2 * 22


def test_background_progresses_in_a_bounded_number_of_passes_though_every_row_is_wanted() -> None:
    engine = SimulatedEngine(limits=Limits(1, 2, max_sequences=3, coalesce_s=0.0))
    watched = engine.submit(background(1, 40, 10))
    assert longest_standstill(engine, watched, answer=12) <= STARVED_PASSES + 2


def test_only_one_background_request_is_guaranteed_at_a_time() -> None:
    engine = SimulatedEngine(limits=Limits(1, max_sequences=3, coalesce_s=0.0))
    for seed in range(8):
        engine.submit(background(seed, 30, 200))
    chats: list[int] = []
    for number in range(600):
        chats = [chat for chat in chats if chat not in engine.ended]
        while len(chats) < 3:
            chats.append(engine.submit(request(100 + number, 10, 12)))
        assert sum(part.request_id < 8 for part in (engine.run_pass() or Work(())).slices) <= 1
    assert any(engine.tokens[:8])


# -- clients --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("priority", ["interactive", "background"])
def test_a_client_with_many_requests_does_not_keep_another_waiting(priority: str) -> None:
    engine = SimulatedEngine(limits=replace(AT_ONCE, max_sequences=2))
    for seed in range(20):
        engine.submit(request(seed, 50, priority=priority, client="many"))
    few = [engine.submit(request(seed, 50, priority=priority, client="few")) for seed in (30, 31)]
    engine.play()
    order = sorted(engine.ended_s, key=engine.ended_s.__getitem__)
    assert order.index(few[0]) <= 2
    assert order.index(few[1]) <= 4
    engine.check_all_ended()


def test_clients_of_a_class_are_served_the_same_number_of_tokens() -> None:
    engine = SimulatedEngine(limits=replace(AT_ONCE, max_sequences=2))
    random = Random(1)
    for seed in range(60):
        client = "long" if seed % 4 == 0 else "short"
        engine.submit(background(seed, 120 if client == "long" else 40, random.randint(1, 20), client=client))
    served = {"long": 0, "short": 0}
    while sum(engine.scheduler.counts().num_waiting for _ in "1") > 4:
        for part in (engine.run_pass() or Work(())).slices:
            served[engine.requests[part.request_id].client] += part.num_tokens
        assert abs(served["long"] - served["short"]) <= 2 * (120 + 20) + 2 * (40 + 20)
    engine.play()
    engine.check_all_ended()


# -- deadlines ------------------------------------------------------------------------------------------------------


def test_deadline_ends_a_running_request_with_what_it_has_and_frees_its_pages() -> None:
    engine = SimulatedEngine()
    late = engine.submit(request(1, 10, 500, deadline_s=0.1))
    other = engine.submit(request(2, 10, 40))
    engine.play()
    assert engine.ended == {late: "deadline", other: "length"}
    assert 0.1 <= engine.ended_s[late] < 0.1 + weights_and_rows(2)
    assert engine.tokens[late]
    engine.check_all_ended()


def test_deadline_ends_a_waiting_request_while_others_run() -> None:
    engine = SimulatedEngine(limits=replace(AT_ONCE, max_sequences=1))
    engine.submit(request(1, 10, 100))
    late = engine.submit(request(2, 10, deadline_s=0.05))
    engine.play()
    assert engine.ended[late] == "deadline"
    assert engine.tokens[late] == []
    engine.check_all_ended()


def test_nobody_waits_for_others_longer_than_a_tenth_of_his_deadline() -> None:
    engine = SimulatedEngine()
    hurried = engine.submit(background(1, 10, deadline_s=0.5))
    engine.play()
    assert engine.ended == {hurried: "length"}
    assert engine.first_s[hurried] == pytest.approx(0.05 + weights_and_rows(10))


def test_worker_wakes_for_the_deadline_of_a_request_that_finds_no_place() -> None:
    engine = SimulatedEngine(num_pages=3, limits=AT_ONCE)
    engine.submit(request(1, 100, 80))
    late = engine.submit(background(2, 100, deadline_s=0.1))
    engine.play()
    assert engine.ended[late] == "deadline"
    assert engine.ended_s[late] < 0.11


@pytest.mark.parametrize(
    "wrong",
    [
        *({"deadline_s": wrong} for wrong in (0, -1.0, float("nan"), float("inf"), "1", True)),
        {"priority": "urgent"},
        {"client": None},
    ],
)
def test_senseless_wishes_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        SimulatedEngine().submit(request(1, 10, **wrong))


# -- coalescing -----------------------------------------------------------------------------------------------------


def arrivals(count: int = 100, within_s: float = 10.0) -> list[tuple[float, Request]]:
    random = Random(7)
    return [(random.uniform(0, within_s), background(seed, 20, 16)) for seed in range(count)]


def test_waiting_for_each_other_halves_passes_and_wake_ups_of_random_background_requests() -> None:
    merged, at_once = SimulatedEngine(), SimulatedEngine(limits=AT_ONCE)
    for engine in (merged, at_once):
        engine.play(arrivals())
        engine.check_all_ended()
    assert len(merged.executor.works) <= len(at_once.executor.works) / 2
    assert merged.num_wakeups <= at_once.num_wakeups / 2
    assert merged.tokens == at_once.tokens


def test_background_starts_when_its_window_ends() -> None:
    engine = SimulatedEngine()
    engine.play([(1.0, background(1, 10, 200)), (1.3, background(2, 10)), (2.1, background(3, 10))])
    assert sorted(part.request_id for part in engine.executor.works[0].slices) == [0, 1]
    assert engine.first_s[0] == pytest.approx(2.0 + weights_and_rows(20))
    assert engine.first_token_s(2) == pytest.approx(1.0, abs=0.1)  # although another one runs


def test_background_that_does_not_gather_starts_at_once_and_takes_others_along() -> None:
    engine = SimulatedEngine()
    engine.submit(background(1, 10))
    assert engine.run_pass() is None
    engine.submit(replace(background(2, 10), gathers=False))
    assert sorted(ids(engine.run_pass())) == [0, 1]


@pytest.mark.parametrize("enough", ["tokens", "sequences"])
def test_background_does_not_wait_for_more_than_fills_a_few_passes(enough: str) -> None:
    engine = SimulatedEngine(limits=Limits(1, max_tokens_per_pass=64, max_sequences=4))
    for seed in range(2 if enough == "tokens" else 4):
        assert engine.run_pass() is None
        engine.submit(background(seed, 128 if enough == "tokens" else 5))
    assert engine.run_pass() is not None


def test_interactive_requests_never_wait_for_others_and_take_background_along() -> None:
    engine = SimulatedEngine()
    engine.submit(background(1, 10))
    assert engine.run_pass() is None
    engine.submit(request(2, 10))
    assert ids(engine.run_pass()) == [1]  # while its prompt is read, background prompts rest
    assert ids(engine.run_pass()) == [1, 0]


def test_a_window_of_zero_switches_waiting_off() -> None:
    engine = SimulatedEngine(limits=AT_ONCE)
    engine.submit(background(1, 10))
    assert engine.run_pass() is not None


# -- the length of a pass ---------------------------------------------------------------------------------------------


def slow_pass(num_tokens: int) -> float:
    """A phone: 40 ms for the weights, 5 ms for every token."""
    return 0.04 + 0.005 * num_tokens


def test_prompt_chunks_keep_passes_short_while_an_interactive_answer_is_written() -> None:
    engine = SimulatedEngine(limits=replace(AT_ONCE, max_pass_s=0.25), pass_s=slow_pass)
    engine.submit(request(1, 60, 300))
    for _ in range(4):
        engine.run_pass()
    engine.submit(request(2, 900, 5))
    lengths = [num_tokens_of(engine.run_pass(), 1) for _ in range(20)]
    assert slow_pass(lengths[-1] + 1) <= 0.25 * 1.01
    assert lengths[-1] >= 35
    assert min(length for length in lengths if length) >= MIN_CHUNK


def test_a_chunk_is_never_cut_below_the_least_that_progresses() -> None:
    engine = SimulatedEngine(limits=replace(AT_ONCE, max_pass_s=0.001), pass_s=slow_pass)
    engine.submit(request(1, 60, 300))
    for _ in range(4):
        engine.run_pass()
    engine.submit(request(2, 100, 5))
    assert num_tokens_of(engine.run_pass(), 1) == MIN_CHUNK


def test_passes_are_filled_when_nobody_interactive_is_about() -> None:
    engine = SimulatedEngine(limits=replace(AT_ONCE, max_pass_s=None), pass_s=slow_pass)
    engine.submit(request(1, 60, 5))
    engine.play()
    engine.submit(background(2, 600))
    assert num_tokens_of(engine.run_pass(), 1) < 256
    engine.clock.now_s += RECENT_S + 1
    assert num_tokens_of(engine.run_pass(), 1) == 256
    engine.play()
    engine.check_all_ended()


def test_without_a_target_passes_are_filled() -> None:
    engine = SimulatedEngine(limits=replace(AT_ONCE, max_pass_s=None), pass_s=slow_pass)
    engine.submit(request(1, 60, 300))
    for _ in range(4):
        engine.run_pass()
    engine.submit(request(2, 900, 5))
    assert num_tokens_of(engine.run_pass(), 1) == 255


@pytest.mark.parametrize("pass_s", [weights_and_rows, slow_pass])
def test_background_at_most_doubles_the_time_to_first_token(pass_s: Callable[[int], float]) -> None:
    """p95 of chats alone, and of the same chats while documents are read and summarised, in simulated time."""
    random = Random(3)
    chats = [(20.0 + 3.0 * i + random.random(), request(i, random.randint(48, 192), 16)) for i in range(60)]
    documents = [(0.5 * i, background(1000 + i, 900, 60)) for i in range(300)]
    figures = []
    for load in ([], documents):
        engine = SimulatedEngine(400, pass_s=pass_s)
        for seed in range(3):
            engine.submit(request(5000 + seed, 120, 10))
        engine.play([*chats, *load][: 60 + len(load)])
        texts = {engine.requests[i].prompt_ids: engine.first_token_s(i) for i in range(len(engine.requests))}
        figures.append(sorted(texts[chat.prompt_ids] for _, chat in chats)[56])
    assert figures[1] <= 2 * figures[0]


def test_texts_do_not_depend_on_class_client_or_target() -> None:
    one = request(1, 130, 40)
    targets: list[tuple[Priority, float | None]] = [("interactive", 0.001), ("background", None), ("background", 0.01)]
    for priority, max_pass_s in targets:
        engine = SimulatedEngine(num_pages=8, limits=Limits(1, max_pass_s=max_pass_s))
        engine.submit(request(2, 100, 60))
        engine.submit(replace(one, priority=priority, client="x"))
        engine.submit(background(3, 100, 60))
        engine.play()
        assert engine.tokens[1] == slow_tokens(one)
        engine.check_all_ended()
