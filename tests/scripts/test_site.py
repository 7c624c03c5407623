"""The documentation's site can be built, every page is in it, and nothing is loaded from elsewhere."""

import functools
import importlib.util
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from page_browser import CHROMIUM, PATIENT_MS, chromium

import pocketseek

ROOT = Path(__file__).parents[2]
CHECK = ROOT / "scripts" / "check_site.py"


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, CHECK, folder], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/css">',
        '<img src="x.png" srcset="x.png 1x, https://example.org/y.png 2x">',
        '<div style="background: url(https://example.org/z.png)"></div>',
        '<iframe src="HTTPS://example.org"></iframe>',
    ],
)
def test_what_a_page_loads_from_elsewhere_is_found(tmp_path: Path, html: str) -> None:
    (tmp_path / "index.html").write_text(f"<html>{html}</html>")
    ended = check(tmp_path)
    assert ended.returncode == 1
    assert "loaded from elsewhere: index.html" in ended.stderr


def test_style_sheets_are_looked_at_and_links_are_fine(tmp_path: Path) -> None:
    page = '<a href="https://example.org">there</a><link rel="canonical" href="https://example.org"><img src="x.png">'
    (tmp_path / "index.html").write_text(page)
    assert check(tmp_path).returncode == 0
    (tmp_path / "x.css").write_text('@import "https://fonts.example/css"; body { }')
    assert check(tmp_path).returncode == 1


def test_an_empty_folder_is_no_site(tmp_path: Path) -> None:
    assert "scripts/site" in check(tmp_path).stderr


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if any(importlib.util.find_spec(name) is None for name in ("mkdocs", "material", "mkdocstrings", "jieba")):
        pytest.skip("needs MkDocs Material and the rest of the extra docs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    ended = check(site)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_every_page_is_in_it_and_the_front_pages_too(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    pages |= {Path("changelog.html"), Path("contributing.html"), Path("security-policy.html")}
    assert not [page for page in pages if not (site / page).is_file()]


def test_a_broken_anchor_ends_the_build(tmp_path: Path) -> None:
    """`--quiet` would hide it from `--strict`, and so would MkDocs' own idea of what matters."""
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("needs MkDocs, extra docs")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Here\n\n[there](#nowhere)\n")
    settings = (ROOT / "mkdocs.yml").read_text("utf-8")
    rules = settings[settings.index("strict:") : settings.index("exclude_docs:")]
    (tmp_path / "mkdocs.yml").write_text(f"site_name: x\n{rules}")
    command = [sys.executable, "-m", "mkdocs", "build"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "no such anchor" in done.stderr
    assert "--quiet" not in (ROOT / "scripts" / "site").read_text("utf-8").replace("# Not --quiet", "")


def test_a_page_leads_to_the_same_page_in_the_other_language(site: Path) -> None:
    for page in (ROOT / "docs" / "zh").glob("*.md"):
        for path, other, language in (
            (f"{page.stem}.html", f"zh/{page.stem}.html", "en"),
            (f"zh/{page.stem}.html", f"../{page.stem}.html", "zh"),
        ):
            text = (site / path).read_text("utf-8")
            assert f'<html lang="{language}"' in text
            assert re.search(rf'<a href="{other}" hreflang="..?"', text), path


def test_sections_have_the_same_anchors_in_both_languages(site: Path) -> None:
    for page in (ROOT / "docs" / "zh").glob("*.md"):
        anchors = [
            re.findall(r'<h[2-6] id="([^"]+)"', (site / f).read_text("utf-8"))
            for f in (f"{page.stem}.html", f"zh/{page.stem}.html")
        ]
        assert anchors[0] == anchors[1], page.name


def test_docstrings_are_on_the_page_of_the_api(site: Path) -> None:
    assert "Open an installed model by name" in (site / "api.html").read_text("utf-8")


def test_the_api_has_every_public_name_and_what_examples_import(site: Path) -> None:
    text = (site / "api.html").read_text("utf-8")
    names = {f"pocketseek.{name}" for name in pocketseek.__all__ if name != "__version__"}
    for page in (ROOT / "docs").glob("*.md"):
        for module, imported in re.findall(
            r"^ *from (pocketseek\S*) import (.+)$", page.read_text("utf-8"), re.MULTILINE
        ):
            found = imported.split(", ")
            names |= {f"pocketseek.{one}" if one in pocketseek.__all__ else f"{module}.{one}" for one in found}
    assert [name for name in sorted(names) if f'id="{name}"' not in text] == []


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(site: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Silent, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_asks_nobody_else_for_anything_and_the_search_finds(served: str) -> None:
    asked: list[str] = []
    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(PATIENT_MS)
        page.on("request", lambda request: asked.append(request.url))
        for name in ("index", "concepts", "api", "zh/index"):
            page.goto(f"{served}/{name}.html")
            page.wait_for_load_state("networkidle")
        page.goto(f"{served}/index.html")
        page.click(".md-search__input")
        page.fill(".md-search__input", "memory")
        page.wait_for_selector(".md-search-result__item")
        page.fill(".md-search__input", "下载模型")  # words in a sentence without spaces
        page.press(".md-search__input", "End")  # the theme looks when a key goes up
        page.wait_for_selector(".md-search-result__link[href*='zh/']")
    assert [url for url in asked if not url.startswith((served, "data:", "blob:"))] == []
