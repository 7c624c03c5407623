"""The client against a real server that misbehaves in every way: the bytes are right, or one line says why not."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from apps.repository.conftest import PATIENCE, PERSISTENCE
from web_server import Fault, WebServer, serving

from pocketseek.apps.repository import http_client
from pocketseek.apps.repository.http_client import Address, HttpClient
from pocketseek.apps.repository.rate import RateLimit
from pocketseek.errors import DownloadError, FormatError, NotFoundError
from pocketseek.settings import NetworkSettings

DATA = bytes(index * 7 % 251 for index in range(900_000))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebServer]:
    (tmp_path / "data").write_bytes(DATA)
    with serving(tmp_path) as server:
        yield server


@pytest.fixture
def client() -> Iterator[HttpClient]:
    client = HttpClient(NetworkSettings(), patience=PATIENCE, persistence=PERSISTENCE)
    yield client
    client.close()


def streamed(client: HttpClient, server: WebServer, offset: int = 0, num_bytes: int = len(DATA)) -> bytes:
    return b"".join(client.stream(Address(f"{server.url}/data"), offset, num_bytes))


@pytest.mark.parametrize("offset", [0, 1, 500_000, len(DATA) - 1, len(DATA)])
def test_a_file_comes_from_any_offset(client: HttpClient, server: WebServer, offset: int) -> None:
    assert streamed(client, server, offset) == DATA[offset:]


def test_a_server_that_knows_no_ranges_sends_all_and_the_rest_is_taken(client: HttpClient, server: WebServer) -> None:
    server.ranges = False
    assert streamed(client, server, 400_000) == DATA[400_000:]


def test_a_connection_is_used_again(client: HttpClient, server: WebServer) -> None:
    for _ in range(3):
        streamed(client, server)
    assert len(client._pools) == 1
    (pool,) = client._pools.values()
    assert pool.connection_from_url(server.url).num_connections == 1


def test_a_dropped_connection_is_gone_on_with_where_it_was(client: HttpClient, server: WebServer) -> None:
    drops = [1, 300_000, 300_001, 777_777]
    server.faults = lambda path, count: Fault("drop", at=drops[count]) if count < len(drops) else None
    assert streamed(client, server) == DATA
    asked = [0 if one.range is None else int(one.range[6:-1]) for one in server.asked]
    assert asked == sorted(asked)  # never back to what was there already
    assert asked[-1] > 700_000


def test_a_server_that_never_gets_further_is_given_up(client: HttpClient, server: WebServer) -> None:
    server.faults = lambda path, count: Fault("drop", at=10_000)
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1.*/data .*; check the connection and try again"):
        streamed(client, server)
    assert len(server.asked) <= 2 * PERSISTENCE.tries


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_passing_troubles_pass(client: HttpClient, server: WebServer, status: int) -> None:
    server.faults = lambda path, count: Fault("status", status=status) if count < 2 else None
    assert streamed(client, server) == DATA


def test_a_trouble_that_stays_is_told(client: HttpClient, server: WebServer) -> None:
    server.faults = lambda path, count: Fault("status", status=503)
    with pytest.raises(DownloadError, match="answers 503"):
        streamed(client, server)
    assert len(server.asked) == PERSISTENCE.first_tries


@pytest.mark.parametrize("status", [400, 416, 418, 501])
def test_a_refusal_is_not_asked_for_again(client: HttpClient, server: WebServer, status: int) -> None:
    server.faults = lambda path, count: Fault("status", status=status)
    with pytest.raises(DownloadError, match=f"answers {status}"):
        streamed(client, server)
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_what_may_not_be_read_is_told(client: HttpClient, server: WebServer, status: int) -> None:
    server.faults = lambda path, count: Fault("status", status=status)
    with pytest.raises(DownloadError, match="does not let us read it"):
        streamed(client, server)


def test_what_is_not_there_is_not_there(client: HttpClient, server: WebServer) -> None:
    assert client.read(Address(f"{server.url}/nothing"), 10) is None
    with pytest.raises(NotFoundError, match="/nothing is not there"):
        list(client.stream(Address(f"{server.url}/nothing"), 0, 10))


def test_retry_after_is_kept_to_and_not_for_long(client: HttpClient, server: WebServer) -> None:
    server.faults = lambda path, count: Fault("status", status=429, headers={"Retry-After": "0"}) if count < 2 else None
    assert streamed(client, server) == DATA
    later = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)
    for text in ("7200", later):
        server.faults = lambda path, count, text=text: Fault("status", status=503, headers={"Retry-After": text})
        with pytest.raises(DownloadError, match=r"asks to come back in 7\d\d\d s; try again then"):
            streamed(client, server)


@pytest.mark.parametrize("length", [len(DATA) - 1, len(DATA) + 1, 10**15])
def test_another_length_than_it_should_have_is_refused(client: HttpClient, server: WebServer, length: int) -> None:
    server.faults = lambda path, count: Fault("length", length=length)
    with pytest.raises(DownloadError, match=f"has {length} bytes and not {len(DATA)}"):
        streamed(client, server)


def test_another_range_than_was_asked_for_is_refused(client: HttpClient, server: WebServer) -> None:
    for text in ("bytes 0-9/900000", "bytes 5-9/10", "bytes 10-900000/*", "lines 10-900000/900000", ""):
        server.faults = lambda path, count, text=text: Fault(
            "status", status=206, headers={"Content-Range": text} if text else {}
        )
        with pytest.raises(DownloadError):
            streamed(client, server, 10)


def test_a_chunked_answer_is_taken(client: HttpClient, server: WebServer) -> None:
    server.faults = lambda path, count: Fault("chunked")
    assert streamed(client, server) == DATA
    assert client.read(Address(f"{server.url}/data"), len(DATA)) == DATA


def test_compression_is_neither_asked_for_nor_taken(client: HttpClient, server: WebServer) -> None:
    server.faults = lambda path, count: Fault("gzip")
    with pytest.raises(DownloadError, match="compressed"):
        streamed(client, server)


def test_an_endless_body_ends_where_it_should(client: HttpClient, server: WebServer) -> None:
    server.faults = lambda path, count: Fault("endless")
    assert len(streamed(client, server)) == len(DATA)
    with pytest.raises(FormatError, match="longer than the 100000 bytes"):
        client.read(Address(f"{server.url}/data"), 100_000)


def test_a_small_file_that_is_too_long_is_refused_before_it_is_read(client: HttpClient, server: WebServer) -> None:
    with pytest.raises(FormatError, match="longer than the 899999 bytes"):
        client.read(Address(f"{server.url}/data"), len(DATA) - 1)
    assert client.read(Address(f"{server.url}/data"), len(DATA)) == DATA


def test_a_body_that_trickles_is_given_up(client: HttpClient, server: WebServer) -> None:
    server.faults = lambda path, count: Fault("slow body", at=1000)
    with pytest.raises(DownloadError, match=r"too slow: it sends less than 1000 bytes per second"):
        streamed(client, server)


def test_headers_that_trickle_are_given_up(client: HttpClient, server: WebServer) -> None:
    server.faults = lambda path, count: Fault("slow headers")
    with pytest.raises(DownloadError, match=r"too slow: its answer does not begin|does not answer in time"):
        streamed(client, server)


def test_a_server_that_is_slow_once_is_asked_again(client: HttpClient, server: WebServer) -> None:
    server.faults = lambda path, count: Fault("slow body", at=400_000) if count == 0 else None
    assert streamed(client, server) == DATA


def test_a_redirect_is_followed_with_the_range(client: HttpClient, server: WebServer) -> None:
    server.faults = lambda path, count: (
        Fault("redirect", status=302, headers={"Location": "data"}) if path == "/moved" else None
    )
    assert b"".join(client.stream(Address(f"{server.url}/moved"), 300, len(DATA))) == DATA[300:]


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://example.org/data",
        "data:text/plain,hello",
        "javascript:alert(1)",
        "http://user:secret@127.0.0.1/data",
        "http://[::1/",
    ],
)
def test_a_redirect_elsewhere_than_http_is_not_followed(client: HttpClient, server: WebServer, location: str) -> None:
    server.faults = lambda path, count: Fault("redirect", status=302, headers={"Location": location})
    with pytest.raises(DownloadError, match=r"redirects to .*, which is not followed") as caught:
        streamed(client, server)
    assert "secret" not in str(caught.value)
    assert len(server.asked) == 1


def test_a_circle_of_redirects_ends(client: HttpClient, server: WebServer) -> None:
    server.faults = lambda path, count: Fault("redirect", status=307, headers={"Location": "/data"})
    with pytest.raises(DownloadError, match="redirects more than 5 times"):
        streamed(client, server)
    assert len(server.asked) == 6


def test_from_https_to_http_is_not_followed() -> None:
    from pocketseek.apps.repository.http_client import _redirected

    address = Address("https://example.org/data")
    with pytest.raises(DownloadError, match="from https to http"):
        _redirected(address, address.url, "http://example.org/data")
    assert _redirected(address, address.url, "https://cdn.example.org/x") == "https://cdn.example.org/x"


def test_what_authorises_us_goes_to_one_address_only(client: HttpClient, server: WebServer, tmp_path: Path) -> None:
    with serving(tmp_path) as other:
        server.faults = lambda path, count: (
            Fault("redirect", status=302, headers={"Location": f"{other.url}/data"}) if path == "/moved" else None
        )
        for path in ("data", "moved"):
            address = Address(f"{server.url}/{path}", {"Authorization": "Bearer secret"})
            assert b"".join(client.stream(address, 0, len(DATA))) == DATA
        assert [asked.authorization for asked in server.asked] == ["Bearer secret", "Bearer secret"]
        assert [asked.authorization for asked in other.asked] == [None]
        assert "secret" not in repr(address)


def test_nobody_there_is_told_soon(client: HttpClient) -> None:
    with pytest.raises(DownloadError, match="cannot be reached"):
        client.read(Address("http://127.0.0.1:9/data"), 10)
    with pytest.raises(DownloadError, match="cannot be found"):
        client.read(Address("http://no-such-host.invalid/data"), 10)


def test_an_unencrypted_server_is_no_https_server(client: HttpClient, server: WebServer) -> None:
    with pytest.raises(DownloadError, match="offers no secure connection"):
        client.read(Address(server.url.replace("http:", "https:") + "/data"), 10)


def test_closing_wakes_up_who_waits(server: WebServer) -> None:
    patient = replace(PATIENCE, read_s=60, window_s=60)
    client = HttpClient(NetworkSettings(), patience=patient, persistence=PERSISTENCE)
    server.faults = lambda path, count: Fault("slow body", at=1000)
    pieces = client.stream(Address(f"{server.url}/data"), 0, len(DATA))
    timer = threading.Timer(0.3, client.close)
    timer.start()
    with pytest.raises(DownloadError):
        list(pieces)
    timer.join()


def test_threads_share_their_connections(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    client, usual, opened, second = HttpClient(NetworkSettings()), http_client.open_pool, list[str](), threading.Event()

    def slowly(*args: object, **options: object) -> object:
        opened.append("a pool")
        if len(opened) > 1:
            second.set()
        second.wait(0.2)  # long enough for the other threads to come here, if they could
        return usual(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(http_client, "open_pool", slowly)
    threads = [threading.Thread(target=client.read, args=(Address(f"{server.url}/none"), 9)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    client.close()
    assert opened == ["a pool"]


def test_a_rate_that_was_asked_for_is_kept(server: WebServer) -> None:
    taken: list[int] = []

    class Counting(RateLimit):
        def take(self, num_bytes: int, stop: threading.Event) -> None:
            taken.append(num_bytes)

    client = HttpClient(NetworkSettings(), rate=Counting(100_000), patience=PATIENCE, persistence=PERSISTENCE)
    assert streamed(client, server) == DATA
    assert sum(taken) == len(DATA)
    assert max(taken) <= 10_000
    client.close()


def test_a_proxy_is_used_where_one_is_set(server: WebServer, tmp_path: Path) -> None:
    """A plain proxy is asked for the whole address; ours answers as the server would."""
    server.pages["http://example.org/data"] = (b"by proxy", {})
    client = HttpClient(NetworkSettings(proxies={"http": server.url}), patience=PATIENCE, persistence=PERSISTENCE)
    assert client.read(Address("http://example.org/data"), 100) == b"by proxy"
    client.close()


def test_proxies_are_chosen_by_scheme_and_left_out_by_name() -> None:
    network = NetworkSettings(proxies={"https": "http://p:1", "all": "http://q:2"}, no_proxy="example.org,.local")
    assert network.proxy_for("https://hub.test/x") == "http://p:1"
    assert network.proxy_for("http://hub.test/x") == "http://q:2"
    assert network.proxy_for("https://example.org/x") is None
    assert network.proxy_for("https://a.local:8443/x") is None
    assert network.proxy_for("http://127.0.0.1:80/x") is None


def test_messages_are_one_line(client: HttpClient, server: WebServer) -> None:
    server.faults = lambda path, count: Fault("drop", at=0)
    with pytest.raises(DownloadError) as caught:
        streamed(client, server)
    assert re.fullmatch(r"[^\n]{20,300}", str(caught.value))


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of this machine that nobody knows, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make a certificate")
    file = tmp_path_factory.mktemp("identity") / "both.pem"
    made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([openssl, *made, *names, "-keyout", file, "-out", f"{file}.crt"], check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + Path(f"{file}.crt").read_bytes())
    return file


def test_over_https_all_is_the_same(identity: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", f"{identity}.crt")
    (tmp_path / "data").write_bytes(DATA)
    client = HttpClient(NetworkSettings(), patience=PATIENCE, persistence=PERSISTENCE)
    with serving(tmp_path, identity=identity) as server:
        assert streamed(client, server, 10) == DATA[10:]
        server.faults = lambda path, count: Fault("drop", at=300_000) if count == 1 else None
        assert streamed(client, server) == DATA
        server.faults = lambda path, count: Fault("slow body", at=1000)
        with pytest.raises(DownloadError, match="too slow"):
            streamed(client, server)
        server.faults = lambda path, count: Fault("redirect", status=302, headers={"Location": "http://127.0.0.1/data"})
        with pytest.raises(DownloadError, match="from https to http, which is not followed"):
            streamed(client, server)
    client.close()


def test_a_certificate_that_nobody_knows_is_refused_at_once(identity: Path, tmp_path: Path, client: HttpClient) -> None:
    with serving(tmp_path, identity=identity) as server:
        with pytest.raises(DownloadError, match="offers no secure connection"):
            client.read(Address(f"{server.url}/data"), 10)
        assert server.asked == []
