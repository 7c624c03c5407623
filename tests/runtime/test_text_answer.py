"""An answer that is polled is the one that is waited for; both may be closed from anywhere."""

import threading

import pytest
from fakes import FakeExecutor, fake_engine

from pocketseek.errors import UsageError
from pocketseek.runtime.text_answer import TextAnswer
from pocketseek.types import SamplingParams, TextEvent

SAMPLING = SamplingParams(temperature=1.0, seed=4)


def polled(answer: TextAnswer, come: threading.Event) -> list[TextEvent]:
    events = []
    while not answer.has_ended:
        if (event := answer.poll()) is not None:
            events.append(event)
        elif not answer.has_ended:
            assert come.wait(30)
            come.clear()
    return events


def test_polling_gives_what_waiting_gives() -> None:
    with fake_engine() as engine:
        waited = list(engine.stream_text("abc", max_tokens=60, sampling=SAMPLING))
        come = threading.Event()
        (answer,) = engine.stream_text_choices("abc", 1, max_tokens=60, sampling=SAMPLING, announce=come.set)
        assert polled(answer, come) == waited
        assert answer.poll() is None


def test_several_choices_are_those_of_seeds_that_follow_each_other() -> None:
    with fake_engine() as engine:
        alone = [
            list(engine.stream_text("abc", max_tokens=20, sampling=SamplingParams(temperature=1.0, seed=seed)))
            for seed in (4, 5, 6)
        ]
        encoded = engine.encode("abc")
        together = engine.stream_text_choices(encoded, 3, max_tokens=20, sampling=SAMPLING)
        assert [list(answer) for answer in together] == alone


def test_an_encoded_prompt_gives_the_same_answer() -> None:
    with fake_engine() as engine:
        encoded = engine.encode("abc")
        assert encoded.token_ids == engine.encode_prompt("abc")
        assert list(engine.stream_text(encoded, max_tokens=9, sampling=SAMPLING)) == list(
            engine.stream_text("abc", max_tokens=9, sampling=SAMPLING)
        )


def test_closing_from_another_thread_ends_a_reader_that_waits() -> None:
    held, go_on = threading.Event(), threading.Event()

    def hold(work: object) -> None:
        held.set()
        assert go_on.wait(30)

    with fake_engine(FakeExecutor(before_run=hold)) as engine:
        answer = engine.stream_text("abc", max_tokens=500, sampling=SAMPLING)
        got: list[TextEvent] = []
        reader = threading.Thread(target=lambda: got.extend(answer))
        reader.start()
        assert held.wait(30)
        answer.close()
        go_on.set()
        reader.join(30)
        assert not reader.is_alive()
        assert len(got) <= 1


def test_too_many_choices_are_refused() -> None:
    with fake_engine() as engine, pytest.raises(UsageError, match="ask for 1 to"):
        engine.stream_text_choices("abc", 1000)


@pytest.mark.parametrize("ids", [[-1], [5, 10**6], [2**70]])
def test_ids_that_the_model_does_not_have_are_refused(ids: list[int]) -> None:
    with fake_engine() as engine, pytest.raises(UsageError):
        engine.encode(ids)
