"""Chats of the page about documents: attached, summarised, asked; what is shown of them, and what goes with a chat."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from api_server import Served, answering, serving
from document_files import column, pdf_bytes

BIRDS = pdf_bytes(
    [column(60, 780, ["Swifts sleep while they fly."]), column(60, 780, ["Herons stand in shallow water."])]
)
CAVES = "\n\n".join(f"Cave {number} of the limestone hills has water in it." for number in range(600))
ANSWER = "Herons wait in shallow water [1]."


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("documents")
    with serving(folder, logits=answering(ANSWER.encode()), context_length=8192, num_pages=128) as server:
        yield server


def uploaded(served: Served, data: bytes = BIRDS, name: str = "birds.pdf") -> str:
    file_id = served.client.post("/v1/files", files={"file": (name, data)}).raise_for_status().json()["id"]
    path = f"/v1/files/{file_id}"
    served.wait_until(lambda: served.client.get(path).json()["status"] == "processed", "it is not read")
    return str(file_id)


def about(served: Served, *file_ids: str) -> str:
    made = served.post("/api/conversations", {"documents": file_ids}).raise_for_status().json()
    return str(made["id"])


def said(served: Served, name: str, text: str, **fields: object) -> list[dict[str, Any]]:
    with served.client.stream("POST", f"/api/conversations/{name}/turns", json={"text": text, **fields}) as reply:
        assert reply.status_code == 200, reply.read()
        return [json.loads(line[6:]) for line in reply.iter_lines() if line.startswith("data: ")]


def test_a_card_says_what_the_document_is(served: Served) -> None:
    card = served.client.get(f"/api/documents/{uploaded(served)}").raise_for_status().json()
    assert (card["document"]["title"], card["document"]["pages"], card["reading"]) == ("birds", 2, None)
    assert card["tokens"] == len("Swifts sleep while they fly.\n\nHerons stand in shallow water.")


def test_an_answer_keeps_its_citations(served: Served) -> None:
    file_id = uploaded(served)
    name = about(served, file_id)
    end = said(served, name, "Where do herons stand?")[-1]
    assert end["turn"]["content"] == ANSWER
    kept = served.client.get(f"/api/conversations/{name}").json()
    assert kept["documents"] == [file_id]
    assert kept["turns"][1] == end["turn"]
    (citation,) = kept["turns"][1]["sources"]["citations"]
    assert (citation["file_id"], citation["page"]) == (file_id, 2)
    where = {"start": citation["start"], "stop": citation["stop"]}
    passage = served.client.get(f"/api/documents/{file_id}/passage", params=where).raise_for_status().json()
    assert passage["quote"] == citation["quote"] == "Herons stand in shallow water."
    assert "Swifts" in passage["before"]


def test_a_question_can_be_asked_again_of_the_whole_document(served: Served) -> None:
    name = about(served, uploaded(served, CAVES.encode(), "caves.txt"))  # too long to be shown whole at first
    assert said(served, name, "Who was Mozart?")[-1]["turn"]["sources"]["not_in_document"]
    path = f"/api/conversations/{name}/regenerate"
    reply = served.post(path, {"document_mode": "whole"}).raise_for_status()
    end = json.loads(reply.text.strip().rpartition("data: ")[2])
    assert end["turn"]["content"] == ANSWER
    coverage = end["turn"]["sources"]["coverage"]
    assert coverage["chunks_covered"] == coverage["chunks"] > 1


def test_a_chat_says_how_its_summary_was_asked_for_so_that_it_can_be_asked_again(served: Served) -> None:
    name = about(served, uploaded(served))
    wish = {"focus": "Which birds?", "length": "short", "language": "zh"}
    end = said(served, name, "Summarise", document_mode="summary", summary=wish)[-1]
    assert (end["turn"]["sources"]["mode"], end["turn"]["sources"]["summary"]) == ("summary", wish)


def test_a_stopped_summary_says_how_it_was_asked_for_too(tmp_path: Path) -> None:
    go = Event()
    with serving(tmp_path, before_run=lambda work: go.wait(30), context_length=8192, num_pages=128) as server:
        name = about(server, uploaded(server, CAVES.encode(), "caves.txt"))
        wish = {"focus": "Which caves?", "length": "short", "language": "zh"}
        body = {"text": "Summarise", "document_mode": "summary", "summary": wish}
        with server.client.stream("POST", f"/api/conversations/{name}/turns", json=body) as reply:
            next(line for line in reply.iter_lines() if '"notes"' in line)
            server.post(f"/api/conversations/{name}/stop", {}).raise_for_status()
            go.set()
        turn = server.client.get(f"/api/conversations/{name}").json()["turns"][1]
    assert turn["finish_reason"] == "cancelled"
    assert (turn["sources"]["mode"], turn["sources"]["summary"]) == ("summary", wish)


def test_nothing_of_a_deleted_chat_about_documents_is_left(tmp_path: Path) -> None:
    text = "\n\n".join(f"Ship {number} of the fleet was a quinquereme with oars." for number in range(600))
    with serving(
        tmp_path, logits=answering(b"It was a quinquereme [1]."), context_length=8192, num_pages=128
    ) as server:
        name = about(server, uploaded(server, text.encode(), "ships.txt"))
        for mode in ("passages", "whole", "summary"):
            said(server, name, "Which of the ships had oars?", document_mode=mode)
        server.client.delete(f"/api/conversations/{name}").raise_for_status()
        for word in (b"quinquereme", b"ships", b"oars", name.encode()):
            left = [path for path in tmp_path.rglob("*") if path.is_file() and word in path.read_bytes()]
            assert left == [], word


def test_a_summary_says_how_far_it_is(served: Served) -> None:
    text = "\n\n".join(f"Chapter {n} tells of a heron. " + "It waits at the water. " * 60 for n in range(6))
    name = about(served, uploaded(served, text.encode(), "long.txt"))
    updates = said(served, name, "Summarise", document_mode="summary")
    progress = [update["progress"] for update in updates if "progress" in update]
    assert progress
    assert {update["total"] for update in progress if update["phase"] == "notes"} == {
        updates[-1]["turn"]["sources"]["coverage"]["chunks"]
    }
    assert updates[-1]["turn"]["finish_reason"] == "stop"


def test_documents_come_and_go_during_a_chat(served: Served) -> None:
    name, file_id = about(served), uploaded(served)
    path = f"/api/conversations/{name}"
    served.client.patch(path, json={"documents": [file_id]}).raise_for_status()
    assert served.client.get(path).json()["documents"] == [file_id]
    served.client.patch(path, json={"documents": []}).raise_for_status()
    assert served.client.get(path).json()["documents"] == []


def test_a_deleted_chat_takes_the_files_along_that_no_other_is_about(served: Served) -> None:
    shared, own = uploaded(served), uploaded(served, b"Only here.", "own.txt")
    first, second = about(served, shared, own), about(served, shared)
    served.client.delete(f"/api/conversations/{first}").raise_for_status()
    assert served.client.get(f"/v1/files/{own}").status_code == 404
    assert served.client.get(f"/v1/files/{shared}").status_code == 200
    served.client.delete(f"/api/conversations/{second}").raise_for_status()
    assert served.client.get(f"/v1/files/{shared}").status_code == 404


@pytest.mark.parametrize("query", ["", "start=0", "start=5&stop=2", "start=0&stop=99999", "start=-1&stop=3"])
def test_a_place_that_is_none_is_refused(served: Served, query: str) -> None:
    assert served.client.get(f"/api/documents/{uploaded(served)}/passage?{query}").status_code == 400
