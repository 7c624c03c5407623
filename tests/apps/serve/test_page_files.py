"""The page's files: safe headers, cheap when asked for again, no way out of the folder."""

import re
from pathlib import Path

import pytest
from api_server import Served

from pocketseek.apps.serve.page_files import page_files

FILES = {file.path: file for file in page_files()}


@pytest.mark.parametrize("path", sorted(FILES))
def test_every_file_is_served_under_a_strict_policy(served: Served, path: str) -> None:
    reply = served.client.get(path)
    assert reply.status_code == 200
    assert reply.content == FILES[path].body
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["referrer-policy"] == "no-referrer"


def test_what_the_browser_has_is_not_sent_again(served: Served) -> None:
    etag = served.client.get("/page.css").headers["etag"]
    reply = served.client.get("/page.css", headers={"If-None-Match": etag})
    assert (reply.status_code, reply.content) == (304, b"")


def test_text_travels_compressed_to_those_who_take_it(served: Served) -> None:
    def sent(accepted: str, path: str = "/page.css") -> tuple[str | None, int]:
        with served.client.stream("GET", path, headers={"Accept-Encoding": accepted}) as reply:
            return reply.headers.get("content-encoding"), len(b"".join(reply.iter_raw()))

    whole = len(FILES["/page.css"].body)
    encoding, num_bytes = sent("br, gzip")
    assert encoding == "gzip"
    assert num_bytes < whole / 2
    for accepted in ("identity", "br", "gzip;q=0", ""):
        assert sent(accepted) == (None, whole)
    assert sent("gzip", "/icon-512.png")[0] is None


@pytest.mark.parametrize("path", ["/../page.py", "/%2e%2e/page.py", "/web/page.css", "/index.html", "//etc/passwd"])
def test_nothing_else_is_served(served: Served, path: str) -> None:
    assert served.client.get(path).status_code == 404


def test_the_service_worker_keeps_all_that_the_page_loads_and_changes_with_any_file(tmp_path: Path) -> None:
    worker = FILES["/sw.js"].body.decode()
    loaded = re.findall(r'(?:href|src)="(/[^"#]+)"', FILES["/"].body.decode())
    for path in ["/", *loaded]:
        assert f'"{path}"' in worker.splitlines()[0] or path.endswith(".png")
    for name in ("index.html", "sw.js"):
        (tmp_path / name).write_text("a")
    before = {file.path: file.body for file in page_files(tmp_path)}["/sw.js"]
    (tmp_path / "index.html").write_text("b")
    assert {file.path: file.body for file in page_files(tmp_path)}["/sw.js"] != before
