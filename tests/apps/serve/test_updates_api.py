"""Looking for updates and installing them over HTTP: who may, and what is told."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from api_server import MODEL, Served, serving
from apps.repository.published import Place, make_place

from pocketseek.apps.access_tokens import TokenLimits, TokenStore
from pocketseek.apps.model_pool import ServedModel
from pocketseek.apps.model_state import look_at_model
from pocketseek.apps.model_updates import ModelUpdates
from pocketseek.apps.serve.services import ServeOptions
from pocketseek.package.origin import Origin, write_origin
from pocketseek.package.trust.gatekeeper import Gatekeeper
from pocketseek.settings import NetworkSettings, Settings

UPDATE = f"/api/models/{MODEL}/update"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = make_place(tmp_path_factory.mktemp("place"))
    for folder in (place.old, place.published):
        (folder / "manifest.sig").unlink()
    return place


@pytest.fixture
def place(kept: Place, tmp_path: Path) -> Place:
    """The old version, as it was pulled."""
    place = Place(kept.old, kept.published, tmp_path / "models" / MODEL)
    write_origin(place.install_old(), Origin("https://example.org/models/m", "2026-01-31T12:00:00Z"))
    return place


@pytest.fixture
def server(place: Place, tmp_path: Path) -> Iterator[Served]:
    settings = Settings(tmp_path, None, 1, "en")
    with closing(ModelUpdates(settings, NetworkSettings)) as updates:
        updates._source = lambda path: place.source  # type: ignore[method-assign]  # instead of the network
        gate = Gatekeeper.of(settings)
        with serving(
            tmp_path / "server",
            models=(ServedModel(MODEL, place.installed),),
            state_of=lambda model: look_at_model(gate, model.path),
            options=ServeOptions(require_token=True),
            updates=updates,
        ) as server:
            _, secret = TokenStore(server.folder / "tokens.json").create("me", TokenLimits(may_update=True))
            server.client.headers["Authorization"] = f"Bearer {secret}"
            yield server


def error_code(reply: httpx.Response) -> str:
    return str(reply.json()["error"]["code"]) if reply.status_code >= 400 else ""


def test_it_is_looked_for_told_and_installed(server: Served, place: Place) -> None:
    assert server.client.get(UPDATE).json()["state"] == "none"
    found = server.post(f"{UPDATE}/check", {}).json()
    assert not found["up_to_date"]
    assert 0 < found["fetch_bytes"] < found["disk_bytes"]
    begun = server.post(UPDATE, {"new": found["new"]})
    assert (begun.status_code, begun.json()["state"]) == (202, "running")
    server.wait_until(lambda: server.client.get(UPDATE).json()["state"] == "done", "it is not installed")
    assert server.post(f"{UPDATE}/check", {}).json()["up_to_date"]


def test_the_state_of_the_model_is_told_with_its_origin(server: Served) -> None:
    facts = server.client.get(f"/v1/models/{MODEL}").json()["pocketseek"]
    assert (facts["seal"], facts["num_damaged"], facts["status"]) == ("plain", 0, "unsigned")
    assert facts["num_chunks"] > 0
    assert facts["num_bytes"] > 0
    assert facts["origin"] == {"address": "https://example.org/models/m", "pulled_at": "2026-01-31T12:00:00Z"}


def test_without_that_right_a_token_is_told_neither_origin_nor_updates(server: Served) -> None:
    _, secret = TokenStore(server.folder / "tokens.json").create("guest")
    headers = {"Authorization": f"Bearer {secret}"}
    assert server.client.get(f"/v1/models/{MODEL}", headers=headers).json()["pocketseek"]["origin"] is None
    for method, path in (("POST", f"{UPDATE}/check"), ("POST", UPDATE), ("GET", UPDATE), ("DELETE", UPDATE)):
        reply = server.client.request(method, path, json={"new": "x"}, headers=headers)
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "update_forbidden")


def test_a_token_for_some_models_updates_these_and_no_others(server: Served) -> None:
    """The right to update says nothing about models that the token may not use: they are not even told of."""
    tokens = TokenStore(server.folder / "tokens.json")
    reached = {}
    for models in ((MODEL,), ("another",), ("another", MODEL)):
        _, secret = tokens.create("-".join(models), TokenLimits(models=models, may_update=True))
        headers = {"Authorization": f"Bearer {secret}"}
        asked = (("GET", UPDATE), ("POST", f"{UPDATE}/check"), ("DELETE", UPDATE))
        replies = [server.client.request(method, path, json={}, headers=headers) for method, path in asked]
        if MODEL not in models:
            replies.append(server.client.request("POST", UPDATE, json={"new": "0" * 64}, headers=headers))
        reached[models] = {(reply.status_code, error_code(reply)) for reply in replies}
    assert reached[(MODEL,)] == reached[("another", MODEL)] == {(200, ""), (204, "")}
    assert reached[("another",)] == {(403, "model_forbidden")}
    assert server.client.get(UPDATE).json()["state"] == "none"


@pytest.mark.parametrize("body", [[], {"new": 3}, {"allow_metered": True}, {"new": "x", "allow_metered": 1}])
def test_bad_bodies_are_refused(server: Served, body: object) -> None:
    assert server.post(UPDATE, body).status_code == 400
    assert server.client.get(UPDATE).json()["state"] == "none"


def test_what_goes_wrong_is_told_in_a_line(server: Served, place: Place) -> None:
    server.post(UPDATE, {"new": "0" * 64})
    server.wait_until(lambda: server.client.get(UPDATE).json()["state"] == "failed", "it does not end")
    assert "look once more" in server.client.get(UPDATE).json()["message"]
    assert server.client.delete(UPDATE).status_code == 204
    shutil.rmtree(place.installed)
    assert server.post(f"{UPDATE}/check", {}).status_code == 404
    assert server.client.get("/api/models/other/update").status_code == 404
