"""/v1/completions as a client sees it: an echo does not change how a failure is said, nor what comes first."""

import json
from pathlib import Path

import pytest
from api_server import Served, serving

from pocketseek.runtime.work import Work


def fail(work: Work) -> None:
    raise RuntimeError("the storage is gone")


@pytest.mark.parametrize("fields", [{}, {"echo": True}, {"n": 2}])
def test_what_fails_before_the_first_piece_has_its_own_status(tmp_path: Path, fields: dict[str, object]) -> None:
    with serving(tmp_path / "1", before_run=fail) as served, serving(tmp_path / "2", before_run=fail) as other:
        reply = served.post("/v1/completions", {"prompt": "Hello", "stream": True, **fields})
        chat = other.chat(stream=True)
        assert reply.status_code == chat.status_code >= 500
        assert reply.json()["error"]["message"] == chat.json()["error"]["message"]


def test_usage_is_that_of_all_prompts_together(served: Served) -> None:
    texts = ["a" * 150, "b" * 150]
    served.post("/v1/completions", {"prompt": texts, "max_tokens": 2}).raise_for_status()
    warm = served.post("/v1/completions", {"prompt": texts, "max_tokens": 2}).json()["usage"]
    alone = served.post("/v1/completions", {"prompt": texts[0], "max_tokens": 2}).json()["usage"]
    assert warm["prompt_tokens_details"]["cached_tokens"] == 2 * alone["prompt_tokens_details"]["cached_tokens"] > 0
    assert warm["total_tokens"] == warm["prompt_tokens"] + warm["completion_tokens"]


def test_an_echo_comes_first_in_a_stream(served: Served) -> None:
    body = {"prompt": "Hello", "echo": True, "stream": True, "max_tokens": 2, "n": 2}
    lines = served.post("/v1/completions", body).text.split("\n\n")
    choices = [json.loads(line[6:])["choices"][0] for line in lines[:2]]
    assert [(choice["index"], choice["text"]) for choice in choices] == [(0, "Hello"), (1, "Hello")]
    assert lines[-2] == "data: [DONE]"
