"""An HTML file -> one piece. Its encoding is what it declares, where that can be true, otherwise what the bytes say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from pocketseek.apps.doc.document import Block, Place, Remark
from pocketseek.apps.doc.formats.html_blocks import HtmlDraft, html_drafts, html_title
from pocketseek.apps.doc.formats.safe_xml import ParsedHtml, parse_html
from pocketseek.apps.doc.formats.text_encoding import decode_text
from pocketseek.apps.doc.pieces import Piece, ReadOptions
from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.package.storage import storage_errors

MAX_HTML_BYTES = 50_000_000
_DECLARED = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?\s*([A-Za-z0-9_-]{1,20})""", re.IGNORECASE)
_DECLARED_WITHIN = 4096


def read_html(path: Path, options: ReadOptions) -> Iterator[Piece]:
    with storage_errors(path):
        if path.stat().st_size > MAX_HTML_BYTES:
            raise UnsupportedError(
                f"{path} is larger than {MAX_HTML_BYTES // 1_000_000} MB; split it and give its parts"
            )
        data = path.read_bytes()
    parsed = parse_html(decode_html(data, str(path)), str(path))
    blocks, title = placed(html_drafts(parsed.root), None), html_title(parsed.root)
    yield Piece(1, 1, blocks, missing_remarks(parsed), title, "text/html")


def missing_remarks(parsed: ParsedHtml, name: str = "") -> tuple[Remark, ...]:
    """name: of the part."""
    if parsed.problem is None:
        return ()
    return (Remark("damaged-part", None, f"{name}: {parsed.problem}" if name else parsed.problem),)


def decode_html(data: bytes, what: str) -> str:
    """Raises FormatError."""
    declared = _DECLARED.search(data[:_DECLARED_WITHIN])
    if declared is not None:
        name = declared[1].decode("ascii").lower()
        try:
            return data.decode("gb18030" if name in ("gb2312", "gbk") else name)
        except (LookupError, UnicodeDecodeError):
            pass  # declared wrongly: the bytes say what they are
    text = decode_text(data)
    if text is None:
        raise FormatError(f"{what} is in no known encoding; save it as UTF-8 and try again")
    return text


def placed(drafts: Iterable[HtmlDraft], chapter: int | None) -> tuple[Block, ...]:
    """Paragraphs counted from 1 in the chapter, or in the document."""
    return tuple(
        Block(draft.kind, draft.text, Place(None, chapter, number), draft.level, draft.links)
        for number, draft in enumerate(drafts, start=1)
    )
