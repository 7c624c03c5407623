"""Hostile clients: what they send is refused in one line, and the server goes on."""

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from api_server import Served, chat_body, raw_chat, serving

from pocketseek.apps.serve.services import ServeOptions

QUICK = ServeOptions(header_timeout_s=0.3, body_timeout_s=0.3, write_timeout_s=0.5, max_body_bytes=20_000)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server without patience."""
    with serving(tmp_path_factory.mktemp("quick"), options=QUICK) as server:
        yield server


def read_all(connection: socket.socket) -> bytes:
    """Until it is closed, or reset since the server did not read all that was sent."""
    data = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            data += piece
    return data


def sent(served: Served, data: bytes) -> bytes:
    """What comes back until the server closes the connection."""
    with served.open_socket() as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return read_all(connection)


def is_well(served: Served) -> bool:
    return served.chat(max_tokens=1).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:80", "", "[::1].evil"])
def test_names_that_are_not_ours_are_refused(served: Served, host: str) -> None:
    reply = served.client.get("/v1/models", headers={"Host": host})
    assert reply.status_code == 421
    assert reply.json()["error"]["code"] == "wrong_host"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1", "[::1]:8080", "192.168.1.7:8080"])
def test_localhost_and_addresses_are_served(served: Served, host: str) -> None:
    assert served.client.get("/v1/models", headers={"Host": host}).status_code == 200


def test_two_hosts_are_refused(served: Served) -> None:
    reply = sent(served, b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n")
    assert b" 400 " in reply.partition(b"\r\n")[0] or b" 421 " in reply.partition(b"\r\n")[0]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_pages_of_others_are_refused_with_and_without_preflight(served: Served, origin: str) -> None:
    asked = served.client.options(
        "/v1/chat/completions", headers={"Origin": origin, "Access-Control-Request-Method": "POST"}
    )
    done = served.client.post("/v1/chat/completions", json=chat_body(), headers={"Origin": origin})
    assert (asked.status_code, done.status_code) == (403, 403)
    assert "access-control-allow-origin" not in asked.headers


def test_a_script_of_another_site_without_an_origin_is_refused(served: Served) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert served.client.get("/v1/models", headers=headers).status_code == 403


def test_our_own_page_and_allowed_ones_are_served(tmp_path: Path) -> None:
    friend = "https://friend.example"
    with serving(tmp_path, options=replace(QUICK, allowed_origins=(friend,))) as served:
        assert served.client.get("/v1/models", headers={"Origin": served.url}).status_code == 200
        preflight = served.client.options("/v1/models", headers={"Origin": friend})
        reply = served.client.get("/v1/models", headers={"Origin": friend})
        assert preflight.headers["access-control-allow-origin"] == friend
        assert reply.headers["access-control-allow-origin"] == friend


def test_bodies_that_are_too_large_are_refused_announced_or_not(quick: Served) -> None:
    large = json.dumps(chat_body("x" * 30_000)).encode()
    assert quick.client.post("/v1/chat/completions", content=large).status_code == 413
    assert quick.client.post("/v1/chat/completions", content=iter([large[:15_000], large[15_000:]])).status_code == 413
    assert is_well(quick)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"messages": "x"}',
        b'{"messages": []}',
        b'{"messages": [{"role": "wizard", "content": "x"}]}',
        b'{"messages": [{"role": "user", "content": 5}]}',
        b'{"messages": [{"role": "user", "content": "x"}], "max_tokens": "many"}',
        b'{"messages": [{"role": "user", "content": "x"}], "stop": [""]}',
        b'{"messages": [{"role": "user", "content": "x"}], "n": 100000}',
        b"[" * 5_000,
        b'{"a":' * 3_000,
    ],
)
def test_malformed_bodies_are_bad_requests(quick: Served, body: bytes) -> None:
    reply = quick.client.post("/v1/chat/completions", content=body)
    assert reply.status_code == 400
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    assert "\n" not in reply.json()["error"]["message"]


def test_unpaired_surrogates_do_no_harm(quick: Served) -> None:
    data = b'{"messages": [{"role": "user", "content": "\\ud800"}], "max_tokens": 1}'
    assert quick.client.post("/v1/chat/completions", content=data).status_code in (200, 400)
    assert is_well(quick)


@pytest.mark.parametrize(
    "path", ["/../../etc/passwd", "/v1/models/..%2f..%2fetc%2fpasswd", "/%2e%2e/etc/passwd", "//etc"]
)
def test_paths_lead_nowhere_else(served: Served, path: str) -> None:
    reply = sent(served, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert b" 404 " in reply.partition(b"\r\n")[0]
    assert b"root:" not in reply


@pytest.mark.parametrize(
    "line", [b"X: " + b"y" * 100_000, b"\r\n".join(b"X-%d: y" % i for i in range(10_000)), b"X: y"]
)
def test_a_flood_of_headers_is_refused(quick: Served, line: bytes) -> None:
    path = b"/" + b"p" * (100_000 if len(line) < 10 else 1)
    reply = sent(quick, b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + line + b"\r\n\r\n")
    assert reply[9:12] in (b"400", b"431")
    assert is_well(quick)


def test_a_request_line_that_never_ends_is_refused(quick: Served) -> None:
    assert sent(quick, b"GET /" + b"x" * 100_000)[9:12] in (b"400", b"")  # a reset may overtake the answer


def test_what_is_no_http_is_refused(quick: Served) -> None:
    assert b" 400 " in sent(quick, b"\x16\x03\x01\x02\x00garbage\r\n\r\n").partition(b"\r\n")[0]
    assert is_well(quick)


def test_headers_that_never_end_are_given_up(quick: Served) -> None:
    with quick.open_socket() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 408 ")


def test_a_connection_that_says_nothing_is_given_up(quick: Served) -> None:
    with quick.open_socket() as connection:
        assert read_all(connection).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_never_ends_is_given_up(quick: Served) -> None:
    with quick.open_socket() as connection:
        connection.sendall(raw_chat()[:-5])
        reply = read_all(connection)
    assert reply.startswith(b"HTTP/1.1 408 ")
    assert quick.services.admission.num_here == 0


def test_wrong_methods_and_lengths(quick: Served) -> None:
    assert quick.client.get("/v1/chat/completions").status_code == 405
    for length in (b"-5", b"1e3", b"99999999999999999999999", b"5, 6"):
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + length
        assert sent(quick, head + b"\r\n\r\nhello")[9:12] in (b"400", b"413"), length
    assert is_well(quick)


def test_a_client_that_never_reads_loses_its_answer_and_holds_nobody(tmp_path: Path) -> None:
    options = replace(QUICK, write_timeout_s=0.3)
    with serving(tmp_path, options=options, context_length=100_000, num_pages=2000) as served:
        with served.open_socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(raw_chat(chat_body(stream=True, max_tokens=90_000, seed=1, stop=["\0" * 9])))
            served.wait_until(lambda: served.services.admission.num_here == 1, "it is not asked")
            assert is_well(served)
            served.wait_until(lambda: served.services.admission.num_here == 0, "it still holds its place")
        served.wait_until(lambda: served.engine.statistics().load.num_running == 0, "its request still runs")
        assert is_well(served)
