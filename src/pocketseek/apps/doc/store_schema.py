"""The tables of the document store, and how an older file comes to have them."""

from __future__ import annotations

from pocketseek.apps.doc import exchanges, passage_index

APPLICATION_ID = 0x70736B64  # "pskd"

MIGRATIONS = (
    (
        "CREATE TABLE documents("
        "id INTEGER PRIMARY KEY AUTOINCREMENT, sha256 TEXT NOT NULL UNIQUE, reading TEXT NOT NULL, "
        "title TEXT NOT NULL, media_type TEXT NOT NULL, num_pages INTEGER, remarks_json TEXT NOT NULL, "
        "num_bytes INTEGER NOT NULL, added_s REAL NOT NULL)",
        "CREATE TABLE files("
        "path TEXT PRIMARY KEY, document_id INTEGER NOT NULL REFERENCES documents(id) ON DELETE CASCADE, "
        "num_bytes INTEGER NOT NULL, modified_ns INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE INDEX files_of_document ON files(document_id)",
        "CREATE TABLE members("
        "collection TEXT NOT NULL, path TEXT NOT NULL REFERENCES files(path) ON DELETE CASCADE, "
        "PRIMARY KEY(collection, path)) WITHOUT ROWID",
        "CREATE INDEX members_by_path ON members(path)",
        "CREATE TABLE blocks("
        "document_id INTEGER NOT NULL REFERENCES documents(id) ON DELETE CASCADE, start INTEGER NOT NULL, "
        "kind TEXT NOT NULL, level INTEGER NOT NULL, page INTEGER, chapter INTEGER, paragraph INTEGER NOT NULL, "
        "text TEXT NOT NULL, links_json TEXT NOT NULL, PRIMARY KEY(document_id, start)) WITHOUT ROWID",
        *passage_index.SCHEMA,
        *exchanges.SCHEMA,
    ),
    ("ALTER TABLE blocks ADD COLUMN joint TEXT",),
)
