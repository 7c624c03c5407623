"""A file becomes a Document: what it is decides its first bytes, not its name.

file -> detected kind -> its reader -> Document
PDF, DOCX, EPUB, HTML are read by libraries written in C: in a process of their own, under limits (`sandbox.py`)
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pocketseek.apps.doc.document import Block, Document, Remark
from pocketseek.apps.doc.formats.block_text import tidy_title
from pocketseek.apps.doc.formats.detect import START_BYTES, detect_kind
from pocketseek.apps.doc.formats.markdown_reader import markdown_blocks
from pocketseek.apps.doc.formats.plain_reader import plain_blocks
from pocketseek.apps.doc.formats.text_encoding import decode_text
from pocketseek.apps.doc.pieces import PASSWORD_HINT, ReadOptions
from pocketseek.apps.doc.sandbox import ReadLimits, read_apart
from pocketseek.errors import FormatError, NotFoundError, PocketseekError, UnsupportedError, UsageError
from pocketseek.package.storage import storage_errors

MAX_TEXT_BYTES = 100_000_000

Progress = Callable[[int, int], None]


def read_document(
    path: Path,
    *,
    password: str | None = None,
    comments: bool = False,
    ocr: bool = False,
    progress: Progress | None = None,
    limits: ReadLimits | None = None,
) -> Document:
    """comments: those of a DOCX too. ocr: read pages that are pictures. progress(num_done, num_parts) after each page
    or chapter. Raises NotFoundError, StorageError (cannot be read), UsageError (password), FormatError (damaged),
    UnsupportedError (a kind that is not read)."""
    kind = detect_kind(path, _start(path))
    if kind in ("markdown", "text"):
        document = _read_text(path, kind)
    else:
        options = ReadOptions(password, comments, ocr)
        document = _read_pieces(kind, path, options, limits or ReadLimits(), progress)
    if not document.blocks and not document.remarks:
        raise FormatError(f"{path} holds no text; give a file with text in it")
    return replace(document, title=tidy_title(document.title) or tidy_title(path.name))


def check_kind(path: Path) -> None:
    """By its first bytes alone. Raises as `read_document` what can be known from them."""
    detect_kind(path, _start(path))


def wants_password(error: PocketseekError) -> bool:
    """Whether a file is encrypted and was given none, or a wrong one."""
    return isinstance(error, UsageError) and str(error).endswith(PASSWORD_HINT)


def _start(path: Path) -> bytes:
    """The first bytes of a regular file; a pipe or a device would block or never end."""
    with storage_errors(path):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFoundError(f"{path}: there is no such file; check the name") from None
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode):
                raise UsageError(f"{path} is a folder; give a file")
            if not stat.S_ISREG(mode):
                raise UsageError(f"{path} is no ordinary file; save it to one and give that")
            return os.read(descriptor, START_BYTES)
        finally:
            os.close(descriptor)


def _read_text(path: Path, kind: str) -> Document:
    with storage_errors(path):
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise UnsupportedError(
                f"{path} is larger than {MAX_TEXT_BYTES // 1_000_000} MB; split it and give its parts"
            )
        data = path.read_bytes()
    text = decode_text(data)
    if text is None:
        raise FormatError(f"{path} is no text in a known encoding; save it as UTF-8 and try again")
    blocks = tuple(markdown_blocks(text) if kind == "markdown" else plain_blocks(text))
    title = next((block.text for block in blocks if block.kind == "heading" and kind == "markdown"), path.stem)
    return Document(title, "text/markdown" if kind == "markdown" else "text/plain", blocks)


def _read_pieces(
    kind: str, path: Path, options: ReadOptions, limits: ReadLimits, progress: Progress | None
) -> Document:
    blocks: list[Block] = []
    remarks: list[Remark] = []
    title, media_type, num_pages = path.stem, "", None
    for piece in read_apart(kind, path, options, limits):
        blocks.extend(piece.blocks)
        remarks.extend(piece.remarks)
        title = piece.title or title
        media_type = piece.media_type or media_type
        num_pages = piece.num_parts if piece.paged else num_pages
        if progress is not None:
            progress(piece.num_done, piece.num_parts)
    return Document(title, media_type, tuple(blocks), num_pages, tuple(remarks))
