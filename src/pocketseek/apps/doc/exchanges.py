"""The last questions and answers about each document or collection, for questions that follow them.

They are part of the document store, and all of them go when any document, file or collection goes: an answer may
repeat what it said, whatever was asked.
"""

from __future__ import annotations

from dataclasses import dataclass

from pocketseek.apps.conversation import storable
from pocketseek.apps.database import Database
from pocketseek.apps.doc.passage_index import Scope

SCHEMA = (
    "CREATE TABLE exchanges("
    "key INTEGER PRIMARY KEY AUTOINCREMENT, scope TEXT NOT NULL, question TEXT NOT NULL, answer TEXT NOT NULL)",
    "CREATE TRIGGER exchanges_end AFTER DELETE ON documents BEGIN DELETE FROM exchanges; END",
)
_KEPT = 3  # of each scope


@dataclass(frozen=True)
class Exchange:
    """A question that was asked, and what the model said to it."""

    question: str
    answer: str


def record(database: Database, scope: Scope, exchange: Exchange) -> None:
    with database.change():
        name = _name(scope)
        database.run(
            "INSERT INTO exchanges(scope, question, answer) VALUES (?, ?, ?)",
            name,
            storable(exchange.question),
            storable(exchange.answer),
        )
        database.run(
            "DELETE FROM exchanges WHERE scope = ?1 AND key NOT IN "
            "(SELECT key FROM exchanges WHERE scope = ?1 ORDER BY key DESC LIMIT ?2)",
            name,
            _KEPT,
        )


def last(database: Database, scope: Scope) -> tuple[Exchange, ...]:
    """The oldest first."""
    rows = database.rows("SELECT question, answer FROM exchanges WHERE scope = ? ORDER BY key", _name(scope))
    return tuple(Exchange(str(question), str(answer)) for question, answer in rows)


def forget(database: Database) -> None:
    """All of them."""
    with database.change():
        database.run("DELETE FROM exchanges")


def _name(scope: Scope) -> str:
    if scope.document_id is not None:
        return f"document {scope.document_id}"
    return "all" if scope.collection is None else f"collection {scope.collection}"
