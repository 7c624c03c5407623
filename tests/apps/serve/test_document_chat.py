"""Chats about uploaded files: answers from passages with citations that are really there, or after reading all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from api_server import Served, answering, serving
from document_files import column, pdf_bytes
from openai import OpenAI

from pocketseek.apps.access_tokens import TokenStore
from pocketseek.apps.serve.access import Caller
from pocketseek.apps.serve.services import ServeOptions

BIRDS = pdf_bytes(
    [
        column(60, 780, ["Swifts sleep while they fly."]),
        column(60, 780, ["Herons stand in shallow water.", "They wait there for small fish."]),
    ]
)
STONES = "Granite is made of quartz and feldspar.\n\n" + "Basalt comes out of volcanoes.\n\n" * 3
CAVES = "\n\n".join(f"Cave {number} of the limestone hills has water in it." for number in range(600))
ANSWER = "Herons wait in shallow water [1]."


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("documents")
    with serving(folder, logits=answering(ANSWER.encode()), context_length=8192, num_pages=128) as server:
        yield server


def uploaded(served: Served, data: bytes, name: str) -> str:
    file_id = served.client.post("/v1/files", files={"file": (name, data)}).raise_for_status().json()["id"]
    path = f"/v1/files/{file_id}"
    served.wait_until(lambda: served.client.get(path).json()["status"] == "processed", "it is not read")
    return str(file_id)


@pytest.fixture(scope="module")
def birds(served: Served) -> str:
    return uploaded(served, BIRDS, "birds.pdf")


@pytest.fixture(scope="module")
def stones(served: Served) -> str:
    return uploaded(served, STONES.encode(), "stones.txt")


@pytest.fixture(scope="module")
def caves(served: Served) -> str:
    """Too long to be shown whole."""
    return uploaded(served, CAVES.encode(), "caves.txt")


def is_anywhere(folder: Path, words: bytes) -> bool:
    return any(
        words in str(path).encode() or words in path.read_bytes() for path in folder.rglob("*") if path.is_file()
    )


def check_citation(citation: dict[str, Any], file_id: str) -> None:
    assert citation["file_id"] == file_id
    assert (citation["document"], citation["page"], citation["number"]) == ("birds", 2, 1)
    assert citation["quote"].startswith("Herons stand in shallow water.")
    assert citation["stop"] - citation["start"] >= len("Herons stand in shallow water.")


def test_an_answer_comes_with_citations_that_are_there(served: Served, birds: str, stones: str) -> None:
    value = served.chat("Where do herons stand?", documents=[birds, stones]).raise_for_status().json()
    assert value["choices"][0]["message"]["content"] == ANSWER
    assert value["choices"][0]["finish_reason"] == "stop"
    assert not value["not_in_document"]
    assert value["usage"]["completion_tokens"] > 0
    (citation,) = value["citations"]
    check_citation(citation, birds)


def test_a_stream_ends_with_the_citations(served: Served, birds: str) -> None:
    chunks: list[Any] = served.stream(
        "Where do herons stand?", documents=[birds], stream_options={"include_usage": True}
    )
    text = "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])
    last, usage = chunks[-2:]
    assert text == ANSWER
    assert last["choices"][0]["finish_reason"] == "stop"
    check_citation(last["citations"][0], birds)
    assert usage["usage"]["total_tokens"] > len(ANSWER)
    assert [chunk for chunk in chunks[:-2] if "citations" in chunk] == []


def test_openais_file_parts_name_documents_too(served: Served, birds: str) -> None:
    client = OpenAI(base_url=f"{served.url}/v1", api_key="none")
    parts: Any = [{"type": "file", "file": {"file_id": birds}}, {"type": "text", "text": "Where do herons stand?"}]
    answer = client.chat.completions.create(model="fake", messages=[{"role": "user", "content": parts}])
    assert answer.choices[0].message.content == ANSWER
    assert answer.model_extra is not None
    check_citation(answer.model_extra["citations"][0], birds)


def test_what_no_passage_of_a_long_document_speaks_of_is_said_without_asking_the_model(
    served: Served, caves: str
) -> None:
    before = served.engine.statistics().executor_s
    value = served.chat("Who painted the Mona Lisa?", documents=[caves]).json()
    assert value["not_in_document"]
    assert value["citations"] == []
    assert value["choices"][0]["message"]["content"] == "Not in the document."
    assert served.engine.statistics().executor_s == before


def test_a_whole_document_is_read_for_an_answer(served: Served, stones: str) -> None:
    value = served.chat("What is granite?", documents=[stones], document_mode="whole").raise_for_status().json()
    assert value["choices"][0]["message"]["content"] == ANSWER
    assert value["coverage"]["chunks_covered"] == value["coverage"]["chunks"] >= 1
    assert value["coverage"]["characters"] >= len(STONES.strip())


def test_what_is_read_as_a_whole_is_quoted_too(served: Served, birds: str) -> None:
    value = served.chat("Where do herons stand?", documents=[birds], document_mode="whole").raise_for_status().json()
    (citation,) = value["citations"]
    check_citation(citation, birds)
    assert not citation["marked"]


def test_several_documents_are_read_as_a_whole_one_after_the_other(served: Served, birds: str, stones: str) -> None:
    body: dict[str, Any] = {"documents": [birds, stones], "document_mode": "whole"}
    chunks: list[Any] = served.stream("Where do herons stand?", **body)
    text = "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])
    shares = [chunk["progress"]["share"] for chunk in chunks if "progress" in chunk]
    assert text == ANSWER
    assert shares == sorted(shares)
    assert chunks[-1]["coverage"]["chunks_covered"] == chunks[-1]["coverage"]["chunks"] == 2


def test_a_summary_is_as_it_was_asked_for(served: Served, stones: str) -> None:
    wish = {"focus": "What is granite?", "length": "short", "language": "zh"}
    body = {"documents": [stones], "document_mode": "summary", "summary": wish}
    value = served.chat("Summarise it.", **body).raise_for_status().json()
    assert value["choices"][0]["message"]["content"] == ANSWER
    assert value["coverage"]["chunks_covered"] == 1
    assert served.services.files is not None
    options = json.loads(served.services.files.of(Caller()).summaries.list()[0].options_json)  # of the last one
    assert (options["focus"], options["num_words"], options["language"]) == ("What is granite?", 80, "zh")


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"documents": ["file-nowhere"]}, "file-nowhere"),
        ({"documents": ["DOC"], "n": 2}, "n is"),
        ({"documents": ["DOC"], "tools": [{"type": "function", "function": {"name": "a"}}]}, "tools"),
        ({"documents": ["DOC"], "response_format": {"type": "json_object"}}, "response_format"),
        ({"documents": ["DOC"], "document_mode": "half"}, "document_mode"),
        ({"documents": ["DOC", "OTHER"], "document_mode": "summary"}, "one document"),
        ({"documents": ["DOC"], "summary": {"length": "short"}}, "summary"),
        ({"documents": ["DOC"], "document_mode": "summary", "summary": {"length": 5}}, "length"),
        ({"documents": ["DOC"], "document_mode": "summary", "summary": {"language": "fr"}}, "language"),
        ({"documents": ["DOC"], "messages": [{"role": "user", "content": " "}]}, "question"),
        (
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_data": "abc"}}]}]},
            "file_id",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(
    served: Served, birds: str, stones: str, fields: dict[str, Any], word: str
) -> None:
    ids: Sequence[str] = [{"DOC": birds, "OTHER": stones}.get(one, one) for one in fields.get("documents", ())]
    body = {"messages": [{"role": "user", "content": "Why?"}], **fields} | ({"documents": ids} if ids else {})
    reply = served.post("/v1/chat/completions", body)
    message = reply.json()["error"]["message"]
    assert 400 <= reply.status_code < 500
    assert word in message
    assert "\n" not in message


def test_nobody_can_ask_another_tokens_file(tmp_path: Path) -> None:
    tokens = TokenStore(tmp_path / "tokens.json")
    anna, ben = ({"Authorization": f"Bearer {tokens.create(name)[1]}"} for name in ("anna", "ben"))
    with serving(tmp_path, tokens=tokens, options=ServeOptions(require_token=True)) as server:
        file = server.client.post("/v1/files", files={"file": ("a.txt", b"The code is 1234.")}, headers=anna).json()
        body = {"messages": [{"role": "user", "content": "What is the code?"}], "documents": [file["id"]]}
        assert server.client.post("/v1/chat/completions", json=body, headers=ben).status_code == 404


def test_nothing_of_a_deleted_file_is_left_anywhere(tmp_path: Path) -> None:
    text = "\n\n".join(f"Ship {number} of the fleet was a quinquereme with oars." for number in range(600))
    with serving(
        tmp_path, logits=answering(b"It was a quinquereme [1]."), context_length=8192, num_pages=128
    ) as server:
        file_id = uploaded(server, text.encode(), "ships.txt")
        other_id = uploaded(server, BIRDS, "birds.pdf")
        for mode in ("passages", "whole", "summary"):
            server.chat("Which ship had oars?", documents=[file_id], document_mode=mode).raise_for_status()
        server.chat("Which ship?", documents=[other_id, file_id], document_mode="whole").raise_for_status()
        assert is_anywhere(tmp_path, b"quinquereme")
        server.client.delete(f"/v1/files/{file_id}").raise_for_status()
        for word in (b"quinquereme", file_id.encode(), b"ships", b"oars"):
            assert not is_anywhere(tmp_path, word), word
        assert server.client.get(f"/v1/files/{other_id}").status_code == 200
    assert not is_anywhere(tmp_path, b"quinquereme")


def test_no_prompt_about_documents_goes_to_the_disk(tmp_path: Path) -> None:
    kept: list[bool] = []
    with serving(tmp_path, logits=answering(ANSWER.encode()), context_length=8192, num_pages=128) as server:
        file_id = uploaded(server, CAVES.encode(), "caves.txt")
        engine = server.services.models
        with engine.using(engine.default_name) as opened:
            submit = opened._worker.submit
            opened._worker.submit = lambda requests, **more: (  # type: ignore[method-assign]
                kept.extend(request.keep_on_disk for request in requests) or submit(requests, **more)
            )
        for mode in ("passages", "whole", "summary"):
            server.chat("Is there water in cave 7?", documents=[file_id], document_mode=mode).raise_for_status()
        assert len(kept) > 3
        assert not any(kept)
        server.chat("Hello").raise_for_status()
        assert kept[-1]


def test_an_answer_that_goes_round_in_circles_is_cut_off(tmp_path: Path) -> None:
    circles = b"They are called a family. " * 60
    with serving(tmp_path, logits=answering(circles), context_length=8192, num_pages=128) as server:
        file_id = uploaded(server, BIRDS, "birds.pdf")
        value = server.chat("Where do herons stand?", documents=[file_id], max_tokens=1500).json()
        assert value["choices"][0]["finish_reason"] == "length"
        assert len(value["choices"][0]["message"]["content"]) < 400


@pytest.mark.parametrize("max_tokens", [0, 1, 7])
def test_an_answer_has_no_more_tokens_than_asked_for(served: Served, birds: str, max_tokens: int) -> None:
    reply = served.chat("Where do herons stand?", documents=[birds], max_tokens=max_tokens)
    assert reply.raise_for_status().json()["usage"]["completion_tokens"] == max_tokens
