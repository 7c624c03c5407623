"""Tokens over HTTP: wrong, missing, revoked, limited."""

import re
from collections.abc import Iterator
from contextlib import closing

import pytest
from api_server import Served, serving
from starlette.routing import Route

from pocketseek.apps.access_tokens import TokenLimits, TokenStore
from pocketseek.apps.model_updates import ModelUpdates
from pocketseek.apps.serve.access import Caller
from pocketseek.apps.serve.app import create_app
from pocketseek.apps.serve.private_stores import PrivateStores
from pocketseek.apps.serve.services import ServeOptions
from pocketseek.settings import NetworkSettings, Settings


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that wants a token."""
    folder = tmp_path_factory.mktemp("closed")
    with (
        closing(ModelUpdates(Settings(folder, None, 1, "en"), NetworkSettings)) as updates,
        serving(folder, options=ServeOptions(require_token=True), updates=updates) as server,
    ):
        yield server


@pytest.fixture
def store(closed: Served) -> Iterator[TokenStore]:
    """As another process has it; empty again afterwards."""
    store = TokenStore(closed.folder / "tokens.json")
    yield store
    (closed.folder / "tokens.json").unlink(missing_ok=True)


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/metrics", "/api/conversations"])
@pytest.mark.parametrize("value", [None, "Bearer", "Bearer ps-wrong", "Basic cHM6eA==", "ps-wrong", "Bearer sk-any"])
def test_without_a_good_token_nothing_is_told(closed: Served, path: str, value: str | None) -> None:
    headers = {} if value is None else {"Authorization": value}
    reply = closed.client.get(path, headers=headers)
    assert reply.status_code == 401
    assert reply.json()["error"]["code"] == "invalid_api_key"
    assert reply.headers["www-authenticate"] == "Bearer"


def test_health_needs_none(closed: Served) -> None:
    assert closed.client.get("/health").json() == {"status": "ok", "heat": None}


def test_a_revoked_token_ends_at_the_next_request(closed: Served, store: TokenStore) -> None:
    _, secret = store.create("phone")
    assert closed.client.get("/v1/models", headers=bearer(secret)).status_code == 200
    store.revoke("phone")
    assert closed.client.get("/v1/models", headers=bearer(secret)).status_code == 401


def test_a_wrong_token_is_noticed_also_where_none_is_needed(served: Served) -> None:
    def ask(value: str) -> int:
        return served.client.get("/v1/models", headers={"Authorization": value}).status_code

    assert ask("Bearer ps-wrong") == ask("ps-wrong") == ask("Token ps-wrong") == ask('Bearer "ps-wrong"') == 401
    assert ask("Bearer sk-some-client-wants-one") == ask("Bearer none") == ask("Basic dTpw") == 200
    store = TokenStore(served.folder / "tokens.json")
    _, secret = store.create("phone")
    try:
        assert ask(f"Bearer {secret[1:]}") == ask(f"Bearer {secret[:-1]}") == ask("Bearer sk-any") == 401
        assert ask(f"Bearer {secret}") == ask("Bearer none") == ask("Basic dTpw") == 200
    finally:
        (served.folder / "tokens.json").unlink()


def test_requests_per_minute_are_counted_for_each_token(closed: Served, store: TokenStore) -> None:
    _, few = store.create("few", TokenLimits(requests_per_minute=2))
    _, many = store.create("many")

    def ask(secret: str) -> int:
        body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
        return closed.client.post("/v1/chat/completions", json=body, headers=bearer(secret)).status_code

    assert [ask(few) for _ in range(3)] == [200, 200, 429]
    assert ask(many) == 200


def test_a_token_may_be_for_one_model_only(closed: Served, store: TokenStore) -> None:
    _, secret = store.create("other", TokenLimits(models=("other",)))
    reply = closed.post(
        "/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}, headers=bearer(secret)
    )
    assert reply.status_code == 403
    assert reply.json()["error"]["code"] == "model_forbidden"


ASKED = {"messages": [{"role": "user", "content": "x"}]}
RECORDING = '--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n{model}\r\n--b\r\n' + (
    'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n--b--\r\n'
)
FORM = {"Content-Type": "multipart/form-data; boundary=b"}
BY_MODEL = [
    ("GET", "/v1/models/{model}", None),
    ("POST", "/v1/chat/completions", {**ASKED, "model": "{model}"}),
    ("POST", "/v1/completions", {"prompt": "x", "model": "{model}"}),
    ("POST", "/v1/embeddings", {"input": "x", "model": "{model}"}),
    ("POST", "/v1/audio/speech", {"input": "x", "model": "{model}"}),
    ("POST", "/v1/audio/transcriptions", RECORDING),
    ("POST", "/api/voice", {"model": "{model}"}),
    ("POST", "/api/conversations", {"model": "{model}"}),
    ("POST", "/api/conversations/{conversation}/turns", {"text": "x", "model": "{model}"}),
    ("POST", "/api/conversations/{conversation}/regenerate", {"model": "{model}"}),
    ("GET", "/api/documents/{file}?model={model}", None),
    ("GET", "/api/models/{model}/update", None),
    ("POST", "/api/models/{model}/update", {"new": "x"}),
    ("DELETE", "/api/models/{model}/update", None),
    ("POST", "/api/models/{model}/update/check", {}),
]
WITHOUT_MODEL = {
    "/health",
    "/openapi.json",
    "/metrics",
    "/v1/models",
    "/v1/files",
    "/v1/files/{id}",
    "/v1/files/{id}/content",
    "/v1/files/{id}/read",
    "/api/status",
    "/api/conversations/{id}",
    "/api/conversations/{id}/export",
    "/api/conversations/{id}/answer",
    "/api/conversations/{id}/stop",
    "/api/documents/{id}/passage",
}


def filled(value: object, **names: str) -> object:
    if isinstance(value, dict):
        return {key: filled(item, **names) for key, item in value.items()}
    return value.format(**names) if isinstance(value, str) else value


@pytest.mark.parametrize("model", ["fake", "nothing-of-that-name"])
@pytest.mark.parametrize(("method", "path", "body"), BY_MODEL)
def test_every_address_that_takes_a_model_respects_the_tokens_models(
    closed: Served, store: TokenStore, method: str, path: str, body: object, model: str
) -> None:
    """Also a model that is not here: what is served is told to those who may use it."""
    headers = bearer(store.create("other", TokenLimits(models=("other",)))[1])
    assert closed.services.conversations is not None
    stores = PrivateStores(closed.services.conversations)
    kept = stores.of(Caller("other", has_token=True)).create("other").info.id
    upload = closed.client.post(
        "/v1/files", files={"file": ("a.txt", b"some words")}, data={"purpose": "user_data"}, headers=headers
    ).json()["id"]
    closed.wait_until(
        lambda: closed.client.get(f"/v1/files/{upload}", headers=headers).json()["status"] == "processed", "not read"
    )
    names = {"model": model, "conversation": kept, "file": upload}
    sent = {"json": filled(body, **names)} if not isinstance(body, str) else {"content": str(filled(body, **names))}
    reply = closed.client.request(
        method, str(filled(path, **names)), headers=headers | (FORM if isinstance(body, str) else {}), **sent
    )
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "model_forbidden")
    assert "fake" not in reply.text.replace(f"the model '{model}'", "")


def test_no_address_is_forgotten(closed: Served) -> None:
    """Whoever adds one says whether it takes a model."""
    addresses = {re.sub(r"\{[^}]*\}", "{}", path.split("?")[0]) for _, path, _ in BY_MODEL}
    addresses |= {re.sub(r"\{[^}]*\}", "{}", path) for path in WITHOUT_MODEL}
    app = create_app(closed.services)
    routes = {re.sub(r"\{[^}]*\}", "{}", route.path) for route in app.routes if isinstance(route, Route)}
    assert {route for route in routes if not re.fullmatch(r"/[\w.-]*", route)} <= addresses


def test_a_token_for_some_models_sees_only_those(closed: Served, store: TokenStore) -> None:
    _, secret = store.create("other", TokenLimits(models=("other",)))
    assert closed.client.get("/v1/models", headers=bearer(secret)).json()["data"] == []
    assert closed.client.get("/metrics", headers=bearer(secret)).status_code == 403
    _, free = store.create("free")
    assert closed.client.get("/metrics", headers=bearer(free)).status_code == 200


def test_a_damaged_token_file_lets_nobody_in(closed: Served, store: TokenStore) -> None:
    _, secret = store.create("phone")
    (closed.folder / "tokens.json").write_bytes(b"{")
    assert closed.client.get("/v1/models", headers=bearer(secret)).status_code == 422
