"""Tokens over HTTP: wrong, missing, revoked, limited."""

from collections.abc import Iterator

import pytest
from api_server import Served, serving

from pocketseek.apps.access_tokens import TokenLimits, TokenStore
from pocketseek.apps.serve.services import ServeOptions


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that wants a token."""
    with serving(tmp_path_factory.mktemp("closed"), options=ServeOptions(require_token=True)) as server:
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
    assert served.client.get("/v1/models", headers=bearer("ps-wrong")).status_code == 401
    assert served.client.get("/v1/models", headers=bearer("sk-some-client-wants-one")).status_code == 200


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


def test_a_damaged_token_file_lets_nobody_in(closed: Served, store: TokenStore) -> None:
    _, secret = store.create("phone")
    (closed.folder / "tokens.json").write_bytes(b"{")
    assert closed.client.get("/v1/models", headers=bearer(secret)).status_code == 422
