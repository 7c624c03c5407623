"""A zip archive -> the reader of what is in it: EPUB or DOCX; other things that are zip archives are named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pocketseek.apps.doc.formats.docx_reader import DOCUMENT, read_docx
from pocketseek.apps.doc.formats.epub_reader import read_epub
from pocketseek.apps.doc.formats.zip_parts import ZipParts
from pocketseek.apps.doc.pieces import Piece, ReadOptions
from pocketseek.errors import UnsupportedError

# (a part that tells, what the file is, what to do)
_REFUSED = (
    ("xl/workbook.xml", "a spreadsheet (XLSX)", "save the sheets you need as PDF or CSV"),
    ("xl/workbook.bin", "a spreadsheet (XLSB)", "save the sheets you need as PDF or CSV"),
    ("ppt/presentation.xml", "a presentation (PPTX)", "save it as PDF"),
    ("FixedDocSeq.fdseq", "an XPS document", "save it as PDF"),
    ("AndroidManifest.xml", "an Android app", "give a document"),
    ("META-INF/MANIFEST.MF", "a Java program or an OpenDocument file", "save it as PDF or DOCX"),
    ("content.xml", "an OpenDocument file", "save it as DOCX or PDF"),
)


def read_package(path: Path, options: ReadOptions) -> Iterator[Piece]:
    with ZipParts(path) as parts:
        if parts.has("META-INF/container.xml"):
            yield from read_epub(path, parts)
        elif parts.has(DOCUMENT):
            yield from read_docx(path, parts, options)
        else:
            raise UnsupportedError(_refusal(path, parts))


def _refusal(path: Path, parts: ZipParts) -> str:
    for name, what, remedy in _REFUSED:
        if parts.has(name):
            return f"{path} is {what}, which is not read; {remedy}"
    return f"{path} is a zip archive; unpack it and give the documents in it"
