"""`model: "base:adapter"`: listed, asked for, and allowed to whom the base is allowed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from api_server import Served, serving
from peft_folders import write_peft
from tiny_models import tiny_hf_directory

from pocketseek.adapt.add import add_adapter
from pocketseek.apps.access_tokens import TokenLimits, TokenStore
from pocketseek.apps.installed_adapters import InstalledAdapters
from pocketseek.apps.library import served_model
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.runtime.load import load


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("home")
    models = home / "models"
    base = convert_checkpoint(tiny_hf_directory(home / "hf"), models / "base", models_dir=models)
    for number, name in enumerate(("law", "verse")):
        add_adapter(write_peft(home / f"p{number}", seed=number), base, models / name)
    with serving(
        home / "server",
        models=[served_model("base", base)],
        open_engine=lambda model: load(model.path, prefix_store_bytes=0),
        tokens=TokenStore(home / "tokens.json"),
        adapters_of=InstalledAdapters(models).of,
    ) as server:
        yield server


@pytest.fixture(autouse=True)
def _home(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are opened when they are first asked for."""
    monkeypatch.setenv("POCKETSEEK_HOME", str(served.folder.parent))


def answer(served: Served, model: str, **keywords: object) -> str:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 8,
        "seed": 1,
        "temperature": 1,
    }
    reply = served.post("/v1/chat/completions", body, **keywords)
    assert reply.status_code == 200, reply.text
    assert reply.json()["model"] == model
    return str(reply.json()["choices"][0]["message"]["content"])


def test_models_with_adapters_are_listed_under_their_base(served: Served) -> None:
    models = served.client.get("/v1/models").json()["data"]
    assert [(model["id"], model.get("parent")) for model in models] == [
        ("base", None),
        ("base:law", "base"),
        ("base:verse", "base"),
    ]
    assert served.client.get("/v1/models/base:law").json()["parent"] == "base"


def test_each_answers_in_its_own_way(served: Served) -> None:
    texts = [answer(served, model) for model in ("base", "base:law", "base:verse", "base")]
    assert len(set(texts)) == 3
    assert texts[0] == texts[3]
    assert len(served.services.models.loaded_engines()) == 1


def test_completions_and_embeddings_take_one_too(served: Served) -> None:
    def completion(model: str) -> object:
        body = {"model": model, "prompt": "Hi", "max_tokens": 6, "seed": 1}
        return served.post("/v1/completions", body).json()["choices"][0]["text"]

    def embedding(model: str) -> object:
        return served.post("/v1/embeddings", {"model": model, "input": "Hi"}).json()["data"][0]["embedding"]

    assert completion("base") != completion("base:law")
    assert embedding("base") != embedding("base:law")


def test_an_unknown_one_is_404_and_told_what_there_is(served: Served) -> None:
    reply = served.post("/v1/chat/completions", {"model": "base:nix", "messages": [{"role": "user", "content": "Hi"}]})
    assert reply.status_code == 404
    assert "base:law" in reply.text


def test_a_token_for_the_base_is_one_for_its_adapters_and_one_for_an_adapter_for_that_alone(served: Served) -> None:
    tokens = served.services.tokens
    secrets = {name: tokens.create(name, TokenLimits(models=(name,)))[1] for name in ("base", "base:law", "other")}

    def status(secret: str, model: str) -> int:
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        headers = {"Authorization": f"Bearer {secret}"}
        return served.post("/v1/chat/completions", body, headers=headers).status_code

    assert [status(secrets["base"], model) for model in ("base", "base:law", "base:verse")] == [200, 200, 200]
    assert [status(secrets["base:law"], model) for model in ("base", "base:law", "base:verse")] == [403, 200, 403]
    assert [status(secrets["other"], model) for model in ("base", "base:law")] == [403, 403]
    headers = {"Authorization": f"Bearer {secrets['base:law']}"}
    listed = served.client.get("/v1/models", headers=headers).json()["data"]
    assert [model["id"] for model in listed] == ["base:law"]
