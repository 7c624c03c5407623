"""The real `openai` client against the real server."""

import json
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from api_server import MODEL, Served, answering, serving

ASKED = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="anything", max_retries=0) as client:
        yield client


def test_models_are_listed_and_found(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError, match="not served here"):
        client.models.retrieve("other")


def test_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=ASKED, max_tokens=8, seed=3)
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 8
    assert answer.choices[0].message.role == "assistant"


def test_a_stream_says_what_it_used(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=ASKED, max_tokens=30, seed=3)
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=ASKED, max_tokens=30, seed=3, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage is not None
    assert whole.usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_the_first_of_several_choices_is_that_of_the_seed_alone(client: openai.OpenAI) -> None:
    one = client.chat.completions.create(model=MODEL, messages=ASKED, max_tokens=12, seed=5)
    three = client.chat.completions.create(model=MODEL, messages=ASKED, max_tokens=12, seed=5, n=3)
    assert [choice.index for choice in three.choices] == [0, 1, 2]
    assert three.choices[0].message.content == one.choices[0].message.content
    assert len({choice.message.content for choice in three.choices}) > 1


def test_text_completions_take_a_text_several_texts_or_ids(client: openai.OpenAI) -> None:
    one = client.completions.create(model=MODEL, prompt="ab", max_tokens=6, seed=1)
    ids = client.completions.create(model=MODEL, prompt=list(b"ab"), max_tokens=6, seed=1)
    both = client.completions.create(model=MODEL, prompt=["ab", "xy"], max_tokens=6, seed=1)
    echoed = client.completions.create(model=MODEL, prompt="ab", max_tokens=6, seed=1, echo=True)
    assert one.choices[0].text == ids.choices[0].text == both.choices[0].text
    assert echoed.choices[0].text == "ab" + one.choices[0].text
    assert len(both.choices) == 2


def test_wrong_values_are_bad_requests_with_a_reason(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.chat.completions.create(model=MODEL, messages=ASKED, temperature=9)
    with pytest.raises(openai.BadRequestError, match="logit_bias"):
        client.chat.completions.create(model=MODEL, messages=ASKED, logit_bias={"5": 3})
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    with pytest.raises(openai.BadRequestError, match="image_url"):
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": [picture]}])


def test_reasoning_is_apart_in_both_forms(tmp_path: Path) -> None:
    with serving(tmp_path, logits=answering(b"<think>hm</think>yes")) as served:
        message = served.chat("Hi", temperature=0).json()["choices"][0]["message"]
        assert (message["content"], message["reasoning_content"]) == ("yes", "hm")
        deltas = [event["choices"][0]["delta"] for event in served.stream("Hi", temperature=0)]
        assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "hm"
        assert "".join(delta.get("content", "") for delta in deltas) == "yes"


def test_a_tool_call_comes_whole_and_in_pieces(tmp_path: Path) -> None:
    call = b'Look:<tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>'
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    asked = {"model": MODEL, "messages": ASKED, "tools": [tool], "temperature": 0}
    with (
        serving(tmp_path, logits=answering(call)) as served,
        openai.OpenAI(base_url=f"{served.url}/v1", api_key="-") as client,
    ):
        choice = client.chat.completions.create(**asked).choices[0]
        (called,) = choice.message.tool_calls
        assert (choice.finish_reason, choice.message.content, called.function.name) == ("tool_calls", "Look:", "f")
        assert json.loads(called.function.arguments) == {"x": 1}
        chunks = [chunk.choices[0] for chunk in client.chat.completions.create(**asked, stream=True)]
        deltas = [part for chunk in chunks for part in (chunk.delta.tool_calls or ())]
        assert deltas[0].function.name == "f"
        assert json.loads("".join(part.function.arguments for part in deltas)) == {"x": 1}
        assert chunks[-1].finish_reason == "tool_calls"
        plain = client.chat.completions.create(**asked, tool_choice="none").choices[0]
        assert plain.message.content == call.decode()


def test_a_tool_that_must_be_called_is_called(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
    tool = {"type": "function", "function": {"name": "count", "parameters": schema}}
    with serving(tmp_path) as served:
        reply = served.chat("Hi", tools=[tool], tool_choice={"type": "function", "function": {"name": "count"}}, seed=1)
        (called,) = reply.json()["choices"][0]["message"]["tool_calls"]
        assert called["function"]["name"] == "count"


def test_an_answer_keeps_to_a_schema(served: Served) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    text = served.chat("Hi", response_format=wanted, seed=2).json()["choices"][0]["message"]["content"]
    assert isinstance(json.loads(text)["ok"], bool)


def test_a_schema_that_cannot_be_used_is_a_bad_request(served: Served) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "nothing"}}}
    assert served.chat("Hi", response_format=wanted).status_code == 400
