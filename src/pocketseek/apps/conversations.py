"""Conversations kept on disk, shared by the terminal, the web page and every process of the data directory.

`ConversationStore` has them in one SQLite file (`apps/database.py` for what that promises: private, whole after a
crash, several processes and threads). A conversation is a list of turns, question and answer in turn as a rule, though
the store does not insist. An answer is kept as it is written: `append` it when it begins, `update` it now and then
(`apps/answer_keeper.py`), and its finish_reason is "" until it is complete.

Editing a question or asking for another answer replaces everything from that turn on (`replace_from`): the old branch
is dropped, there is no tree of versions. Texts are kept as they are, except that what no UTF-8 file can hold (halves of
surrogate pairs) and NUL become U+FFFD. A conversation without a title of its own is called by the beginning of its
first question.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from pocketseek.apps import conversation_search
from pocketseek.apps.conversation import (
    Conversation,
    ConversationInfo,
    SearchHit,
    Turn,
    checked_settings,
    clean_title,
    storable,
)
from pocketseek.apps.conversation_files import ExportFormat, export_conversation, parse_conversation
from pocketseek.apps.conversation_rows import hit_of, info_of, turn_of, turn_texts
from pocketseek.apps.conversation_search import SearchIndex, like_pattern
from pocketseek.apps.database import Database
from pocketseek.errors import NotFoundError, UsageError

_MAX_QUERY_CHARS = 1000
_APPLICATION_ID = 0x70736B63  # "pskc"

_MIGRATIONS = (
    (
        "CREATE TABLE conversations("
        "id TEXT PRIMARY KEY, title TEXT NOT NULL, model TEXT NOT NULL, system TEXT NOT NULL, "
        "settings_json TEXT NOT NULL, created_s REAL NOT NULL, updated_s REAL NOT NULL, "
        "revision INTEGER NOT NULL UNIQUE)",
        "CREATE TABLE turns("
        "key INTEGER PRIMARY KEY AUTOINCREMENT, "
        "conversation_id TEXT NOT NULL REFERENCES conversations(id) ON DELETE CASCADE, position INTEGER NOT NULL, "
        "role TEXT NOT NULL, content TEXT NOT NULL, reasoning TEXT NOT NULL, created_s REAL NOT NULL, "
        "model TEXT NOT NULL, finish_reason TEXT NOT NULL, num_tokens INTEGER NOT NULL, "
        "is_indexed INTEGER NOT NULL DEFAULT 0, UNIQUE(conversation_id, position))",
        *conversation_search.SCHEMA,
    ),
    ("ALTER TABLE turns ADD COLUMN sources_json TEXT NOT NULL DEFAULT ''",),
)
_INFO = (
    "SELECT id, title, model, created_s, updated_s, revision, "
    "(SELECT count(*) FROM turns WHERE conversation_id = id), "
    "(SELECT substr(content, 1, 1000) FROM turns WHERE conversation_id = id AND role = 'user' "
    "ORDER BY position LIMIT 1) FROM conversations"
)


class ConversationStore:
    """The conversations in one file. Every method may be called from any thread; NotFoundError: no such conversation.

    All raise what `Database` raises: FormatError, StorageError, BusyError.
    """

    def __init__(
        self,
        path: Path,
        *,
        key: bytes | None = None,
        clock: Callable[[], float] = time.time,
        use_index: bool = True,
        erase: Callable[[str], None] = lambda conversation_id: None,
    ) -> None:
        """key: of a sealed file. clock: seconds since 1970. use_index: False searches as where SQLite has no full-text
        index. erase: told of every conversation that is deleted, or of which questions are dropped: what was made of
        them elsewhere goes, too (`apps/kept_pages.py`)."""
        self.path = path
        self.key = key
        self.erase = erase
        self._clock = clock
        self._database = Database(path, application_id=_APPLICATION_ID, migrations=_MIGRATIONS, key=key)
        self._search = SearchIndex(self._database, use_index=use_index)

    def close(self) -> None:
        self._database.close()

    def create(
        self,
        model: str,
        title: str = "",
        system: str = "",
        settings_json: str = "{}",
        conversation_id: str | None = None,
    ) -> Conversation:
        """A new one, without turns. conversation_id: of `new_id`, where it was needed before."""
        conversation_id = conversation_id or new_id()
        now_s = self._clock()
        values = (clean_title(title), storable(model), storable(system), checked_settings(settings_json), now_s, now_s)
        with self._database.change():
            self._database.run(
                "INSERT INTO conversations VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                conversation_id,
                *values,
                self._next_revision(),
            )
        return self.get(conversation_id)

    def list(self, limit: int = 50, before: int | None = None) -> list[ConversationInfo]:
        """The newest first, by the last change. before: the revision of the last one of the page before."""
        condition, values = ("", ()) if before is None else ("WHERE revision < ?", (before,))
        rows = self._database.rows(f"{_INFO} {condition} ORDER BY revision DESC LIMIT ?", *values, limit)
        return [info_of(row) for row in rows]

    def get(self, conversation_id: str) -> Conversation:
        with self._database.reading():
            info = self.info(conversation_id)
            row = self._database.rows("SELECT system, settings_json FROM conversations WHERE id = ?", info.id)[0]
            turns = self._database.rows(
                "SELECT role, content, reasoning, created_s, model, finish_reason, num_tokens, sources_json FROM turns "
                "WHERE conversation_id = ? ORDER BY position",
                info.id,
            )
        return Conversation(info, str(row[0]), tuple(turn_of(turn) for turn in turns), str(row[1]))

    def info(self, conversation_id: str) -> ConversationInfo:
        rows = self._database.rows(f"{_INFO} WHERE id = ?", storable(conversation_id))
        if not rows:
            raise NotFoundError(f"there is no conversation {conversation_id!r:.60}; list them to see which there are")
        return info_of(rows[0])

    def rename(self, conversation_id: str, title: str) -> None:
        """An empty title: called by its first question again."""
        self._set(conversation_id, "title", clean_title(title))

    def set_model(self, conversation_id: str, model: str) -> None:
        """Who answers from now on; turns keep the model that wrote them."""
        self._set(conversation_id, "model", storable(model))

    def set_system(self, conversation_id: str, system: str) -> None:
        self._set(conversation_id, "system", storable(system))

    def set_settings(self, conversation_id: str, settings_json: str) -> None:
        self._set(conversation_id, "settings_json", checked_settings(settings_json))

    def is_in_settings(self, text: str) -> bool:
        """Whether the settings of any conversation have this text."""
        found = self._database.rows(
            "SELECT 1 FROM conversations WHERE settings_json LIKE ? ESCAPE '\\' LIMIT 1", like_pattern(text)
        )
        return bool(found)

    def delete(self, conversation_id: str) -> None:
        """Gone for good: its text is overwritten in the file."""
        self.erase(self.info(conversation_id).id)
        with self._database.change():
            info = self.info(conversation_id)
            self._search.forget("conversation_id = ?", info.id)
            self._database.run("DELETE FROM conversations WHERE id = ?", info.id)
            self._search.optimize()
        self._database.forget_log()

    def append(self, conversation_id: str, turn: Turn) -> int:
        """The turn's key, for `update`. Keys are never used again."""
        with self._database.change():
            self._touch(conversation_id)
            return self._insert(conversation_id, self.info(conversation_id).num_turns, turn)

    def update(self, turn_key: int, turn: Turn) -> None:
        """Another text for a turn, such as more of an answer. NotFoundError: it was dropped meanwhile."""
        with self._database.change():
            owners = self._database.rows("SELECT conversation_id FROM turns WHERE key = ?", turn_key)
            if not owners:
                raise NotFoundError("this answer is no longer part of a conversation; ask again")
            self._search.forget("key = ?", turn_key)
            self._database.run(
                "UPDATE turns SET role = ?, content = ?, reasoning = ?, model = ?, finish_reason = ?, "
                "sources_json = ?, num_tokens = ?, created_s = coalesce(nullif(?, 0.0), created_s) WHERE key = ?",
                *turn_texts(turn),
                turn.num_tokens,
                turn.created_s,
                turn_key,
            )
            self._touch(str(owners[0][0]))

    def replace_from(self, conversation_id: str, turn_index: int, turns: Sequence[Turn] = ()) -> tuple[int, ...]:
        """Drop this turn and all after it, and put others there. Keys of the new ones. UsageError: no such turn."""
        with self._database.change():
            info = self.info(conversation_id)
            if not 0 <= turn_index <= info.num_turns:
                raise UsageError(f"there is no turn {turn_index}; the conversation has {info.num_turns}")
            is_question_dropped = self._has_question(info.id, turn_index)
            self._search.forget("conversation_id = ? AND position >= ?", info.id, turn_index)
            self._database.run("DELETE FROM turns WHERE conversation_id = ? AND position >= ?", info.id, turn_index)
            self._touch(info.id)
            keys = tuple(self._insert(info.id, position, turn) for position, turn in enumerate(turns, turn_index))
        if is_question_dropped:
            self.erase(info.id)
            self._database.forget_log()
        return keys

    def _has_question(self, conversation_id: str, turn_index: int) -> bool:
        """There, or later."""
        condition = "conversation_id = ? AND position >= ? AND role = 'user'"
        return bool(self._database.rows(f"SELECT 1 FROM turns WHERE {condition}", conversation_id, turn_index))

    def search(self, text: str, limit: int = 50) -> tuple[SearchHit, ...]:
        """Conversations with this text in a turn or the title, the newest first; none for a blank text."""
        text = storable(text).strip()
        if len(text) > _MAX_QUERY_CHARS:
            raise UsageError(f"a search of {len(text)} characters; at most {_MAX_QUERY_CHARS} are looked for")
        if not text:
            return ()
        found = {str(row[0]): row for row in self._search.find(text, limit)}
        titled = self._database.rows(
            "SELECT id FROM conversations WHERE title LIKE ? ESCAPE '\\' ORDER BY revision DESC LIMIT ?",
            like_pattern(text),
            limit,
        )
        ids = {*found, *(str(row[0]) for row in titled)}
        infos = [info_of(row) for name in ids for row in self._database.rows(f"{_INFO} WHERE id = ?", name)]
        infos.sort(key=lambda info: -info.revision)
        return tuple(hit_of(info, found.get(info.id), text) for info in infos[:limit])

    def add(self, conversation: Conversation) -> Conversation:
        """A copy of a conversation from elsewhere, with an id of its own and its own times."""
        info = conversation.info
        with self._database.change():
            new = self.create(info.model, info.title, conversation.system, conversation.settings_json)
            self.replace_from(new.info.id, 0, conversation.turns)
            self._database.run("UPDATE conversations SET created_s = ? WHERE id = ?", info.created_s, new.info.id)
        return self.get(new.info.id)

    def export(self, conversation_id: str, file_format: ExportFormat) -> str:
        """The text of a file: "md" to read, "json" to read back."""
        return export_conversation(self.get(conversation_id), file_format)

    def import_json(self, data: bytes) -> Conversation:
        """Add a conversation that was exported, here or elsewhere. Raises FormatError."""
        return self.add(parse_conversation(data))

    def _set(
        self, conversation_id: str, column: Literal["title", "model", "system", "settings_json"], text: str
    ) -> None:
        with self._database.change():
            self._touch(conversation_id)
            self._database.run(f"UPDATE conversations SET {column} = ? WHERE id = ?", text, conversation_id)

    def _touch(self, conversation_id: str) -> None:
        info = self.info(conversation_id)
        self._database.run(
            "UPDATE conversations SET updated_s = ?, revision = ? WHERE id = ?",
            self._clock(),
            self._next_revision(),
            info.id,
        )

    def _next_revision(self) -> int:
        newest = self._database.rows("SELECT max(revision) FROM conversations")[0][0]
        return (newest if isinstance(newest, int) else 0) + 1

    def _insert(self, conversation_id: str, position: int, turn: Turn) -> int:
        return self._database.run(
            "INSERT INTO turns(conversation_id, position, role, content, reasoning, model, finish_reason, "
            "sources_json, num_tokens, created_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            conversation_id,
            position,
            *turn_texts(turn),
            turn.num_tokens,
            turn.created_s or self._clock(),
        )


def new_id() -> str:
    """That no conversation has."""
    return secrets.token_hex(8)
