"""Hostile clients: what they send is refused in one line, and the server goes on."""

import gc
import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from api_server import Served, chat_body, raw_chat, serving

from pocketseek.apps.access_tokens import TokenLimits, TokenStore
from pocketseek.apps.serve.endpoint import Call
from pocketseek.apps.serve.services import ServeOptions
from pocketseek.runtime.work import Work

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


def test_a_token_does_not_hold_more_bodies_than_requests(tmp_path: Path) -> None:
    """Bodies that never end count as requests that are here."""
    tokens = TokenStore(tmp_path / "tokens.json")
    _, secret = tokens.create("phone", TokenLimits(concurrent=1))
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\n"
        "Content-Length: 1000000\r\n\r\n"
    ).encode()
    with serving(tmp_path, tokens=tokens) as served:
        with served.open_socket() as first, served.open_socket() as second:
            first.sendall(head + b" " * 100_000)
            served.wait_until(lambda: served.services.bodies.num_bytes >= 100_000, "it does not arrive")
            assert served.services.admission.num_here == 1
            second.sendall(head)
            assert b" 429 " in second.recv(4096).partition(b"\r\n")[0]
        served.wait_until(lambda: served.services.bodies.num_bytes == 0, "its bytes are not given back")


def test_bodies_of_everybody_are_bounded_together(tmp_path: Path) -> None:
    with serving(tmp_path, options=ServeOptions(max_bodies_bytes=150_000)) as served, served.open_socket() as slow:
        slow.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n")
        slow.sendall(b" " * 100_000)
        served.wait_until(lambda: served.services.bodies.num_bytes >= 100_000, "it does not arrive")
        assert served.chat("x" * 100_000).status_code == 429
        assert served.chat("x", max_tokens=1).status_code == 200


def test_what_was_sent_is_not_kept_while_the_answer_is_written(tmp_path: Path) -> None:
    bodies: list[int] = []

    def before_run(work: Work) -> None:
        calls = [one for one in gc.get_objects() if type(one) is Call]  # asking others what they are may raise
        bodies.append(sum(len(one.body or b"") for one in calls))

    with serving(tmp_path, before_run=before_run) as served:
        assert served.chat("Hello", max_tokens=2, metadata={"x": "y" * 1_000_000}).status_code == 200
    assert bodies
    assert max(bodies) == 0


@pytest.mark.parametrize("log_prompts", [False, True])
def test_texts_are_in_the_log_only_when_asked_for(
    tmp_path: Path, log_prompts: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with serving(tmp_path, options=ServeOptions(log_prompts=log_prompts)) as served:
        served.chat("a secret question")
        served.post("/v1/completions", {"prompt": "a secret beginning"})
        served.post("/v1/embeddings", {"input": "a secret text"})
        served.post("/v1/chat/completions", {"messages": "a secret mistake"})
        served.client.get("/v1/models/a-secret-name")
        served.client.get("/a/secret/path?with=secrets")
        made = served.post("/api/conversations", {"system": "a secret system"}).json()["id"]
        with served.client.stream("POST", f"/api/conversations/{made}/turns", json={"text": "a secret"}) as reply:
            reply.read()
    lines = [one.getMessage() for one in caplog.records if not one.name.startswith("http")]  # the client's own
    assert any("secret" in line for line in lines) is log_prompts
    assert any("POST /v1/chat/completions 200" in line for line in lines)


def test_an_allowed_page_may_send_the_headers_of_its_client_and_sees_errors(tmp_path: Path) -> None:
    page = {"Origin": "https://friend.example"}
    options = ServeOptions(allowed_origins=("https://friend.example",), require_token=True)
    with serving(tmp_path, options=options) as served:
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,x-stainless-os",
        }
        reply = served.client.options("/v1/chat/completions", headers=page | asked)
        assert reply.headers["access-control-allow-headers"] == "authorization,x-stainless-os"
        refused = served.client.get("/v1/models", headers=page)
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, page["Origin"])
        assert refused.headers["access-control-expose-headers"] == "Retry-After"
        odd = {**asked, "Access-Control-Request-Headers": "a: b, \u00e4".encode("latin-1")}
        reply = served.client.options("/v1/chat/completions", headers={**page, **odd})
        assert reply.headers["access-control-allow-headers"] == "Authorization, Content-Type"


def test_an_allowed_page_does_not_get_the_chats(tmp_path: Path) -> None:
    options = ServeOptions(allowed_origins=("https://friend.example",))
    with serving(tmp_path, options=options) as served:
        for path in ("/api/conversations", "/metrics", "/"):
            assert served.client.get(path, headers={"Origin": "https://friend.example"}).status_code == 403


@pytest.mark.parametrize("depth", [100, 500, 900])
def test_a_deep_schema_is_a_bad_request(tmp_path: Path, depth: int) -> None:
    schema = '{"a":' * depth + "{}" + "}" * depth
    body = (
        '{"messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"schema":'
    )
    with serving(tmp_path) as served:
        reply = served.client.post("/v1/chat/completions", content=f"{body}{schema}}}}}}}")
        assert reply.status_code == 400


def test_a_schema_of_many_patterns_is_a_bad_request(tmp_path: Path) -> None:
    schema = {"allOf": [{"type": "string", "pattern": f"(.*x.{{{i}}}y.*)"} for i in range(3, 39)]}
    wanted = {"type": "json_schema", "json_schema": {"schema": schema}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    with serving(tmp_path) as served:
        assert served.chat("x", response_format=wanted).status_code == 400
        assert served.chat("x", tools=[tool], tool_choice="required").status_code == 400
        assert served.chat("x", max_tokens=1).status_code == 200


def test_a_text_that_cannot_fit_is_not_encoded(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        reply = served.chat("x" * 7_000_000)
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "context_length_exceeded")
        assert "bytes" in reply.json()["error"]["message"]
