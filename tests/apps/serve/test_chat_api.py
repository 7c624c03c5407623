"""/v1/chat/completions as a client sees it."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from api_server import MODEL, Served, serving

from pocketseek.runtime.work import Logits


def test_an_answer_is_whole(served: Served) -> None:
    reply = served.chat("Hello", max_tokens=5, seed=1)
    assert reply.status_code == 200, reply.text
    value = reply.json()
    assert value["object"] == "chat.completion"
    assert value["model"] == MODEL
    (choice,) = value["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["finish_reason"] in ("length", "stop")
    assert value["usage"]["completion_tokens"] <= 5
    assert value["usage"]["total_tokens"] == value["usage"]["prompt_tokens"] + value["usage"]["completion_tokens"]


def test_the_pieces_of_a_stream_are_the_whole_answer(served: Served) -> None:
    whole = served.chat("Hello", max_tokens=50, seed=1).json()["choices"][0]
    chunks = served.stream("Hello", max_tokens=50, seed=1)
    deltas = [chunk["choices"][0] for chunk in chunks]
    assert "".join(delta["delta"].get("content", "") for delta in deltas) == whole["message"]["content"]
    assert deltas[0]["delta"] == {"role": "assistant", "content": ""}
    assert [delta["finish_reason"] for delta in deltas if delta["finish_reason"]] == [whole["finish_reason"]]


def test_a_strict_schema_is_closed(served: Served) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    for seed in range(4):
        text = served.chat("Hi", response_format=wanted, seed=seed).json()["choices"][0]["message"]["content"]
        assert json.loads(text).keys() == {"ok"}


def test_a_stream_of_a_completion_that_fails_at_once_has_its_own_status(tmp_path: Path) -> None:
    def nothing(tokens: Sequence[int], vocab_size: int) -> Logits:
        return np.full(vocab_size, np.nan, np.float32)

    with serving(tmp_path, logits=nothing) as served:
        assert served.post("/v1/completions", {"prompt": "a", "stream": True}).status_code == 500


def test_usage_of_completions_tells_what_was_cached(served: Served) -> None:
    prompt = "so long that it fills a page of the memory " * 6
    usages = [served.post("/v1/completions", {"prompt": prompt, "max_tokens": 1}).json()["usage"] for _ in range(2)]
    assert usages[1]["prompt_tokens_details"]["cached_tokens"] >= 64
    assert usages[1]["completion_tokens_details"] == {"reasoning_tokens": 0}
