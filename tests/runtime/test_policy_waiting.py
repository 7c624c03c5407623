"""How long somebody may have to wait because of others: bounds that hold against every kind of neighbour."""

from dataclasses import replace

import pytest
from fakes import VOCAB_SIZE, random_request
from simulated_engine import SimulatedEngine

from pocketseek.runtime.policy import PATIENT_PASSES, RECENT_S, STARVED_PASSES
from pocketseek.types import Limits, Request, SamplingParams

AT_ONCE = Limits(1, coalesce_s=0.0)


def chat(seed: int, num_prompt: int = 20, max_tokens: int = 10, client: str = "") -> Request:
    return replace(random_request(seed, num_prompt, max_tokens), client=client)


def document(seed: int, num_prompt: int, max_tokens: int = 10) -> Request:
    return replace(random_request(seed, num_prompt, max_tokens), priority="background")


def test_chats_overtake_a_background_request_that_was_passed_over_and_does_not_fit() -> None:
    engine = SimulatedEngine(16, limits=AT_ONCE)
    for seed in range(2):
        engine.submit(chat(seed, 60, 260))
    engine.run_pass()
    engine.submit(document(9, 850))  # 14 pages: only when the chats have ended
    for _ in range(STARVED_PASSES + 5):
        engine.run_pass()
    newcomer = engine.submit(chat(7))
    for _ in range(12):
        engine.run_pass()
    assert engine.ended[newcomer] == "length"
    engine.play()
    engine.check_all_ended()


def test_a_large_background_request_gets_its_pages_although_chats_keep_coming() -> None:
    engine = SimulatedEngine(16, limits=AT_ONCE)
    large = engine.submit(document(9, 850))
    for number in range(3 * PATIENT_PASSES):
        engine.submit(chat(number, 100, 20))
        engine.run_pass()
    assert large in engine.ended
    engine.play()
    engine.check_all_ended()


def test_a_client_that_was_served_much_is_not_starved_by_clients_that_come_once() -> None:
    engine = SimulatedEngine(limits=replace(AT_ONCE, max_sequences=1))
    engine.submit(chat(0, 300, 20, client="regular"))
    engine.play()
    engine.submit(chat(1, 20, 5, client="guest 0"))
    regular = engine.submit(chat(2, 20, 5, client="regular"))
    for number in range(1, 400):
        engine.submit(chat(3 + number, 20, 5, client=f"guest {number}"))
        for _ in range(5):
            engine.run_pass()
        if regular in engine.ended:
            break
    assert regular in engine.ended
    assert number < 3 * STARVED_PASSES / 5
    engine.play()
    engine.check_all_ended()


@pytest.mark.parametrize("pause_s", [40.0, RECENT_S + 60.0])
def test_the_first_chat_after_a_pause_waits_no_longer_than_a_pass_may_take(pause_s: float) -> None:
    def slow_pass(num_tokens: int) -> float:
        return 0.030 + 0.0037 * num_tokens

    engine = SimulatedEngine(200, limits=AT_ONCE, pass_s=slow_pass)
    engine.submit(chat(0, 100, 40))
    engine.play()
    asked_s, idle_s = engine.clock.now_s + pause_s, engine.first_token_s(0)
    documents = [(engine.clock.now_s + i, document(10 + i, 900, 60)) for i in range(int(pause_s) // 4)]
    engine.play([*documents, (asked_s, chat(1, 100, 10))])
    late = next(i for i, one in enumerate(engine.requests) if one.prompt_ids == chat(1, 100, 10).prompt_ids)
    assert engine.asked_s[late] >= asked_s
    assert engine.first_token_s(late) <= max(2 * idle_s, idle_s + 0.3)


def test_a_guaranteed_prompt_is_read_in_full_passes_when_nothing_else_is_there() -> None:
    engine = SimulatedEngine(64, limits=replace(AT_ONCE, max_sequences=2, max_pass_s=None))
    for seed in range(2):
        engine.submit(chat(seed, 20, 100))
    engine.run_pass()
    engine.submit(document(9, 900, 1))
    while not engine.policy._guaranteed:
        engine.run_pass()
    while len(engine.ended) < 2:
        engine.run_pass()
    before = len(engine.executor.works)
    engine.clock.now_s += RECENT_S + 1
    engine.play()
    assert len(engine.executor.works) - before < 10


def test_pages_stay_where_they_are_when_only_a_place_is_wanted(tmp_path_factory: pytest.TempPathFactory) -> None:
    limits = replace(AT_ONCE, max_sequences=2)
    engine = SimulatedEngine(64, limits=limits, prefix_cache=True, swap_folder=tmp_path_factory.mktemp("swap"))
    for seed in range(2):
        engine.submit(document(seed, 130, 60))
    for _ in range(4):
        engine.run_pass()
    engine.submit(chat(9))
    engine.play()
    engine.check_all_ended()
    counts = engine.scheduler.counts()
    assert (counts.num_preemptions, counts.num_swapped_out) == (1, 0)
    assert counts.num_prompt_tokens < 2 * 130 + 20 + 64  # the full pages were still there


def test_nobody_waits_for_a_disk_longer_than_for_a_pass(tmp_path_factory: pytest.TempPathFactory) -> None:
    engine = SimulatedEngine(8, limits=AT_ONCE, swap_folder=tmp_path_factory.mktemp("swap"))
    assert engine.swap is not None
    engine.swap._bytes_per_s = 1000.0  # a page takes half a second
    engine.submit(document(1, 300, 100))
    for _ in range(3):
        engine.run_pass()
    engine.submit(chat(2, 300, 5))
    engine.play()
    engine.check_all_ended()
    counts = engine.scheduler.counts()
    assert (counts.num_preemptions, counts.num_swapped_out) == (1, 0)


def test_equal_requests_of_many_clients_wait_about_equally() -> None:
    engine = SimulatedEngine(limits=replace(AT_ONCE, max_sequences=2))
    for number in range(60):
        prompt = tuple((number + i) % VOCAB_SIZE for i in range(30))
        engine.submit(Request(prompt, 10, SamplingParams(seed=1), client=str(number % 6)))
    engine.play()
    ends_s = {client: max(engine.ended_s[i] for i in range(client, 60, 6)) for client in range(6)}
    assert max(ends_s.values()) < 1.2 * min(ends_s.values())
