"""The published document is true: whatever may be sent by it, or nearly, is answered as it says and never by a 5xx."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from api_server import Served, serving
from fake_speech import FakeSpeech
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pocketseek.apps.serve.openapi import openapi_bytes
from pocketseek.apps.serve.services import ServeOptions
from pocketseek.apps.serve.voice.desk import VoiceDesk

schema = schemathesis.openapi.from_dict(json.loads(openapi_bytes()))


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Its contexts are short, so that answers are."""
    options = ServeOptions(max_body_bytes=50_000)
    folder, voice = tmp_path_factory.mktemp("openapi"), VoiceDesk(FakeSpeech().makers())
    with serving(folder, context_length=96, num_pages=64, options=options, voice=voice) as server:
        yield server


def test_the_document_is_served(quick: Served) -> None:
    assert quick.client.get("/openapi.json").json() == json.loads(openapi_bytes())


def is_for_want_of_memory(response: Any) -> bool:
    """The one thing that no client can foresee."""
    return response.status_code == 503 and "memory" in response.json()["error"]["message"]


@schema.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_what_the_document_allows_is_answered_as_it_says(case: schemathesis.Case, quick: Served) -> None:
    response = case.call(base_url=quick.url, timeout=30)
    assert str(response.status_code) in case.operation.definition.raw["responses"]
    assert response.status_code < 500 or is_for_want_of_memory(response), response.text
    if response.status_code >= 400:
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}


PATHS = ["", "/{id}", "/{id}/export", "/{id}/turns", "/{id}/regenerate", "/{id}/answer", "/{id}/stop"]
values = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
values |= st.text(max_size=20)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "text": values,
        "index": values | st.integers(-3, 3),
        "model": st.none() | values,
        "system": values,
        "title": values,
        "settings": values | st.dictionaries(st.sampled_from(["temperature", "max_tokens", "seed"]), values),
    },
)
words = st.text(st.characters(codec="utf-8"), max_size=12)


@given(
    method=st.sampled_from(["GET", "POST", "PATCH", "DELETE"]),
    path=st.sampled_from(PATHS),
    is_known=st.booleans(),
    name=words,
    query=st.dictionaries(st.sampled_from(["query", "limit", "before", "format"]), words | st.integers().map(str)),
    body=bodies | values,
)
@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_whatever_is_sent_to_the_pages_own_calls_is_no_failure_of_the_server(
    quick: Served, method: str, path: str, is_known: bool, name: str, query: dict[str, str], body: object
) -> None:
    if is_known and "{id}" in path:
        name = quick.client.post("/api/conversations", json={}).json()["id"]
        quick.client.post(f"/api/conversations/{name}/turns", json={"text": "a", "settings": {"max_tokens": 1}})
    data = json.dumps(body).encode()
    response = quick.client.request(
        method,
        "/api/conversations" + path.format(id=quote(name, safe="")),
        params=query,
        content=data,
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code < 500 or is_for_want_of_memory(response), response.text
