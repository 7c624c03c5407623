"""Embeddings through the real server: the engine's vectors, in OpenAI's form."""

import base64
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openai
import pytest
from api_server import MODEL, Served, serving

from pocketseek.apps.access_tokens import TokenLimits, TokenStore
from pocketseek.runtime.work import Work

PATH = "/v1/embeddings"


def vectors_of(served: Served, value: object, **fields: object) -> list[Sequence[float]]:
    reply = served.post(PATH, {"input": value, **fields})
    assert reply.status_code == 200, reply.text
    return [one["embedding"] for one in reply.json()["data"]]


def test_a_vector_is_the_engines_scaled_to_length_one(served: Served) -> None:
    (vector,) = vectors_of(served, "Hello there")
    expected = served.engine.embed("Hello there").astype(np.float64)
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-6)
    assert np.allclose(vector, expected / np.linalg.norm(expected), atol=1e-7)


def test_many_texts_come_back_in_their_order(served: Served) -> None:
    texts = [f"text number {i}" + "!" * (i % 7) for i in range(70)]
    reply = served.post(PATH, {"input": texts}).json()
    assert [one["index"] for one in reply["data"]] == list(range(70))
    for i in (0, 31, 32, 69):
        assert vectors_of(served, texts[i]) == [reply["data"][i]["embedding"]]
    assert reply["usage"]["prompt_tokens"] == sum(len(served.engine.encode_prompt(text)) for text in texts)
    assert "mean" in reply["pooling"]


def test_ids_and_text_are_the_same(served: Served) -> None:
    ids = list(served.engine.encode_prompt("Hello"))
    assert vectors_of(served, ids) == vectors_of(served, "Hello") == vectors_of(served, [ids])


def test_base64_holds_the_same_values(served: Served) -> None:
    (packed,) = vectors_of(served, "Hello", encoding_format="base64")
    (plain,) = vectors_of(served, "Hello", encoding_format="float")
    assert np.frombuffer(base64.b64decode(str(packed)), "<f4").tolist() == np.array(plain, np.float32).tolist()


def test_the_openai_client_gets_numbers(served: Served) -> None:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="-", max_retries=0) as client:
        answer = client.embeddings.create(model=MODEL, input=["Hello", "Bye"])
    assert [len(one.embedding) for one in answer.data] == [len(served.engine.embed("Hello"))] * 2
    assert np.allclose(answer.data[0].embedding, vectors_of(served, "Hello")[0])


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "input"),
        ({"input": ""}, "prompt"),
        ({"input": []}, "input"),
        ({"input": ["a", 3]}, "mixes"),
        ({"input": [[]]}, "prompt"),
        ({"input": [10**9]}, "token"),
        ({"input": ["a"] * 2049}, "2048"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "a", "dimensions": 100_000}, "dimensions"),
        ({"input": "a" * 5000}, "context"),
        ({"input": "a", "model": "other"}, "other"),
    ],
)
def test_what_cannot_be_embedded_is_refused(served: Served, body: dict[str, object], says: str) -> None:
    reply = served.post(PATH, body)
    assert reply.status_code in (400, 404)
    assert says in reply.json()["error"]["message"]


def test_the_dimensions_that_there_are_may_be_named(served: Served) -> None:
    (vector,) = vectors_of(served, "a")
    assert vectors_of(served, "a", dimensions=len(vector)) == [vector]


def test_a_token_for_other_models_does_not_embed(tmp_path: Path) -> None:
    tokens = TokenStore(tmp_path / "tokens.json")
    _, secret = tokens.create("phone", TokenLimits(models=("another",)))
    with serving(tmp_path, tokens=tokens) as served:
        bearer = {"Authorization": f"Bearer {secret}"}
        assert served.post(PATH, {"input": "a"}, headers=bearer).status_code == 403
        assert served.client.get("/v1/models", headers=bearer).json()["data"] == []
        assert served.client.get(f"/v1/models/{MODEL}", headers=bearer).status_code == 403


def test_who_leaves_costs_no_more_than_the_texts_that_were_begun(tmp_path: Path) -> None:
    passes: list[int] = []

    def before_run(work: Work) -> None:
        passes.append(1)
        if len(passes) == 1:
            connection.close()
            served.wait_until(lambda: served.services.admission.num_here == 0, "the request is still here")

    with serving(tmp_path, before_run=before_run) as served:
        connection = served.open_socket()
        texts = ",".join(f'"{"x" * 300} {i}"' for i in range(600))
        data = f'{{"input": [{texts}]}}'.encode()
        head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode() + data)
        served.wait_until(lambda: len(passes) > 0 and served.engine.statistics().load.num_running == 0, "it goes on")
        assert len(passes) < 20


def test_embedded_texts_are_counted(served: Served) -> None:
    vectors_of(served, ["a", "b"])
    assert f'pocketseek_embeddings_total{{model="{MODEL}"}}' in served.client.get("/metrics").text
