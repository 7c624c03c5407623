"""A file becomes a Document: what it is decides its first bytes, not its name.

file -> detected format -> that format's reader -> Document
"""

from __future__ import annotations

from pathlib import Path

from pocketseek.apps.doc.document import Block, Document, Place
from pocketseek.errors import FormatError
from pocketseek.package.storage import storage_errors


def read_document(path: Path) -> Document:
    """Raises StorageError (cannot be read), FormatError (not what we can read)."""
    with storage_errors(path):
        data = path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError(f"{path} is no text in UTF-8; save it as UTF-8 and try again") from None
    pieces = (piece.strip() for piece in text.split("\n\n"))
    blocks = tuple(
        Block("paragraph", piece, Place(None, None, number))
        for number, piece in enumerate((piece for piece in pieces if piece), start=1)
    )
    return Document(path.stem, "text/plain", blocks)
