"""/v1/files: uploaded, read, private to whoever sent them, and gone without a trace."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_server import Served, serving
from document_files import column, pdf_bytes
from openai import OpenAI

from pocketseek.apps.access_tokens import TokenStore
from pocketseek.apps.serve.services import ServeOptions

BOUNDARY = "zqzq"
TEXT = b"The heron is a grey bird.\n\nIt waits at the water for fish.\n"
PDF = pdf_bytes([column(60, 780, ["Herons stand in shallow water."]), column(60, 780, ["They nest in high trees."])])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    options = ServeOptions(max_upload_bytes=2_000_000)
    with serving(tmp_path_factory.mktemp("files"), options=options) as server:
        yield server


def upload(client: httpx.Client, data: bytes = TEXT, name: str = "birds.txt", **fields: str) -> httpx.Response:
    return client.post("/v1/files", files={"file": (name, data)}, data={"purpose": "user_data", **fields})


def uploaded(client: httpx.Client, data: bytes = TEXT, name: str = "birds.txt") -> dict[str, Any]:
    value = upload(client, data, name).raise_for_status().json()
    assert isinstance(value, dict)
    return value


def folder(served: Served) -> Path:
    return served.folder / "uploads" / "local"


def is_anywhere(folder: Path, words: bytes) -> bool:
    return any(words in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_pdf_is_read_and_says_what_it_is(served: Served) -> None:
    file = uploaded(served.client, PDF, "herons.pdf")
    assert (file["object"], file["filename"], file["bytes"]) == ("file", "herons.pdf", len(PDF))
    served.wait_until(
        lambda: served.client.get(f"/v1/files/{file['id']}").json()["status"] == "processed", "it is not read"
    )
    document = served.client.get(f"/v1/files/{file['id']}").json()["document"]
    assert (document["title"], document["pages"]) == ("herons", 2)


def test_the_openai_client_uploads_lists_reads_and_deletes(served: Served) -> None:
    client = OpenAI(base_url=f"{served.url}/v1", api_key="none")
    file = client.files.create(file=("birds.txt", io.BytesIO(TEXT)), purpose="assistants")
    assert file.id in [one.id for one in client.files.list(purpose="assistants")]
    assert client.files.content(file.id).read() == TEXT
    assert client.files.retrieve(file.id).bytes == len(TEXT)
    assert client.files.delete(file.id).deleted
    assert file.id not in [one.id for one in client.files.list()]


def test_pages_of_the_list_follow_each_other(served: Served) -> None:
    names = [uploaded(served.client, name=f"{number}.txt")["id"] for number in range(3)]
    first = served.client.get("/v1/files", params={"limit": 2}).json()
    assert [file["id"] for file in first["data"]] == [names[2], names[1]]
    assert first["has_more"]
    then = served.client.get("/v1/files", params={"after": first["last_id"], "limit": 1}).json()
    assert [file["id"] for file in then["data"]] == [names[0]]


@pytest.mark.parametrize(
    ("data", "name", "word"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "a.pdf", "picture"),
        (b"", "a.txt", "empty"),
        (b"%PDF-1.7\nnonsense", "a.pdf", "a.pdf"),
        (b"PK\x03\x04 nonsense", "a.docx", "zip"),
    ],
)
def test_what_is_no_document_is_refused_in_one_line_and_not_kept(
    served: Served, data: bytes, name: str, word: str
) -> None:
    before = served.client.get("/v1/files").json()
    reply = upload(served.client, data, name)
    message = reply.json()["error"]["message"]
    assert 400 <= reply.status_code < 500
    assert word in message
    assert "\n" not in message
    assert str(served.folder) not in message
    assert served.client.get("/v1/files").json() == before


def test_a_deleted_file_leaves_no_trace(served: Served) -> None:
    file = uploaded(served.client, b"The secret word is quinquereme.\n")
    assert is_anywhere(folder(served), b"quinquereme")
    served.client.delete(f"/v1/files/{file['id']}").raise_for_status()
    assert not is_anywhere(folder(served), b"quinquereme")
    assert not (folder(served) / file["id"]).exists()
    assert served.client.get(f"/v1/files/{file['id']}").status_code == 404


def test_too_large_a_file_is_refused_and_nothing_of_it_stays(served: Served) -> None:
    before = sorted(folder(served).iterdir())
    reply = upload(served.client, b"word " * 420_000)
    assert reply.status_code == 413
    assert "2 MB" in reply.json()["error"]["message"]

    def unannounced() -> Iterator[bytes]:
        yield f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'.encode()
        for _ in range(300):
            yield b"word " * 2000

    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    assert served.client.post("/v1/files", content=unannounced(), headers=headers).status_code == 413
    assert sorted(folder(served).iterdir()) == before


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"{}", "application/json"),
        (b"nothing", f"multipart/form-data; boundary={BOUNDARY}"),
        (b"", f"multipart/form-data; boundary={BOUNDARY}"),
        (f"--{BOUNDARY}--\r\n".encode(), f"multipart/form-data; boundary={BOUNDARY}"),
        (b"x", "multipart/form-data"),
        (b"x", f"multipart/form-data; boundary={'b' * 300}"),
        (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhalf'.encode(),
            f"multipart/form-data; boundary={BOUNDARY}",
        ),
        (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="other"; filename="a.txt"\r\n\r\nx'.encode(),
            f"multipart/form-data; boundary={BOUNDARY}",
        ),
    ],
)
def test_a_damaged_form_is_refused_and_leaves_nothing(served: Served, content: bytes, kind: str) -> None:
    uploaded(served.client)
    before = sorted(folder(served).iterdir())
    reply = served.client.post("/v1/files", content=content, headers={"Content-Type": kind})
    assert reply.status_code in (400, 415), reply.text
    assert sorted(folder(served).iterdir()) == before


def test_a_client_that_leaves_in_the_middle_leaves_nothing(served: Served) -> None:
    uploaded(served.client)
    before = sorted(folder(served).iterdir())
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'.encode()
    with served.open_socket() as connection:
        connection.sendall(
            f"POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
            "Content-Length: 1000000\r\n\r\n".encode()
            + head
            + b"w" * 400_000
        )
        served.wait_until(lambda: sorted(folder(served).iterdir()) != before, "nothing has arrived")
    served.wait_until(lambda: sorted(folder(served).iterdir()) == before, "half a file stays")


def test_a_name_cannot_lead_elsewhere(served: Served) -> None:
    file = uploaded(served.client, name="../../../evil/..\\\x07a.txt")
    assert "/" not in file["filename"]
    assert (folder(served) / file["id"] / file["filename"]).read_bytes() == TEXT


def test_each_token_has_its_own_files(tmp_path: Path) -> None:
    tokens = TokenStore(tmp_path / "tokens.json")
    secrets = [tokens.create(name)[1] for name in ("anna", "ben")]
    with serving(tmp_path, tokens=tokens, options=ServeOptions(require_token=True)) as server:
        headers = [{"Authorization": f"Bearer {secret}"} for secret in secrets]
        reply = server.client.post("/v1/files", files={"file": ("a.txt", TEXT)}, headers=headers[0])
        path = f"/v1/files/{reply.raise_for_status().json()['id']}"
        assert server.client.get(path).status_code == 401
        assert server.client.get("/v1/files", headers=headers[1]).json()["data"] == []
        for method, tail in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
            assert server.client.request(method, path + tail, headers=headers[1]).status_code == 404
        assert server.client.get(path + "/content", headers=headers[0]).content == TEXT


def test_what_an_interruption_left_is_read_or_swept_when_the_server_comes_back(tmp_path: Path) -> None:
    from pocketseek.apps.serve.kept_files import FileStore

    store = FileStore(tmp_path / "uploads" / "local", clock=lambda: 1000.0)
    path = store.new_place("late.txt")
    path.write_bytes(TEXT)
    file = store.add(path, "user_data")
    store.close()
    with serving(tmp_path) as server:
        server.wait_until(
            lambda: server.client.get(f"/v1/files/{file.id}").json()["status"] == "processed", "it is not read"
        )
