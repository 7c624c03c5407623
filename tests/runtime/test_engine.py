"""The front door on a fake model: tokens, texts, scores."""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from fakes import (
    EOS_ID,
    VOCAB_SIZE,
    ByteTokenizer,
    FakeExecutor,
    FakeTemplate,
    fake_engine,
    fake_logits,
    ids_of,
    random_request,
    scripted_logits,
    slow_tokens,
)

from pocketseek.errors import ContextLengthError, UsageError
from pocketseek.govern.governor import FixedGovernor
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.sampling import log_probability
from pocketseek.text.chat_template import DEFAULT_TEMPLATE, ChatTemplate
from pocketseek.types import Message, Request, SamplingParams, TextEvent

GREEDY = SamplingParams(temperature=0.0)


def scripted_engine(answers: Mapping[bytes, bytes], opening: str = "") -> Engine:
    return fake_engine(FakeExecutor(logits=scripted_logits(answers)), template=FakeTemplate(opening))


def test_stream_yields_the_slow_loops_tokens_and_ends() -> None:
    with fake_engine() as engine:
        events = list(engine.stream(random_request(1)))
    assert ids_of(iter(events)) == slow_tokens(random_request(1))
    assert [event.finish_reason for event in events] == [None] * 14 + ["length"]


def test_requests_from_many_threads_give_the_same_texts_as_alone() -> None:
    requests = [random_request(seed, 1 + seed * 13 % 90, 10 + seed) for seed in range(24)]
    with fake_engine(num_pages=12) as engine, ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda one: ids_of(engine.stream(one)), requests))
    assert results == [slow_tokens(one) for one in requests]


def test_requests_run_together_from_the_call_on() -> None:
    all_started = threading.Event()
    executor = FakeExecutor(before_run=lambda work: all_started.wait(30))
    with fake_engine(executor) as engine:
        streams = [engine.stream(random_request(seed)) for seed in range(3)]
        all_started.set()
        assert [ids_of(stream) for stream in streams] == [slow_tokens(random_request(seed)) for seed in range(3)]
    assert len(executor.works) < 3 * 15


def test_score_gives_the_log_probability_of_every_token_after_the_first() -> None:
    ids = random_request(3, 80).prompt_ids
    with fake_engine() as engine:
        scores = engine.score(ids)
    expected = [log_probability(fake_logits(ids[:end], VOCAB_SIZE), ids[end]) for end in range(1, len(ids))]
    assert scores == expected


def test_refusals_come_before_anything_runs() -> None:
    executor = FakeExecutor(context_length=50)
    with fake_engine(executor) as engine:
        with pytest.raises(ContextLengthError):
            engine.stream(random_request(1, 51))
        with pytest.raises(UsageError):
            engine.stream(Request(()))
        with pytest.raises(UsageError):
            engine.stream_text("a", sampling=SamplingParams(temperature=-1))
        with pytest.raises(UsageError):
            engine.stream_text("")
        with pytest.raises(UsageError):
            engine.stream_text("a", stop=[""])
        with pytest.raises(UsageError):
            engine.score([])
    assert executor.works == []


def test_answer_is_clipped_to_the_context() -> None:
    with fake_engine(FakeExecutor(context_length=30)) as engine:
        assert len(ids_of(engine.stream(random_request(1, 20, 500)))) == 10


def test_context_length_is_what_the_kv_memory_allows() -> None:
    with fake_engine(num_pages=2) as engine:
        assert engine.context_length == 128


def test_generate_answers_a_conversation() -> None:
    with scripted_engine({b"<|user|>hi<|end|><|assistant|>": "Grüße!".encode()}) as engine:
        answer = engine.generate([Message("user", "hi")], sampling=GREEDY)
    assert (answer.text, answer.reasoning, answer.finish_reason) == ("Grüße!", "", "stop")
    assert (answer.num_prompt_tokens, answer.num_tokens) == (5, 8)


def test_generate_continues_a_raw_text_up_to_max_tokens() -> None:
    with scripted_engine({b"one two": b" three four"}) as engine:
        answer = engine.generate("one two", max_tokens=6, sampling=GREEDY)
    assert (answer.text, answer.finish_reason, answer.num_tokens) == (" three", "length", 6)


