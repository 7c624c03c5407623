"""Addresses of web sites: what they may look like, and what of them is shown."""

from pathlib import Path

import pytest
from apps.repository.conftest import a_link
from web_server import WebServer

from pocketseek.apps.repository.http_source import HttpSource, parse_http_address
from pocketseek.errors import UsageError


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://example.org/models/tiny", "https://example.org/models/tiny"),
        ("https://example.org/models/tiny/", "https://example.org/models/tiny"),
        ("https://example.org/models/tiny/manifest.json", "https://example.org/models/tiny"),
        ("HTTP://Example.org:8080", "http://example.org:8080"),
        ("http://[::1]:80/a b".replace(" ", "%20"), "http://[::1]:80/a%20b"),
        ("https://example.org/模型", "https://example.org/%E6%A8%A1%E5%9E%8B"),
    ],
)
def test_an_address_is_that_of_the_folder(text: str, url: str) -> None:
    assert parse_http_address(text).url == url


@pytest.mark.parametrize(
    "text",
    [
        "file:///etc",
        "https://",
        "ftp://x/y",
        "https://exa mple.org/",
        "https://[::1/",
        "https://x:99999/",
        "https://x/?a=1",
        "https://x/#a",
    ],
)
def test_no_address_of_a_folder_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_http_address(text)


def test_a_password_is_sent_and_not_shown(site: WebServer) -> None:
    address = parse_http_address(site.url.replace("http://", "http://me:s%40cret@") + "/tiny")
    source = HttpSource(address, a_link().client())
    assert source.read("manifest.json", 10**6)
    assert site.asked[0].authorization == "Basic bWU6c0BjcmV0"
    assert "cret" not in source.name + repr(address)
    with pytest.raises(UsageError) as caught:
        parse_http_address("https://me:secret@example.org/?x")
    assert "secret" not in str(caught.value)
    source.close()


def test_files_are_read_below_the_folder(site: WebServer, published: Path) -> None:
    source = HttpSource(parse_http_address(f"{site.url}/tiny"), a_link().client())
    assert source.read("manifest.json", 10**6) == (published / "tiny" / "manifest.json").read_bytes()
    assert source.read("manifest.sig", 10) is None
    with pytest.raises(ValueError, match="no path"):
        source.read("../../secret", 10)
    source.close()
