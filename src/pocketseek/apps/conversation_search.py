"""Finding words in what was said: an index of trigrams (SQLite's FTS5), or a look at every text.

Trigrams need no knowledge of where words end, so Chinese is found like everything else. A query of one or two
characters, and a build of SQLite without FTS5, look through all texts instead and find the same, except that only
ASCII letters are then the same in small and capital.

Texts get into the index when somebody searches, so an answer that is being written costs nothing here; they leave it
before they change or go. A build without FTS5 cannot take them out: it leaves a note, and the next one that can makes
the index anew.
"""

from __future__ import annotations

from pocketseek.apps.database import Database, Row

# What the store's schema has for this module.
SCHEMA = (
    "CREATE INDEX turns_not_indexed ON turns(key) WHERE is_indexed = 0",
    "CREATE TABLE search_index(is_stale INTEGER NOT NULL)",
    "INSERT INTO search_index VALUES (0)",
)

_TRIGRAM = 3
_NEWEST_FIRST = "GROUP BY conversation_id ORDER BY revision DESC LIMIT ?"


class SearchIndex:
    """Over the turns of one database. forget and optimize are called inside its `change`."""

    def __init__(self, database: Database, *, use_index: bool = True) -> None:
        self._database = database
        self._has_index = use_index and database.has_module("fts5")

    def forget(self, condition: str, *values: str | int) -> None:
        """Take turns out that are about to be changed or removed; condition: in SQL, on columns of `turns`."""
        indexed = f"FROM turns WHERE is_indexed = 1 AND {condition}"
        if not self._database.rows(f"SELECT 1 {indexed} LIMIT 1", *values):
            return
        if self._has_index:
            self._database.run(
                f"INSERT INTO turn_search(turn_search, rowid, content) SELECT 'delete', key, content {indexed}", *values
            )
        else:
            self._database.run("UPDATE search_index SET is_stale = 1")
        self._database.run(f"UPDATE turns SET is_indexed = 0 WHERE is_indexed = 1 AND {condition}", *values)

    def optimize(self) -> None:
        """Write the index anew without what was taken out of it."""
        if self._has_index and self._has_table():
            self._database.run("INSERT INTO turn_search(turn_search) VALUES ('optimize')")

    def find(self, text: str, limit: int) -> list[Row]:
        """(conversation, position of the first turn that has it, its content), the newest conversation first."""
        if self._has_index and len(text) >= _TRIGRAM:
            self._catch_up()
            return self._database.rows(
                "SELECT conversation_id, min(position), turns.content FROM turn_search "
                "JOIN turns ON turns.key = turn_search.rowid JOIN conversations ON id = conversation_id "
                f"WHERE turn_search MATCH ? {_NEWEST_FIRST}",
                '"' + text.replace('"', '""') + '"',
                limit,
            )
        return self._database.rows(
            "SELECT conversation_id, min(position), content FROM turns JOIN conversations ON id = conversation_id "
            f"WHERE content LIKE ? ESCAPE '\\' {_NEWEST_FIRST}",
            like_pattern(text),
            limit,
        )

    def _catch_up(self) -> None:
        waiting = "SELECT 1 FROM turns WHERE is_indexed = 0 UNION ALL SELECT 1 FROM search_index WHERE is_stale LIMIT 1"
        if self._has_table() and not self._database.rows(waiting):
            return
        with self._database.change():
            self._database.run(
                "CREATE VIRTUAL TABLE IF NOT EXISTS turn_search "
                "USING fts5(content, content='turns', content_rowid='key', tokenize='trigram')"
            )
            if self._database.rows("SELECT 1 FROM search_index WHERE is_stale"):
                self._database.run("INSERT INTO turn_search(turn_search) VALUES ('rebuild')")
                self._database.run("UPDATE search_index SET is_stale = 0")
            else:
                self._database.run(
                    "INSERT INTO turn_search(rowid, content) SELECT key, content FROM turns WHERE is_indexed = 0"
                )
            self._database.run("UPDATE turns SET is_indexed = 1 WHERE is_indexed = 0")

    def _has_table(self) -> bool:
        return bool(self._database.rows("SELECT 1 FROM sqlite_schema WHERE name = 'turn_search'"))


def like_pattern(text: str) -> str:
    """For LIKE ? ESCAPE '\\': the text anywhere."""
    for special in ("\\", "%", "_"):
        text = text.replace(special, "\\" + special)
    return f"%{text}%"
