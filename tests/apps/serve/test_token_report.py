"""Log-probabilities through the real server: those of the engine, in the forms that clients know."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openai
import pytest
from api_server import MODEL, Served, answering, serving

from pocketseek.apps.serve.token_report import TextReporter, chat_report
from pocketseek.runtime.work import Logits
from pocketseek.types import SamplingParams, TokenDetail

GREEDY = {"temperature": 0, "max_tokens": 12}


def test_a_chat_reports_the_tokens_of_its_text(served: Served) -> None:
    choice = served.chat("Hi", logprobs=True, top_logprobs=3, **GREEDY).json()["choices"][0]
    tokens = choice["logprobs"]["content"]
    text = b"".join(bytes(token["bytes"]) for token in tokens).decode("utf-8", "replace")
    assert text == choice["message"]["content"] != ""
    for token in tokens:
        tops = token["top_logprobs"]
        assert len(tops) == 3
        assert {"token": token["token"], "logprob": token["logprob"], "bytes": token["bytes"]} == tops[0]  # greedy
        assert sorted((top["logprob"] for top in tops), reverse=True) == [top["logprob"] for top in tops]


def test_the_figures_are_those_of_the_engine(served: Served) -> None:
    ids = list(b"ab")
    choice = served.post("/v1/completions", {"prompt": ids, "logprobs": 2, **GREEDY}).json()["choices"][0]
    sampling = SamplingParams(temperature=0)
    (answer,) = served.engine.generate_choices(ids, 1, max_tokens=12, sampling=sampling, logprobs=2)
    assert choice["logprobs"]["token_logprobs"] == [token.logprob for token in answer.tokens]
    assert choice["text"] == answer.text
    assert choice["text"] != ""


def test_the_reports_of_a_stream_are_those_of_the_whole_answer(served: Served) -> None:
    asked = {"logprobs": True, "top_logprobs": 2, "seed": 4, "max_tokens": 20}
    whole = served.chat("Hi", **asked).json()["choices"][0]["logprobs"]["content"]
    reports = [event["choices"][0]["logprobs"] for event in served.stream("Hi", **asked)]
    assert [token for report in reports if report for token in report["content"]] == whole


def test_without_alternatives_there_are_none(served: Served) -> None:
    tokens = served.chat("Hi", logprobs=True, **GREEDY).json()["choices"][0]["logprobs"]["content"]
    assert tokens
    assert all(token["top_logprobs"] == [] for token in tokens)
    assert served.chat("Hi", logprobs=False, **GREEDY).json()["choices"][0]["logprobs"] is None


def test_alternatives_without_logprobs_are_refused(served: Served) -> None:
    reply = served.chat("Hi", top_logprobs=2)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "top_logprobs")
    assert served.chat("Hi", logprobs=True, top_logprobs=21).status_code == 400


def test_reasoning_has_a_list_of_its_own_and_a_count(tmp_path: Path) -> None:
    with serving(tmp_path, logits=answering(b"<think>hm</think>yes")) as served:
        reply = served.chat("Hi", temperature=0, logprobs=True).json()
        report = reply["choices"][0]["logprobs"]
        assert [token["token"] for token in report["reasoning_content"]] == ["h", "m"]
        assert [token["token"] for token in report["content"]] == ["y", "e", "s"]
        details = reply["usage"]["completion_tokens_details"]
        assert details["reasoning_tokens"] == len(b"<think>hm</think>")
        events = served.stream("Hi", temperature=0, logprobs=True, stream_options={"include_usage": True})
        reasoned = [event["choices"][0]["logprobs"] for event in events if event["choices"]]
        names = [token["token"] for one in reasoned if one for token in one.get("reasoning_content", ())]
        assert names == ["h", "m"]
        assert events[-1]["usage"]["completion_tokens_details"] == details


def test_tokens_of_a_call_are_reported_once_in_a_stream(tmp_path: Path) -> None:
    call = b'<tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>'
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    with serving(tmp_path, logits=answering(call)) as served:
        events = served.stream("Hi", temperature=0, tools=[tool], logprobs=True)
        reports = [event["choices"][0]["logprobs"] for event in events]
        tokens = [token for report in reports if report for token in report["content"]]
        assert b"".join(bytes(token["bytes"]) for token in tokens) == call


def test_completions_tell_where_each_token_begins(tmp_path: Path) -> None:
    def logits(tokens: Sequence[int], vocab_size: int) -> Logits:
        row = np.zeros(vocab_size, np.float32)
        row[b"abc"[len(tokens) % 3]] = 50.0
        return row

    with serving(tmp_path, logits=logits) as served:
        body = {"prompt": "xy", "logprobs": 0, "temperature": 0, "max_tokens": 9}
        choice = served.post("/v1/completions", body).json()["choices"][0]
    report = choice["logprobs"]
    for token, offset in zip(report["tokens"], report["text_offset"], strict=True):
        assert choice["text"][offset:].startswith(token)
    assert report["text_offset"] == list(range(9))


def test_completions_stream_what_they_report_whole(served: Served) -> None:
    body = {"prompt": "ab", "logprobs": 1, "seed": 2, "max_tokens": 20}
    choice = served.post("/v1/completions", body).json()["choices"][0]
    report = choice["logprobs"]
    assert len({len(values) for values in report.values()}) == 1
    assert report["tokens"]
    with served.client.stream("POST", "/v1/completions", json={**body, "stream": True}) as reply:
        lines = [line.removeprefix("data: ") for line in reply.iter_lines() if line]
    pieces = [json.loads(line)["choices"][0]["logprobs"] for line in lines if line != "[DONE]"]
    assert {key: [one for piece in pieces for one in piece[key]] for key in report} == report


def test_a_prompt_is_not_reported_and_so_not_echoed(served: Served) -> None:
    reply = served.post("/v1/completions", {"prompt": "ab", "logprobs": 1, "echo": True})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "echo")


def test_the_openai_client_reads_both(served: Served) -> None:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="-", max_retries=0) as client:
        chat = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Hi"}], logprobs=True, top_logprobs=2, max_tokens=5
        )
        text = client.completions.create(model=MODEL, prompt="ab", logprobs=2, max_tokens=5)
    assert all(math.isfinite(token.logprob) for token in chat.choices[0].logprobs.content)
    assert len(text.choices[0].logprobs.top_logprobs[0]) == 2


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_tokens_that_share_a_character_have_one_offset(cut: int) -> None:
    details = [TokenDetail(i, data, -1.0) for i, data in enumerate([b"a", b"\xe2\x82", b"\xac", b"b"])]
    reporter = TextReporter()
    first, second = reporter.report(details[:cut]), reporter.report(details[cut:])
    assert first["text_offset"] + second["text_offset"] == [0, 1, 1, 2]  # type: ignore[operator]  # lists
    assert first["tokens"] + second["tokens"] == ["a", "bytes:\\xe2\\x82", "bytes:\\xac", "b"]  # type: ignore[operator]  # lists


def test_bytes_that_are_no_text_are_given_as_numbers() -> None:
    report = chat_report([TokenDetail(7, b"\xe2\x82", -0.5, ((b"\xe2\x82", -0.5),))])
    (token,) = report["content"]  # type: ignore[misc]  # a list
    assert token["bytes"] == [0xE2, 0x82]
    assert token["top_logprobs"][0]["bytes"] == [0xE2, 0x82]
