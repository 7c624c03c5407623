"""/v1/files: uploaded, read, private to whoever sent them, and gone without a trace."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pypdfium2
import pytest
from api_server import Served, serving
from document_files import W_NAMESPACE, column, docx_parts, paragraph, pdf_bytes, picture_pdf_bytes, write_zip
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


DATA = Path(__file__).parents[1] / "doc" / "data"
ENCRYPTED = (DATA / "encrypted.pdf").read_bytes()  # its password is "secret"
SCAN = (DATA / "picture.pdf").read_bytes()


def upload(client: httpx.Client, data: bytes = TEXT, name: str = "birds.txt", **fields: str) -> httpx.Response:
    return client.post("/v1/files", files={"file": (name, data)}, data={"purpose": "user_data", **fields})


def uploaded(client: httpx.Client, data: bytes = TEXT, name: str = "birds.txt") -> dict[str, Any]:
    value = upload(client, data, name).raise_for_status().json()
    assert isinstance(value, dict)
    return value


def settled(served: Served, file_id: str) -> dict[str, Any]:
    """The file, once it is read or cannot be."""

    def now() -> dict[str, Any]:
        value = served.client.get(f"/v1/files/{file_id}").raise_for_status().json()
        assert isinstance(value, dict)
        return value

    served.wait_until(lambda: now()["status"] != "uploaded", "it is not read")
    return now()


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
        for method, tail in (("GET", ""), ("GET", "/content"), ("POST", "/read"), ("DELETE", "")):
            assert server.client.request(method, path + tail, headers=headers[1], json={}).status_code == 404
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


def test_an_encrypted_file_is_opened_by_its_password_which_is_kept_nowhere(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        reply = upload(server.client, ENCRYPTED, "safe.pdf")
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "password_needed")
        reply = upload(server.client, ENCRYPTED, "safe.pdf", password="guess")
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "password_wrong")
        assert "--password" not in reply.json()["error"]["message"]
        assert server.client.get("/v1/files").json()["data"] == []
        file = upload(server.client, ENCRYPTED, "safe.pdf", password="secret").raise_for_status().json()
        assert settled(server, file["id"])["status"] == "processed"
        assert is_anywhere(tmp_path, b"text behind a password")
        assert not is_anywhere(tmp_path, b"secret")


def test_an_encrypted_file_that_was_not_read_waits_for_its_password(tmp_path: Path) -> None:
    from pocketseek.apps.serve.kept_files import FileStore

    store = FileStore(tmp_path / "uploads" / "local")
    path = store.new_place("safe.pdf")
    path.write_bytes(ENCRYPTED)
    file = store.add(path, "user_data")
    store.close()
    with serving(tmp_path) as server:
        waiting = settled(server, file.id)
        assert (waiting["status"], waiting["status_code"]) == ("error", "password_needed")
        reply = server.post(f"/v1/files/{file.id}/read", {"password": "guess"})
        assert reply.json()["error"]["code"] == "password_wrong"
        server.post(f"/v1/files/{file.id}/read", {"password": "secret"}).raise_for_status()
        read = settled(server, file.id)
        assert (read["status"], read["status_code"], read["status_details"]) == ("processed", None, None)


def test_comments_are_read_when_they_are_asked_for_at_once_or_later(served: Served, tmp_path: Path) -> None:
    body = '<w:p><w:r><w:t>Text</w:t><w:commentReference w:id="0"/></w:r></w:p>'
    note = f'<w:comments xmlns:w="{W_NAMESPACE}"><w:comment w:id="0">{paragraph("Remarkable")}</w:comment></w:comments>'
    data = write_zip(tmp_path / "a.docx", docx_parts(body) | {"word/comments.xml": note}).read_bytes()
    without = settled(served, uploaded(served.client, data, "a.docx")["id"])
    assert [remark["code"] for remark in without["document"]["remarks"]] == ["comments"]
    served.post(f"/v1/files/{without['id']}/read", {"comments": True}).raise_for_status()
    assert settled(served, without["id"])["document"]["remarks"] == []
    other = write_zip(tmp_path / "b.docx", docx_parts(body + "<w:p/>") | {"word/comments.xml": note}).read_bytes()
    file = upload(served.client, other, "b.docx", comments="true").raise_for_status().json()
    assert settled(served, file["id"])["document"]["remarks"] == []


def test_what_cannot_be_read_once_more_stays_as_it_was(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed = pypdfium2.PdfDocument.new()
    for part in (PDF, picture_pdf_bytes(bytes(100 * 140), 100, 140)):
        mixed.import_pages(pypdfium2.PdfDocument(part))
    mixed.save(tmp_path / "mixed.pdf")
    before = settled(served, uploaded(served.client, (tmp_path / "mixed.pdf").read_bytes(), "mixed.pdf")["id"])
    assert [remark["code"] for remark in before["document"]["remarks"]] == ["picture-page"]
    monkeypatch.setenv("PATH", str(tmp_path))  # no tesseract there
    reply = served.post(f"/v1/files/{before['id']}/read", {"ocr": True})
    assert "tesseract" in (reply.json()["error"]["message"] if reply.status_code != 200 else "tesseract")
    after = settled(served, before["id"])
    assert (after["status"], after["document"]) == ("processed", before["document"])
    assert "tesseract" in after["status_details"]


def test_options_that_are_no_options_are_refused_and_nothing_stays(served: Served) -> None:
    before = sorted(folder(served).iterdir())
    reply = upload(served.client, ocr="perhaps")
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "ocr")
    assert sorted(folder(served).iterdir()) == before
    file = uploaded(served.client)
    assert served.post(f"/v1/files/{file['id']}/read", {"password": 5}).status_code == 400
    assert served.client.post(f"/v1/files/{file['id']}/read", content=b"ocr=true").status_code == 415
    assert served.post("/v1/files/file-nowhere/read", {}).status_code == 404


def test_pictures_of_pages_say_so_and_are_not_kept(served: Served) -> None:
    before = served.client.get("/v1/files").json()
    reply = upload(served.client, picture_pdf_bytes(bytes(100 * 140), 100, 140), "scan.pdf")
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "only_pictures")
    assert served.client.get("/v1/files").json() == before


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="tesseract is not installed")
def test_pictures_of_pages_are_read_if_that_is_asked_for(served: Served) -> None:
    reply = upload(served.client, SCAN, "scan.pdf", ocr="true")
    assert settled(served, reply.raise_for_status().json()["id"])["document"]["remarks"] == []
    blank = upload(served.client, picture_pdf_bytes(bytes([255]) * 100 * 140, 100, 140), "blank.pdf", ocr="true")
    served.wait_until(
        lambda: served.client.get("/v1/files").json()["data"][0]["status"] != "uploaded", "it is not read"
    )
    code = (
        blank.json()["error"]["code"]
        if blank.status_code != 200
        else settled(served, blank.json()["id"])["status_code"]
    )
    assert code == "no_text"
