"""Documents kept for questions: their text, cut into passages, and which file and collection they come from.

    files      path, size and time of change  ->  document       two files of the same bytes are one document
    members    collection, path                                  a file may be in several collections, or in none
    documents  sha256 of the bytes, title, ...
      blocks   their text, the only copy of it
      passages where they are in the text, and what stands above them; indexed by passage_index.py

One SQLite file (`apps/database.py` for what that promises: private, whole after a crash, several processes). A document
that no file leads to any more is removed, the words of its text leave the file at the next `tidy`. Texts are kept as
they are, except that what no UTF-8 file can hold becomes U+FFFD.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pocketseek.apps.database import Database, Value
from pocketseek.apps.doc import exchanges
from pocketseek.apps.doc.document import Block, Document, Place
from pocketseek.apps.doc.document_rows import (
    DocumentInfo,
    block_of,
    block_values,
    info_of,
    remarks_json,
    storable_document,
    whole_or_none,
)
from pocketseek.apps.doc.passage_index import PassageIndex, whole_number
from pocketseek.apps.doc.passages import passages_of
from pocketseek.apps.doc.reading_mark import Extra, is_enough, reading_mark
from pocketseek.apps.doc.store_schema import APPLICATION_ID, MIGRATIONS
from pocketseek.errors import NotFoundError

_BYTES = "bytes:"  # before a path whose name is no text
_INFO = (
    "SELECT id, sha256, title, media_type, num_pages, num_bytes, added_s, "
    "(SELECT min(path) FROM files WHERE document_id = id), "
    "(SELECT count(*) FROM passages WHERE document_id = id), remarks_json FROM documents"
)
_IN_COLLECTION = "id IN (SELECT document_id FROM files JOIN members USING (path) WHERE collection = ?)"


@dataclass(frozen=True)
class FileState:
    """What a file was like when it was read."""

    num_bytes: int
    modified_ns: int


@dataclass(frozen=True)
class CollectionInfo:
    name: str
    num_documents: int


class DocumentStore:
    """All methods may be called from any thread."""

    def __init__(self, path: Path | None, *, key: bytes | None = None, clock: Callable[[], float] = time.time) -> None:
        """path: None keeps everything in memory. key: of a sealed file. Raises like Database, and UnsupportedError if
        this SQLite has no full-text index."""
        self.database = Database(path, application_id=APPLICATION_ID, migrations=MIGRATIONS, key=key)
        self.path = self.database.path
        self._clock = clock
        try:
            self.index = PassageIndex(self.database)
        except BaseException:
            self.database.close()
            raise

    def close(self) -> None:
        self.database.close()

    def is_current(self, path: Path, state: FileState, extras: Collection[Extra] = ()) -> bool:
        """Whether this file was read by this version, with these extras, when it was like this."""
        rows = self.database.rows(
            "SELECT reading FROM files JOIN documents ON id = document_id "
            "WHERE path = ? AND files.num_bytes = ? AND modified_ns = ?",
            _name(path),
            state.num_bytes,
            state.modified_ns,
        )
        return any(is_enough(str(row[0]), extras) for row in rows)

    def of_path(self, path: Path) -> DocumentInfo | None:
        """The document that was read from this file."""
        rows = self.database.rows(f"{_INFO} WHERE id = (SELECT document_id FROM files WHERE path = ?)", _name(path))
        return info_of(rows[0]) if rows else None

    def has_bytes(self, sha256: str, extras: Collection[Extra] = ()) -> bool:
        """Whether a document was made of these bytes by this version, with these extras."""
        rows = self.database.rows("SELECT reading FROM documents WHERE sha256 = ?", sha256)
        return any(is_enough(str(row[0]), extras) for row in rows)

    def put(
        self,
        path: Path,
        state: FileState,
        sha256: str,
        document: Document | None,
        extras: Collection[Extra] = (),
    ) -> DocumentInfo:
        """The file at this path has these bytes now. document: what was read of them; None: it is there already."""
        with self.database.change():
            document_id = self._insert(sha256, state, document, extras) if document else self._id_of(sha256)
            before = self.database.rows("SELECT document_id FROM files WHERE path = ?", _name(path))
            self.database.run(
                "INSERT INTO files VALUES (?, ?, ?, ?) ON CONFLICT (path) DO UPDATE SET "
                "document_id = excluded.document_id, num_bytes = excluded.num_bytes, "
                "modified_ns = excluded.modified_ns",
                _name(path),
                document_id,
                state.num_bytes,
                state.modified_ns,
            )
            for row in before:
                self._drop_unused(whole_number(row[0]))
            return self.info(document_id)

    def join(self, collection: str, path: Path) -> bool:
        """Put a file that is here into a collection; False: it was in it."""
        if self.database.rows("SELECT 1 FROM members WHERE collection = ? AND path = ?", collection, _name(path)):
            return False
        with self.database.change():
            self.database.run("INSERT INTO members VALUES (?, ?)", collection, _name(path))
        return True

    def info(self, document_id: int) -> DocumentInfo:
        rows = self.database.rows(f"{_INFO} WHERE id = ?", document_id)
        if not rows:
            raise NotFoundError(f"there is no document {document_id}; `pocketseek doc list` shows which there are")
        return info_of(rows[0])

    def documents(self, collection: str | None = None) -> list[DocumentInfo]:
        """By title."""
        condition, values = ("", ()) if collection is None else (f"WHERE {_IN_COLLECTION}", (collection,))
        return [info_of(row) for row in self.database.rows(f"{_INFO} {condition} ORDER BY title, id", *values)]

    def collections(self) -> list[CollectionInfo]:
        rows = self.database.rows(
            "SELECT collection, count(DISTINCT document_id) FROM members JOIN files USING (path) "
            "GROUP BY collection ORDER BY collection"
        )
        return [CollectionInfo(str(name), whole_number(count)) for name, count in rows]

    def collections_of(self, document_id: int) -> tuple[str, ...]:
        rows = self.database.rows(
            "SELECT DISTINCT collection FROM members JOIN files USING (path) WHERE document_id = ? ORDER BY collection",
            document_id,
        )
        return tuple(str(row[0]) for row in rows)

    def paths(self, under: Path | None = None) -> list[Path]:
        """Of all files, or of this one and those below it."""
        paths = (_path(row[0]) for row in self.database.rows("SELECT path FROM files ORDER BY path"))
        return [path for path in paths if under is None or path == under or under in path.parents]

    def paths_of(self, document_id: int) -> list[Path]:
        rows = self.database.rows("SELECT path FROM files WHERE document_id = ? ORDER BY path", document_id)
        return [_path(row[0]) for row in rows]

    def forget(self, paths: Sequence[Path]) -> None:
        """These files, the documents that no other file leads to, and the questions that were kept."""
        with self.database.change():
            exchanges.forget(self.database)
            for path in paths:
                owners = self.database.rows("SELECT document_id FROM files WHERE path = ?", _name(path))
                self.database.run("DELETE FROM files WHERE path = ?", _name(path))
                for row in owners:
                    self._drop_unused(whole_number(row[0]))

    def leave(self, collection: str) -> list[Path]:
        """The collection ends; files that are in no other are forgotten, and returned."""
        with self.database.change():
            rows = self.database.rows(
                "SELECT path FROM members WHERE collection = ?1 AND path NOT IN "
                "(SELECT path FROM members WHERE collection <> ?1)",
                collection,
            )
            self.database.run("DELETE FROM members WHERE collection = ?", collection)
            paths = [_path(row[0]) for row in rows]
            self.forget(paths)
        return paths

    def tidy(self) -> None:
        """Overwrite what is left of removed documents and give their space back."""
        with self.database.change():
            self.index.optimize()
        self.database.rows("VACUUM")
        self.database.forget_log()

    def document(self, document_id: int) -> Document:
        info = self.info(document_id)
        return Document(info.title, info.media_type, tuple(self._blocks(document_id)), info.num_pages, info.remarks)

    def place_at(self, document_id: int, position: int) -> Place:
        """As Document.place_at."""
        rows = self.database.rows(
            "SELECT page, chapter, paragraph FROM blocks WHERE document_id = ? AND start <= ? "
            "ORDER BY start DESC LIMIT 1",
            document_id,
            position,
        )
        if not rows:
            raise NotFoundError("this document was removed meanwhile; add it again")
        page, chapter, paragraph = rows[0]
        return Place(whole_or_none(page), whole_or_none(chapter), whole_number(paragraph))

    @contextmanager
    def one_moment(self) -> Iterator[None]:
        """What is read inside belongs together."""
        with self.database.reading():
            yield

    def _blocks(self, document_id: int) -> Iterator[Block]:
        rows = self.database.rows(
            "SELECT kind, level, page, chapter, paragraph, text, links_json, joint FROM blocks "
            "WHERE document_id = ? ORDER BY start",
            document_id,
        )
        return map(block_of, rows)

    def _id_of(self, sha256: str) -> int:
        rows = self.database.rows("SELECT id FROM documents WHERE sha256 = ?", sha256)
        if not rows:
            raise NotFoundError("this document was removed meanwhile; add it again")
        return whole_number(rows[0][0])

    def _insert(self, sha256: str, state: FileState, document: Document, extras: Collection[Extra]) -> int:
        """Instead of what an older version, or another process, made of the same bytes."""
        document = storable_document(document)
        same = self.database.rows("SELECT id FROM documents WHERE sha256 = ?", sha256)
        for row in same:
            self.index.remove(whole_number(row[0]))
            self.database.run("DELETE FROM blocks WHERE document_id = ?", row[0])
        mark = reading_mark(extras)
        values = (mark, document.title, document.media_type, document.num_pages, remarks_json(document))
        if same:
            document_id = whole_number(same[0][0])
            self.database.run(
                "UPDATE documents SET reading = ?, title = ?, media_type = ?, num_pages = ?, remarks_json = ? "
                "WHERE id = ?",
                *values,
                document_id,
            )
        else:
            document_id = self.database.run(
                "INSERT INTO documents(sha256, reading, title, media_type, num_pages, remarks_json, num_bytes, added_s)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                sha256,
                *values,
                state.num_bytes,
                self._clock(),
            )
        for start, block in zip(document.starts, document.blocks, strict=True):
            self.database.run(
                "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", document_id, start, *block_values(block)
            )
        self.index.add(document_id, document.text, passages_of(document))
        return document_id

    def _drop_unused(self, document_id: int) -> None:
        if self.database.rows("SELECT 1 FROM files WHERE document_id = ? LIMIT 1", document_id):
            return
        self.index.remove(document_id)
        self.database.run("DELETE FROM documents WHERE id = ?", document_id)


def _name(path: Path) -> str:
    """Of a file in the store. Names that are no UTF-8 keep their bytes; no absolute path begins as those do."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return _BYTES + quote_from_bytes(os.fsencode(path))
    return str(path)


def _path(name: Value) -> Path:
    text = str(name)
    return Path(os.fsdecode(unquote_to_bytes(text.removeprefix(_BYTES))) if text.startswith(_BYTES) else text)
