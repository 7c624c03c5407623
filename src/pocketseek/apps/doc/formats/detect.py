"""What a file is, by its first bytes; its name decides nothing but whether a text is Markdown.

What cannot be read is named, with what to do about it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pocketseek.apps.doc.formats.text_encoding import decode_start
from pocketseek.errors import FormatError, UnsupportedError

Kind = Literal["pdf", "zip", "html", "markdown", "text"]

START_BYTES = 4096
_PDF_WITHIN = 1024  # junk before the header is common and allowed
_MARKDOWN = frozenset({".md", ".markdown", ".mdown", ".mkd"})
_HTML = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body|div|p|h[1-6]|table)\b", re.I | re.S
)
_SAVE_AS = "open it where it was written and save it as PDF, DOCX or text"

# (position, magic bytes, what it is, what to do)
_REFUSED = (
    (
        0,
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an old or password-protected Office file",
        "save it as DOCX without a password",
    ),
    (0, b"{\\rtf", "an RTF file", _SAVE_AS),
    (0, b"\x89PNG", "a picture", "put it into a PDF, which can be read by OCR (--ocr)"),
    (0, b"\xff\xd8\xff", "a picture", "put it into a PDF, which can be read by OCR (--ocr)"),
    (0, b"GIF8", "a picture", "put it into a PDF, which can be read by OCR (--ocr)"),
    (0, b"II*\x00", "a picture", "put it into a PDF, which can be read by OCR (--ocr)"),
    (0, b"MM\x00*", "a picture", "put it into a PDF, which can be read by OCR (--ocr)"),
    (8, b"WEBP", "a picture", "put it into a PDF, which can be read by OCR (--ocr)"),
    (0, b"\x1f\x8b", "a compressed file", "unpack it (gunzip) and give what is in it"),
    (0, b"BZh", "a compressed file", "unpack it (bunzip2) and give what is in it"),
    (0, b"\xfd7zXZ\x00", "a compressed file", "unpack it (unxz) and give what is in it"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it and give the documents in it"),
    (0, b"Rar!\x1a\x07", "a RAR archive", "unpack it and give the documents in it"),
    (257, b"ustar", "a tar archive", "unpack it and give the documents in it"),
    (60, b"BOOKMOBI", "a Kindle book", "convert it to EPUB"),
    (0, b"AT&TFORM", "a DjVu file", "convert it to PDF"),
    (0, b"\x7fELF", "a program", "give a document"),
    (0, b"GGUF", "a model", "install it with `pocketseek convert`"),
    (0, b"SQLite format 3\x00", "a database", "export what you need as text"),
    (4, b"ftyp", "a film or sound", "give a document"),
    (0, b"ID3", "a film or sound", "give a document"),
    (0, b"RIFF", "a film or sound", "give a document"),
    (0, b"OggS", "a film or sound", "give a document"),
)


def detect_kind(path: Path, start: bytes) -> Kind:
    """start: the first START_BYTES of the file. Raises UnsupportedError (named kinds, binary), FormatError (empty)."""
    if not start.strip(b"\x00\t\n\r\x0c "):
        raise FormatError(f"{path} is empty; give a file with text in it")
    if b"%PDF-" in start[:_PDF_WITHIN]:
        return "pdf"
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    for position, magic, what, remedy in _REFUSED:
        if start.startswith(magic, position):
            raise UnsupportedError(f"{path} is {what}, which is not read; {remedy}")
    text = decode_start(start)
    if text is None:
        raise UnsupportedError(
            f"{path} is no document that can be read (PDF, DOCX, EPUB, HTML, Markdown, text); {_SAVE_AS}"
        )
    if _HTML.match(text):
        return "html"
    return "markdown" if path.suffix.lower() in _MARKDOWN else "text"
