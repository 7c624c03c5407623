"""An EPUB (2 or 3) -> pieces, a chapter each: the documents of its spine, in its order.

container.xml -> the package document (title, manifest, spine) -> XHTML chapters. A chapter is a document of the spine
that holds text; documents for reading on the side (linear="no") come where the spine has them. The table of contents
(nav, toc.ncx) is no text and is left out.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from pocketseek.apps.doc.document import Remark
from pocketseek.apps.doc.formats.block_text import tidy
from pocketseek.apps.doc.formats.html_blocks import html_drafts
from pocketseek.apps.doc.formats.html_reader import missing_remarks, placed
from pocketseek.apps.doc.formats.safe_xml import Element, local_name, parse_xhtml, parse_xml
from pocketseek.apps.doc.formats.zip_parts import ZipParts
from pocketseek.apps.doc.pieces import Piece
from pocketseek.errors import FormatError, NotFoundError, UnsupportedError

_DOCUMENTS = frozenset({"application/xhtml+xml", "text/html", "application/x-dtbook+xml", "text/x-oeb1-document"})
_ENCRYPTION = "META-INF/encryption.xml"
MAX_CHAPTERS = 10_000


@dataclass(frozen=True)
class _Book:
    title: str | None
    chapters: tuple[str, ...]  # names of parts


def read_epub(path: Path, parts: ZipParts) -> Iterator[Piece]:
    book = _book(path, parts)
    _check_rights(path, parts, book)
    yield Piece(0, len(book.chapters), title=book.title, media_type="application/epub+zip")
    chapter = 0
    for number, name in enumerate(book.chapters, start=1):
        try:
            parsed = parse_xhtml(parts.part(name), f"{path}: {name}")
        except (FormatError, NotFoundError) as error:
            yield Piece(number, len(book.chapters), remarks=(Remark("damaged-part", None, str(error)),))
            continue
        drafts = list(html_drafts(parsed.root))
        chapter += bool(drafts)
        yield Piece(number, len(book.chapters), placed(drafts, chapter), missing_remarks(parsed, name))


def _book(path: Path, parts: ZipParts) -> _Book:
    container = parse_xml(parts.part("META-INF/container.xml"), f"{path}: META-INF/container.xml")
    name = next((root.get("full-path") for root in container.iter("{*}rootfile", "rootfile")), None)
    if not name or not parts.has(unquote(name)):
        raise FormatError(f"{path} is an EPUB without a package document; get the file again")
    name = unquote(name)
    package = parse_xml(parts.part(name), f"{path}: {name}")
    chapters = tuple(_spine(package, posixpath.dirname(name)))
    if not 0 < len(chapters) <= MAX_CHAPTERS:
        raise FormatError(f"{path} is an EPUB with {len(chapters)} chapters, which is not read; get the file again")
    return _Book(_title(package), chapters)


def _title(package: Element) -> str | None:
    found = next((element for element in package.iter("{*}title") if element.text), None)
    return tidy(found.text or "") or None if found is not None else None


def _spine(package: Element, folder: str) -> Iterator[str]:
    """Names of the chapters' parts; each once."""
    items = {item.get("id"): item for item in package.iter("{*}item")}
    seen = set()
    for reference in package.iter("{*}itemref"):
        item = items.get(reference.get("idref"))
        if item is None or item.get("media-type") not in _DOCUMENTS or "nav" in (item.get("properties") or "").split():
            continue
        name = posixpath.normpath(posixpath.join(folder, unquote((item.get("href") or "").split("#")[0])))
        if name not in seen:
            seen.add(name)
            yield name


def _check_rights(path: Path, parts: ZipParts, book: _Book) -> None:
    """Encrypted fonts are usual; encrypted chapters cannot be read."""
    if not parts.has(_ENCRYPTION):
        return
    root = parse_xml(parts.part(_ENCRYPTION), f"{path}: {_ENCRYPTION}")
    locked = {unquote(element.get("URI") or "") for element in root.iter() if local_name(element) == "CipherReference"}
    if locked.intersection(book.chapters):
        raise UnsupportedError(f"{path} is locked (DRM) and cannot be read; get a copy without a lock")
