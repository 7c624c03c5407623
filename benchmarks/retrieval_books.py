"""Real books for retrieval.py, out of Debian's packages: their HTML pages in order, as documents, and their headings as
questions whose answer's place is known.

A heading becomes a question if it has at least two words worth looking for and is the only one of its words in the
book: as it is if it asks (of the FAQ all do), else "What does the document say about ...?". The answer is the text from
the heading to the next one of its level or above. A Chinese heading above text that was not translated makes none.

Ranking is developed on the books that are not in HELD_OUT; of those in it nobody looks at single questions. A book and
its translation are on the same side.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lxml import html

from pocketseek.apps.doc.document import Block, BlockKind, Document, Place
from pocketseek.apps.doc.terms import wanted_terms

_SHARE = "usr/share"
_INSTALL = "installation-guide-amd64"
# (book, language, package, pattern of its pages)
BOOKS: tuple[tuple[str, str, str, str], ...] = (
    ("faq", "en", "debian-faq", f"{_SHARE}/doc/debian/FAQ/*.en.html"),
    ("handbook", "en", "debian-handbook", f"{_SHARE}/doc/debian-handbook/html/en-US/*.html"),
    ("reference", "en", "debian-reference-en", f"{_SHARE}/debian-reference/*.en.html"),
    ("developers", "en", "developers-reference", f"{_SHARE}/developers-reference/*.html"),
    ("gimp", "en", "gimp-help-en", f"{_SHARE}/gimp/2.0/help/en/*.html"),
    ("faq", "zh", "debian-faq-zh-cn", f"{_SHARE}/doc/debian/FAQ/zh-cn/*.zh-cn.html"),
    ("handbook", "zh", "debian-handbook", f"{_SHARE}/doc/debian-handbook/html/zh-CN/*.html"),
    ("reference", "zh", "debian-reference-zh-cn", f"{_SHARE}/debian-reference/*.zh-cn.html"),
    ("maintainers", "zh", "maint-guide-zh-cn", f"{_SHARE}/doc/maint-guide-zh-cn/html/*.zh-cn.html"),
    ("policy", "en", "debian-policy", f"{_SHARE}/doc/debian-policy/policy.html/*.html"),
    ("install", "en", _INSTALL, f"{_SHARE}/doc/{_INSTALL}/en/*.html"),
    ("install", "zh", _INSTALL, f"{_SHARE}/doc/{_INSTALL}/zh_CN/*.html"),
    ("debmake", "en", "debmake-doc", f"{_SHARE}/doc/debmake-doc/html/*.en.html"),
    ("debmake", "zh", "debmake-doc", f"{_SHARE}/doc/debmake-doc/html/*.zh-cn.html"),
    ("gimp", "zh", "gimp-help-zh-cn", f"{_SHARE}/gimp/2.0/help/zh_CN/*.html"),
)
HELD_OUT = frozenset(("faq", "reference", "policy", "install", "debmake"))
_FURNITURE = re.compile(r"toc|docnav|navheader|navfooter|sphinxsidebar|related|footer|indexterm|headerlink|index\b")
_BLOCKS = frozenset(("p", "li", "dt", "dd", "pre", "tr", "div", "section", "table", "ul", "ol", "dl", "blockquote"))
_HEADING = re.compile("h[1-6]")
_NUMBER = re.compile(
    r"^(?i:(?:chapter|appendix|part|section|附录|第)\s*)?(?:\d+|[A-Z](?=\.))(?:\.\d+)*(?:\s*章)?[.\s\u3000]+"
)
_ASKS = re.compile(r"[?？]\s*$")
_CHINESE = re.compile("[\u4e00-\u9fff]")
_LETTER = re.compile(r"[^\W\d_]")
_LEAST_CHINESE = 0.2  # of the letters of a Chinese section; commands and names are not translated


@dataclass(frozen=True)
class Question:
    """The answer is text[start:stop] of the book; heading is what the question was made from."""

    text: str
    heading: str
    start: int
    stop: int


@dataclass(frozen=True)
class Book:
    name: str
    language: str
    document: Document
    questions: tuple[Question, ...]


def unpack(package: str, folder: Path) -> Path:
    """The root of a package's files, fetched with apt if it is not there yet."""
    root = folder / package
    if not root.exists():
        if not list(folder.glob(f"{package}_*.deb")):
            subprocess.run(["apt-get", "download", "-q", package], cwd=folder, check=True, capture_output=True)
        (file,) = folder.glob(f"{package}_*.deb")
        subprocess.run(["dpkg-deb", "-x", file, root], check=True)
    return root