def test_reasoning_is_kept_apart() -> None:
    with scripted_engine({b"<|user|>q<|end|><|assistant|>": b"<think>\nhm\n</think>\n\nyes"}) as engine:
        answer = engine.generate([Message("user", "q")], sampling=GREEDY)
    assert (answer.reasoning, answer.text) == ("hm", "yes")


def test_reasoning_opened_by_the_template_is_kept_apart() -> None:
    prompt = b"<|user|>q<|end|><|assistant|><think>\n"
    with scripted_engine({prompt: b"hm</think>yes"}, opening="<think>\n") as engine:
        answer = engine.generate([Message("user", "q")], sampling=GREEDY)
    assert (answer.reasoning, answer.text) == ("hm", "yes")


@pytest.mark.parametrize("stop", ["STOP", ["x", "STOP"], ("STOP",)])
def test_stop_string_ends_the_answer_and_the_request(stop: str | list[str]) -> None:
    with scripted_engine({b"p": b"one STOP two"}) as engine:
        events = list(engine.stream_text("p", sampling=GREEDY, stop=stop))
        answer = "".join(event.text for event in events)
        assert (answer, events[-1].finish_reason, events[-1].num_tokens) == ("one ", "stop", 8)
        assert list(engine.stream_text("p", max_tokens=1, sampling=GREEDY))  # a later request, hence a later pass
        assert engine.statistics().load.num_running == 0


def test_text_is_withheld_only_while_a_stop_string_may_come() -> None:
    with scripted_engine({b"p": b"a ST b"}) as engine:
        events = list(engine.stream_text("p", sampling=GREEDY, stop=["STOP"]))
    assert [event.text for event in events if event.text] == ["a", " ", "ST ", "b"]


def test_only_the_last_event_has_a_finish_reason() -> None:
    with scripted_engine({b"p": "aé".encode()}) as engine:
        events = list(engine.stream_text("p", sampling=GREEDY))
    assert events == [TextEvent("a", num_tokens=1), TextEvent("é", num_tokens=3), TextEvent("", "", 3, "stop")]


def test_half_a_character_at_the_end_is_replaced() -> None:
    with scripted_engine({b"p": "é".encode()}) as engine:
        answer = engine.generate("p", max_tokens=1, sampling=GREEDY)
    assert (answer.text, answer.finish_reason) == ("\ufffd", "length")


def test_model_without_a_template_of_its_own_does_not_play_the_user() -> None:
    executor = FakeExecutor(logits=scripted_logits({b"User: hi\n\nAssistant:": b" yes\n\nUser: and"}))
    template, tokenizer = ChatTemplate(DEFAULT_TEMPLATE, "", ""), ByteTokenizer()
    with Engine(executor, tokenizer, template, FixedGovernor(1), num_pages=8) as engine:  # type: ignore[arg-type]
        assert engine.generate([Message("user", "hi")], sampling=GREEDY).text == " yes"
        assert engine.generate("User: hi\n\nAssistant:", sampling=GREEDY).text == " yes\n\nUser: and"


def test_same_seed_same_text_other_seed_other_text() -> None:
    with fake_engine() as engine:
        texts = [engine.generate("a", max_tokens=30, sampling=SamplingParams(seed=seed)).text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_statistics_add_up() -> None:
    with fake_engine() as engine:
        list(engine.stream(random_request(1, 20, 15)))
        engine.generate("abc", max_tokens=5, sampling=SamplingParams(seed=1))
        statistics = engine.statistics()
    assert (statistics.load.num_prompt_tokens, statistics.load.num_passes) == (23, 20)
    assert statistics.load.num_tokens == 20
    assert statistics.executor_s > 0
    assert statistics.outside_s > 0


def test_end_token_ends_an_answer() -> None:
    with scripted_engine({b"p": b""}) as engine:
        assert list(engine.stream(Request((112,), 5, GREEDY, (EOS_ID,))))[-1].finish_reason == "stop"
        assert engine.generate("p", sampling=GREEDY).text == ""
