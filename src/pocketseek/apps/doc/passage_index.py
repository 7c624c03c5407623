"""The index of passages: which of them have which words (SQLite's FTS5; the words are those of terms.py).

The index holds words only, no second copy of the text: to take a passage out, its words are computed again from the
blocks. An index made by another version of terms.py is made anew when it is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pocketseek.apps.database import Database, Row, Value
from pocketseek.apps.doc.document import gap_of
from pocketseek.apps.doc.passages import Passage
from pocketseek.apps.doc.terms import VERSION, index_text, is_beginning
from pocketseek.errors import FormatError, UnsupportedError

HEADING_GAP = "\n"

SCHEMA = (
    "CREATE TABLE passages("
    "key INTEGER PRIMARY KEY AUTOINCREMENT, document_id INTEGER NOT NULL REFERENCES documents(id) ON DELETE CASCADE, "
    "number INTEGER NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL, heading TEXT NOT NULL, "
    "num_terms INTEGER NOT NULL, UNIQUE(document_id, number))",
    "CREATE TABLE index_state(terms_version INTEGER NOT NULL)",
)
_MAKE = "CREATE VIRTUAL TABLE passage_terms USING fts5(heading, body, content='', tokenize='ascii')"
_HEADING_WEIGHT = 2.0


@dataclass(frozen=True)
class Scope:
    """Which passages are looked at: of one document, of these documents, of one collection, or (none of it) all."""

    document_id: int | None = None
    collection: str | None = None
    document_ids: tuple[int, ...] = ()

    def condition(self) -> tuple[str, tuple[Value, ...]]:
        """In SQL, on a column document_id."""
        if self.document_id is not None:
            return "document_id = ?", (self.document_id,)
        if self.document_ids:
            return f"document_id IN ({', '.join('?' * len(self.document_ids))})", self.document_ids
        if self.collection is not None:
            return (
                "document_id IN (SELECT document_id FROM files JOIN members USING (path) WHERE collection = ?)",
                (self.collection,),
            )
        return "1", ()

    def match_condition(self) -> tuple[str, tuple[Value, ...]]:
        """The same beside a MATCH: the keys of a document follow each other, so the index need not look elsewhere."""
        condition, values = self.condition()
        if self.document_id is None:
            return condition, values
        key = "(SELECT {}(key) FROM passages WHERE document_id = ?)"
        bounds = f"passage_terms.rowid BETWEEN {key.format('min')} AND {key.format('max')}"
        return f"{condition} AND {bounds}", (*values, self.document_id, self.document_id)


@dataclass(frozen=True)
class IndexedPassage:
    """text: of the passage, as it is in the document from start to stop."""

    document_id: int
    number: int
    start: int
    stop: int
    heading: tuple[str, ...]
    text: str


class PassageIndex:
    """Over the passages of one database; add, remove and optimize are called inside its `change`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        if not database.has_module("fts5"):
            raise UnsupportedError("this SQLite has no full-text index (FTS5); use a Python whose sqlite3 has it")
        if database.rows("SELECT terms_version FROM index_state") != [(VERSION,)]:
            self._make_anew()

    def add(self, document_id: int, text: str, passages: Sequence[Passage]) -> None:
        for number, passage in enumerate(passages):
            body = index_text(text[passage.start : passage.stop])
            heading = HEADING_GAP.join(passage.heading)
            key = self._database.run(
                "INSERT INTO passages(document_id, number, start, stop, heading, num_terms) VALUES (?, ?, ?, ?, ?, ?)",
                document_id,
                number,
                passage.start,
                passage.stop,
                heading,
                body.count(" ") + 1,
            )
            self._put_terms(key, heading, body)

    def remove(self, document_id: int) -> None:
        """All passages of a document, whose blocks are still there."""
        for key, passage in self._passages("document_id = ?", document_id):
            self._database.run(
                "INSERT INTO passage_terms(passage_terms, rowid, heading, body) VALUES ('delete', ?, ?, ?)",
                key,
                index_text(HEADING_GAP.join(passage.heading)),
                index_text(passage.text),
            )
        self._database.run("DELETE FROM passages WHERE document_id = ?", document_id)

    def optimize(self) -> None:
        """Write the index anew without what was taken out of it."""
        self._database.run("INSERT INTO passage_terms(passage_terms) VALUES ('optimize')")

    def find(self, terms: Sequence[str], scope: Scope, limit: int) -> list[tuple[int, IndexedPassage]]:
        """(key, passage) of those that have any of the terms, those that a plain BM25 puts first."""
        if not terms:
            return []
        condition, values = scope.match_condition()
        found = self._database.rows(
            "SELECT key FROM passage_terms JOIN passages ON key = passage_terms.rowid "
            f"WHERE passage_terms MATCH ? AND {condition} ORDER BY bm25(passage_terms, {_HEADING_WEIGHT}, 1.0) LIMIT ?",
            " OR ".join(map(_match, terms)),
            *values,
            limit,
        )
        keys = ",".join(str(row[0]) for row in found)
        return self._passages(f"key IN ({keys})")

    def all(self, scope: Scope) -> list[IndexedPassage]:
        """Every passage, document after document, in their order."""
        condition, values = scope.condition()
        return [passage for _, passage in self._passages(condition, *values)]

    def neighbour(self, document_id: int, number: int) -> IndexedPassage | None:
        rows = self._passages("document_id = ? AND number = ?", document_id, number)
        return rows[0][1] if rows else None

    def num_with(self, term: str, scope: Scope) -> int:
        """How many passages have a term."""
        condition, values = scope.match_condition()
        rows = self._database.rows(
            "SELECT count(*) FROM passage_terms JOIN passages ON key = passage_terms.rowid "
            f"WHERE passage_terms MATCH ? AND {condition}",
            _match(term),
            *values,
        )
        return whole_number(rows[0][0])

    def size(self, scope: Scope) -> tuple[int, float]:
        """How many passages there are, and how many terms they have on average."""
        condition, values = scope.condition()
        count, mean = self._database.rows(f"SELECT count(*), avg(num_terms) FROM passages WHERE {condition}", *values)[
            0
        ]
        return whole_number(count), float(mean or 1.0)

    def _put_terms(self, key: int, heading: str, body: str) -> None:
        self._database.run(
            "INSERT INTO passage_terms(rowid, heading, body) VALUES (?, ?, ?)", key, index_text(heading), body
        )

    def _passages(self, condition: str, *values: Value) -> list[tuple[int, IndexedPassage]]:
        rows = self._database.rows(
            f"SELECT key, document_id, number, start, stop, heading FROM passages WHERE {condition} ORDER BY key",
            *values,
        )
        return [(whole_number(row[0]), self._passage(row[1:])) for row in rows]

    def _passage(self, row: Row) -> IndexedPassage:
        document_id, number, start, stop = map(whole_number, row[:4])
        titles = tuple(str(row[4]).split(HEADING_GAP)) if row[4] else ()
        return IndexedPassage(document_id, number, start, stop, titles, self.text(document_id, start, stop))

    def text(self, document_id: int, start: int, stop: int) -> str:
        """text[start:stop] of a document."""
        rows = self._database.rows(
            "SELECT start, text, joint FROM blocks WHERE document_id = ?1 AND start < ?3 AND start >= "
            "coalesce((SELECT max(start) FROM blocks WHERE document_id = ?1 AND start <= ?2), 0) ORDER BY start",
            document_id,
            start,
            stop,
        )
        if not rows:
            return ""
        begin = whole_number(rows[0][0])
        parts = [part for _, text, joint in rows for part in (gap_of(joint_of(joint)), str(text))]
        return "".join(parts[1:])[start - begin : stop - begin]

    def _make_anew(self) -> None:
        with self._database.change():
            self._database.run("DROP TABLE IF EXISTS passage_terms")
            self._database.run(_MAKE)
            for (document_id,) in self._database.rows("SELECT DISTINCT document_id FROM passages"):
                self._put_anew(whole_number(document_id))
            self._database.run("DELETE FROM index_state")
            self._database.run("INSERT INTO index_state VALUES (?)", VERSION)

    def _put_anew(self, document_id: int) -> None:
        for key, passage in self._passages("document_id = ?", document_id):
            body = index_text(passage.text)
            self._database.run("UPDATE passages SET num_terms = ? WHERE key = ?", body.count(" ") + 1, key)
            self._put_terms(key, HEADING_GAP.join(passage.heading), body)


def _match(term: str) -> str:
    """A term in FTS5's language; terms are letters and digits only."""
    return f'"{term}"*' if is_beginning(term) else f'"{term}"'


def joint_of(value: Value) -> str | None:
    """Of a row."""
    return None if value is None else str(value)


def whole_number(value: Value) -> int:
    """Of a row. Raises FormatError."""
    if isinstance(value, int):
        return value
    raise FormatError("the kept documents are damaged (a number is missing); move documents.db away and add anew")