def read_book(name: str, language: str, package: str, pattern: str, folder: Path) -> Book:
    pages = sorted(unpack(package, folder).glob(pattern))
    if not pages:
        raise SystemExit(f"{package} has no {pattern}")
    blocks = [
        Block(kind, text, Place(None, chapter, number), level)
        for chapter, page in enumerate(pages, 1)
        for number, (kind, text, level) in enumerate(_page_blocks(page), 1)
    ]
    document = Document(f"{name}-{language}", "text/html", tuple(blocks))
    return Book(name, language, document, tuple(_questions(document, language)))


def _page_blocks(path: Path) -> Iterator[tuple[BlockKind, str, int]]:
    tree = html.fromstring(path.read_bytes(), parser=html.HTMLParser(encoding="utf-8"))
    pieces: list[str] = []
    for element, text in _walk(tree.find("body")):
        if element is None:
            pieces.append(text)
            continue
        before, pieces = " ".join("".join(pieces).split()), []
        if before:
            yield (
                ("heading", _NUMBER.sub("", before) or before, int(element[1]))
                if re.fullmatch("h[1-6]", element)
                else ("paragraph", before, 0)
            )


def _walk(node: html.HtmlElement) -> Iterator[tuple[str | None, str]]:
    """(None, text), and (tag of the block that ends or is interrupted here, "")."""
    if not isinstance(node.tag, str) or node.tag in ("script", "style", "nav") or _is_furniture(node):
        yield None, node.tail or ""
        return
    is_block = node.tag in _BLOCKS or bool(_HEADING.fullmatch(node.tag))
    if is_block:
        yield "p", ""
    yield None, node.text or ""
    for child in node:
        yield from _walk(child)
    if is_block:
        yield node.tag, ""
    if node.tag in ("td", "th", "br"):
        yield None, " "
    yield None, node.tail or ""


def _is_furniture(node: html.HtmlElement) -> bool:
    return node.tag in ("div", "ul", "a", "dl", "p") and bool(_FURNITURE.search(node.get("class", "")))


def _questions(document: Document, language: str) -> Iterator[Question]:
    headings = [number for number, block in enumerate(document.blocks) if block.kind == "heading"]
    words = {number: frozenset(wanted_terms(document.blocks[number].text)) for number in headings}
    times = Counter(words.values())
    for at, number in enumerate(headings):
        block = document.blocks[number]
        is_chinese = bool(_CHINESE.search(block.text))
        if len(words[number]) < 2 or times[words[number]] > 1 or is_chinese != (language == "zh"):
            continue
        later = (other for other in headings[at + 1 :] if document.blocks[other].level <= block.level)
        end = next(later, len(document.blocks))
        stop = document.starts[end] if end < len(document.blocks) else len(document.text)
        start = document.starts[number] + len(block.text)
        answer = document.text[start:stop]
        if len(answer.split()) < 3 or (is_chinese and not _is_chinese(answer)):
            continue  # a heading with nothing below it, or not translated
        yield Question(_asked(block.text, language), block.text, start, stop)


def _is_chinese(text: str) -> bool:
    return len(_CHINESE.findall(text)) >= _LEAST_CHINESE * len(_LETTER.findall(text))


def _asked(heading: str, language: str) -> str:
    if _ASKS.search(heading):
        return heading
    return f"文中关于“{heading}”是怎么说的?" if language == "zh" else f"What does the document say about {heading}?"
