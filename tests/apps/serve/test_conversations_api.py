"""The page's own API: conversations that are kept, answers that go on whoever looks, and nobody else's texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_server import Served, serving
from page_script import Brake, answering

from pocketseek.apps.access_tokens import TokenStore
from pocketseek.apps.serve import answer_hub
from pocketseek.apps.serve.services import ServeOptions

ANSWERS = {
    "Hello": "Good *day*.",
    "NUL": "a\x00b",
    "Long": "one two three four five six seven eight nine ten",
    "Bye": "Farewell.",
}
HELD_AT = 40


@pytest.fixture(scope="module")
def brake() -> Brake:
    return Brake()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, brake: Brake) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("api"), logits=answering(ANSWERS), before_run=brake) as server:
        yield server
        brake.release()


def new(client: httpx.Client, **fields: object) -> str:
    return str(client.post("/api/conversations", json=fields).raise_for_status().json()["id"])


def events(reply: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in reply.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line[6:])


def ask(client: httpx.Client, name: str, text: str, **fields: object) -> dict[str, Any]:
    """The last event."""
    path = f"/api/conversations/{name}/turns"
    with client.stream("POST", path, json={"text": text, **fields}) as reply:
        assert reply.status_code == 200, reply.read()
        return list(events(reply))[-1]


def get(client: httpx.Client, name: str) -> dict[str, Any]:
    value = client.get(f"/api/conversations/{name}").raise_for_status().json()
    assert isinstance(value, dict)
    return value


def test_an_answer_comes_as_html_and_is_kept(served: Served) -> None:
    name = new(served.client)
    end = ask(served.client, name, "Bye", settings={"temperature": 0})
    assert end["turn"]["content"] == "Farewell."
    kept = get(served.client, name)
    assert (kept["running"], kept["title"]) == (False, "Bye")
    assert kept["turns"][0] == {"role": "user", "content": "Bye"}
    assert kept["turns"][1] == end["turn"]


def test_what_is_shown_is_what_is_kept(served: Served) -> None:
    name = new(served.client)
    end = ask(served.client, name, "NUL")
    assert end["turn"]["content"] == "a\ufffdb"
    assert get(served.client, name)["turns"][1] == end["turn"]


def test_the_system_message_is_part_of_the_conversation(served: Served) -> None:
    name = new(served.client, system="be kind")
    assert get(served.client, name)["system"] == "be kind"
    ask(served.client, name, "Hello", settings={"max_tokens": 1})
    assert get(served.client, name)["turns"][1]["content"] != "G"  # the model was asked something else than "Hello"


def test_updates_put_together_are_the_answer(served: Served) -> None:
    blocks: list[str] = []
    with served.client.stream(
        "POST", f"/api/conversations/{new(served.client)}/turns", json={"text": "Hello"}
    ) as reply:
        for value in events(reply):
            if "answer" in value:
                blocks[value["answer"]["from"] :] = value["answer"]["html"]
    assert value["turn"]["html"] == ["<p>Good <em>day</em>.</p>\n"]
    assert blocks in ([], value["turn"]["html"]) or value["turn"]["content"].startswith("Good")


def test_an_answer_goes_on_without_its_client_and_can_be_joined(served: Served, brake: Brake) -> None:
    name = new(served.client)
    brake.set(HELD_AT)
    with served.client.stream("POST", f"/api/conversations/{name}/turns", json={"text": "Long"}) as reply:
        next(events(reply))
    assert get(served.client, name)["running"]
    with served.client.stream("GET", f"/api/conversations/{name}/answer") as reply:
        brake.release()
        assert list(events(reply))[-1]["turn"]["content"] == ANSWERS["Long"]
    served.wait_until(lambda: not get(served.client, name)["running"], "the answer does not end")
    assert served.client.get(f"/api/conversations/{name}/answer").status_code == 404


def test_only_one_answer_at_a_time(served: Served, brake: Brake) -> None:
    name = new(served.client)
    brake.set(HELD_AT)
    with served.client.stream("POST", f"/api/conversations/{name}/turns", json={"text": "Long"}) as reply:
        stream = events(reply)
        next(stream)
        assert served.post(f"/api/conversations/{name}/turns", {"text": "Hello"}).status_code == 409
        brake.release()
        list(stream)
    assert len(get(served.client, name)["turns"]) == 2


def test_stopping_cancels_the_request_and_keeps_what_came(served: Served, brake: Brake) -> None:
    name = new(served.client)
    brake.set(HELD_AT)
    with served.client.stream("POST", f"/api/conversations/{name}/turns", json={"text": "Long"}) as reply:
        stream = events(reply)
        while "answer" not in next(stream):
            pass
        assert served.post(f"/api/conversations/{name}/stop", {}).status_code == 204
        brake.release()
        turn = list(stream)[-1]["turn"]
    assert turn["finish_reason"] == "cancelled"
    assert ANSWERS["Long"].startswith(turn["content"])
    served.wait_until(lambda: served.engine.statistics().load.num_running == 0, "the request goes on")


def test_deleting_stops_the_answer_first(served: Served, brake: Brake) -> None:
    name = new(served.client)
    brake.set(HELD_AT)
    with served.client.stream("POST", f"/api/conversations/{name}/turns", json={"text": "Long"}) as reply:
        next(events(reply))
        assert served.client.delete(f"/api/conversations/{name}").status_code == 204
        brake.release()
    assert served.client.get(f"/api/conversations/{name}").status_code == 404


def test_editing_and_answering_again_replace_what_followed(served: Served) -> None:
    name = new(served.client)
    ask(served.client, name, "Hello")
    ask(served.client, name, "Bye", index=0)
    assert [turn["content"] for turn in get(served.client, name)["turns"]] == ["Bye", "Farewell."]
    with served.client.stream("POST", f"/api/conversations/{name}/regenerate", json={}) as reply:
        assert list(events(reply))[-1]["turn"]["content"] == "Farewell."
    assert [turn["content"] for turn in get(served.client, name)["turns"]] == ["Bye", "Farewell."]


def test_lists_search_names_and_files(served: Served) -> None:
    name = new(served.client)
    ask(served.client, name, "Hello")
    changed = served.client.patch(f"/api/conversations/{name}", json={"title": "<i>A greeting</i>"}).json()
    assert changed["title"] == "<i>A greeting</i>"
    first = served.client.get("/api/conversations", params={"limit": 1}).json()
    assert [one["id"] for one in first["conversations"]] == [name]
    older = served.client.get("/api/conversations", params={"before": first["before"]}).json()
    assert name not in [one["id"] for one in older["conversations"]]
    found = served.client.get("/api/conversations", params={"query": "greeting"}).json()["conversations"]
    assert [one["id"] for one in found] == [name]
    exported = served.client.get(f"/api/conversations/{name}/export", params={"format": "json"})
    assert exported.headers["content-disposition"].startswith("attachment")
    assert exported.json()["turns"][0]["content"] == "Hello"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/conversations/none", None, 404),
        ("DELETE", "/api/conversations/none", None, 404),
        ("POST", "/api/conversations/none/turns", {"text": "a"}, 404),
        ("POST", "/api/conversations/none/stop", {}, 404),
        ("GET", "/api/conversations?limit=x", None, 400),
        ("GET", "/api/conversations?before=-1", None, 400),
        ("POST", "/api/conversations", {"model": "none"}, 404),
        ("POST", "/api/conversations", {"model": 1}, 400),
    ],
)
def test_what_is_wrong_is_said(served: Served, method: str, path: str, body: object, status: int) -> None:
    reply = served.client.request(method, path, json=body) if body is not None else served.client.request(method, path)
    assert reply.status_code == status
    assert reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"text": ""}, 400),
        ({"text": " \n"}, 400),
        ({}, 400),
        ({"text": "a", "index": 7}, 400),
        ({"text": "a", "model": "none"}, 404),
        ({"text": "a", "settings": {"temperature": "hot"}}, 400),
    ],
)
def test_wrong_questions_change_nothing(served: Served, body: object, status: int) -> None:
    name = new(served.client)
    assert served.post(f"/api/conversations/{name}/turns", body).status_code == status
    assert get(served.client, name)["turns"] == []


def test_a_form_of_another_page_is_no_question(served: Served) -> None:
    name = new(served.client)
    data = json.dumps({"text": "Hello"})
    reply = served.client.post(f"/api/conversations/{name}/turns", content=data, headers={"Content-Type": "text/plain"})
    assert reply.status_code == 415


@pytest.mark.parametrize(
    "settings", [{"temperature": 9}, {"max_tokens": -1}, {"max_tokens": 0}, {"seed": -1}, {"seed": 2**63}]
)
def test_a_wrong_setting_is_refused_before_anything_is_kept(served: Served, settings: dict[str, object]) -> None:
    name = new(served.client)
    reply = served.post(f"/api/conversations/{name}/turns", {"text": "Hello", "settings": settings})
    assert reply.status_code == 400
    assert get(served.client, name)["turns"] == []


@pytest.mark.parametrize("index", [-1, -5, 7, 2**40, 2**80])
def test_a_place_that_is_not_there_is_refused(served: Served, index: int) -> None:
    name = new(served.client)
    ask(served.client, name, "Hello")
    assert served.post(f"/api/conversations/{name}/turns", {"text": "Hello", "index": index}).status_code == 400
    assert len(get(served.client, name)["turns"]) == 2


def test_stopping_twice_at_once_keeps_what_came(tmp_path: Path) -> None:
    with serving(tmp_path, logits=answering(ANSWERS)) as served:
        for _ in range(10):
            name = new(served.client)
            path = f"/api/conversations/{name}"
            with served.client.stream("POST", f"{path}/turns", json={"text": "Long"}) as reply:
                lines = reply.iter_lines()
                next(lines)
                with ThreadPoolExecutor(3) as pool:
                    stops = [pool.submit(served.post, f"{path}/stop", {}) for _ in range(3)]
                    assert {stop.result().status_code for stop in stops} == {204}
                events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
            assert "error" not in events[-1], events[-1]
            assert get(served.client, name)["turns"][-1]["role"] == "assistant"


def test_stopping_before_the_first_step_keeps_a_stopped_answer(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    start = answer_hub.AnswerHub.start

    async def start_and_stop(hub: answer_hub.AnswerHub, order: answer_hub.AnswerOrder) -> answer_hub.RunningAnswer:
        answer = await start(hub, order)
        await hub.stop(order.conversation_id)
        return answer

    monkeypatch.setattr(answer_hub.AnswerHub, "start", start_and_stop)
    end = ask(served.client, new(served.client), "Long")
    assert end["turn"]["finish_reason"] == "cancelled"


def test_a_token_has_conversations_of_its_own(tmp_path: Path) -> None:
    tokens = TokenStore(tmp_path / "tokens.json")
    secrets = [tokens.create(name)[1] for name in ("one", "two")]
    options = ServeOptions(require_token=True)
    with serving(tmp_path / "s", logits=answering(ANSWERS), tokens=tokens, options=options) as served:
        assert served.client.get("/api/conversations").status_code == 401
        one, two = (
            httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {secret}"}) for secret in secrets
        )
        with one, two:
            name = new(one)
            ask(one, name, "Hello")
            assert two.get("/api/conversations").json()["conversations"] == []
            assert two.get(f"/api/conversations/{name}").status_code == 404
            assert two.post(f"/api/conversations/{name}/stop", json={}).status_code == 404
            assert len(one.get("/api/conversations").json()["conversations"]) == 1


def test_a_server_that_ends_keeps_what_was_written(tmp_path: Path) -> None:
    brake = Brake()
    options = ServeOptions(shutdown_s=0.0)
    with serving(tmp_path, logits=answering(ANSWERS), before_run=brake, options=options) as served:
        name = new(served.client)
        brake.set(HELD_AT)
        with served.client.stream("POST", f"/api/conversations/{name}/turns", json={"text": "Long"}) as reply:
            stream = events(reply)
            while "answer" not in next(stream):
                pass
        served.server.stop()
        brake.release()
    with serving(tmp_path, logits=answering(ANSWERS)) as served:
        turns = get(served.client, name)["turns"]
        assert turns[0]["content"] == "Long"
        assert all(ANSWERS["Long"].startswith(turn["content"]) for turn in turns[1:])


def test_the_gauge_is_answered(served: Served) -> None:
    status = served.client.get("/api/status").json()
    assert status["tokens_per_s"] >= 0
    assert status["memory_bytes"] > 1_000_000
