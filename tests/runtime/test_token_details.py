"""Which tokens are reported with which piece of text."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from fakes import FakeExecutor, FakeTemplate, fake_engine, random_request, scripted_logits
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.errors import UsageError
from pocketseek.runtime.token_details import TokenDetails
from pocketseek.text.text_stream import TextStream
from pocketseek.types import Message, SamplingParams, TokenDetail, TokenEvent

GREEDY = SamplingParams(temperature=0.0)
texts = st.lists(
    st.sampled_from(["<think>", "</think>", " ", "\n", "a", "bc", "é", "😀", "STOP", "ST", "</th", "<|im_end|>"])
).map("".join)


class Chunks:
    """Token i is chunk i; those of the list `special` are no text."""

    strips_leading_space = False

    def __init__(self, chunks: Sequence[bytes], special: Sequence[int] = ()) -> None:
        self._chunks = chunks
        self._special = special

    def token_bytes(self, token_id: int) -> bytes:
        return self._chunks[token_id]

    def is_special(self, token_id: int) -> bool:
        return token_id in self._special


def reported(chunks: Sequence[bytes], special: Sequence[int] = ()) -> tuple[list[TokenDetail], str, str]:
    """The tokens in the order of the pieces, and the text and the reasoning."""
    source = Chunks(chunks, special)
    stream = TextStream(source, stop=["STOP"], reasoning_start="<think>", reasoning_end="</think>")
    details = TokenDetails(source, stream)
    tokens: list[TokenDetail] = []
    text = reasoning = ""
    for token_id in range(len(chunks) + 1):
        if token_id < len(chunks):
            piece = stream.push(token_id)
            details.push(TokenEvent(token_id, -1.0))
        else:
            piece = stream.flush()
        shown = details.take(piece)
        assert piece.text or piece.reasoning or not shown
        tokens += shown
        text, reasoning = text + piece.text, reasoning + piece.reasoning
    return tokens, text, reasoning


def joined(tokens: Sequence[TokenDetail], *, is_reasoning: bool) -> str:
    return b"".join(token.data for token in tokens if token.is_reasoning == is_reasoning).decode()


@given(texts)
def test_bytes_of_tokens_that_are_single_bytes_are_the_text(text: str) -> None:
    tokens, shown, reasoning = reported([bytes([byte]) for byte in text.encode()])
    assert joined(tokens, is_reasoning=True) == reasoning
    assert joined(tokens, is_reasoning=False) == shown


@given(texts, st.lists(st.integers(1, 9)))
def test_a_token_is_reported_once_if_a_byte_of_it_shows(text: str, lengths: Sequence[int]) -> None:
    data = text.encode()
    single = {token.token_id for token in reported([bytes([byte]) for byte in data])[0]}
    chunks, spans, begin = [], [], 0
    while begin < len(data):
        end = begin + (lengths[len(chunks)] if len(chunks) < len(lengths) else 2)
        chunks.append(data[begin:end])
        spans.append(range(begin, min(end, len(data))))
        begin = end
    tokens = reported(chunks)[0]
    assert [token.token_id for token in tokens] == [i for i, span in enumerate(spans) if not single.isdisjoint(span)]


@given(st.lists(st.binary(min_size=1, max_size=3)))
def test_what_is_no_text_is_reported_as_it_is(chunks: list[bytes]) -> None:
    safe = [chunk.replace(b"S", b"s").replace(b"<", b"(") for chunk in chunks]
    assert [token.data for token in reported(safe)[0]] == safe


def test_special_tokens_and_tags_are_not_reported() -> None:
    tokens = reported([b"<think>", b"a", b"</think>", b"<|im_end|>", b"b"], special=[0, 2, 3])[0]
    assert [(token.data, token.is_reasoning) for token in tokens] == [(b"a", True), (b"b", False)]


def test_an_answers_tokens_are_those_of_the_model_with_their_alternatives() -> None:
    request = replace(random_request(5), top_logprobs=3)
    with fake_engine() as engine:
        events = [event for event in engine.stream(request) if event.token_id is not None and event.token_id < 256]
        answer = engine.generate(request.prompt_ids, max_tokens=15, sampling=request.sampling, logprobs=3)
        expected = tuple(
            TokenDetail(
                event.token_id or 0,
                engine.tokenizer.token_bytes(event.token_id or 0),
                event.logprob or 0.0,
                tuple((engine.tokenizer.token_bytes(top.token_id), top.logprob) for top in event.top_logprobs),
            )
            for event in events
        )
    assert answer.tokens == expected
    assert all(len(token.top) == 3 for token in answer.tokens)


def test_asking_for_them_does_not_change_the_answer() -> None:
    sampling = SamplingParams(temperature=1.0, seed=9)
    with fake_engine() as engine:
        plain = list(engine.stream_text("abc", max_tokens=40, sampling=sampling))
        told = list(engine.stream_text("abc", max_tokens=40, sampling=sampling, logprobs=0))
    assert [replace(event, tokens=()) for event in told] == plain
    assert not any(event.tokens for event in plain)
    assert all(token.top == () for event in told for token in event.tokens)


def test_several_answers_have_each_their_own() -> None:
    with fake_engine() as engine:
        answers = engine.generate_choices("abc", 3, max_tokens=20, sampling=SamplingParams(seed=2), logprobs=1)
        alone = [
            engine.generate("abc", max_tokens=20, sampling=SamplingParams(seed=seed), logprobs=1) for seed in (2, 3, 4)
        ]
    assert answers == alone


def test_reasoning_is_counted_with_its_tags() -> None:
    chat = [Message("user", "2+2?")]
    script = {b"<|user|>2+2?<|end|><|assistant|>": b"<think>hm</think>four"}
    with fake_engine(FakeExecutor(logits=scripted_logits(script))) as engine:
        answer = engine.generate(chat, sampling=GREEDY, logprobs=0)
    assert (answer.text, answer.reasoning) == ("four", "hm")
    assert (answer.num_tokens, answer.num_reasoning_tokens) == (21, 17)
    assert b"".join(token.data for token in answer.tokens) == b"hmfour"


def test_a_reasoning_that_the_prompt_opens_is_counted_too() -> None:
    chat = [Message("user", "2+2?")]
    script = {b"<|user|>2+2?<|end|><|assistant|><think>": b"hm</think>4"}
    with fake_engine(FakeExecutor(logits=scripted_logits(script)), template=FakeTemplate("<think>")) as engine:
        events = list(engine.stream_text(chat, sampling=GREEDY))
    assert [event.num_reasoning_tokens for event in events][-1] == 10


def test_an_answer_without_reasoning_counts_none() -> None:
    with fake_engine() as engine:
        assert engine.generate("abc", max_tokens=20).num_reasoning_tokens == 0


@pytest.mark.parametrize("logprobs", [-1, 21, True, False, 1.5])
def test_a_wrong_number_of_alternatives_is_refused(logprobs: int) -> None:
    with fake_engine() as engine, pytest.raises(UsageError, match="from 0 to 20"):
        engine.stream_text("abc", logprobs=logprobs)
