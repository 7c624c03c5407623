"""Summaries and extractions in progress and finished, kept so that no work is done twice.

A job is one document, one model and one set of options. Its id is a hash of all that decides the summary: the bytes of
the file and the text that was read from them, the model, the options. Every answer of the model is in the file
(`summaries.db`, see apps/database.py for what that promises) before the next one is looked at, so that kill -9 loses
what was being written and nothing else. What is kept of a document are the notes on it, not its text.

What somebody removes from the kept documents takes its jobs with it. Jobs that nobody asked for in KEPT_S, and all but
the KEPT_JOBS newest, are removed when another one begins. What is removed is overwritten in the file.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from pocketseek.apps.database import Database, Row, Value
from pocketseek.apps.doc.document import Document
from pocketseek.apps.doc.extract import ExtractionOptions
from pocketseek.apps.doc.summary_events import SummaryOptions
from pocketseek.apps.doc.written_answer import Note, Outcome
from pocketseek.errors import NotFoundError, UsageError
from pocketseek.package.storage import storage_errors

KEPT_JOBS = 50
KEPT_S = 30 * 86400.0
ID_DIGITS = 16

_APPLICATION_ID = 0x70736B73  # "psks"
_LEAST_ID_DIGITS = 4
_MIGRATIONS = (
    (
        "CREATE TABLE jobs("
        "id TEXT PRIMARY KEY, path TEXT NOT NULL, title TEXT NOT NULL, model TEXT NOT NULL, "
        "options_json TEXT NOT NULL, num_chunks INTEGER NOT NULL, is_done INTEGER NOT NULL, "
        "created_s REAL NOT NULL, used_s REAL NOT NULL)",
        "CREATE TABLE notes("
        "job_id TEXT NOT NULL REFERENCES jobs(id) ON DELETE CASCADE, key TEXT NOT NULL, text TEXT NOT NULL, "
        "outcome TEXT NOT NULL, num_tokens INTEGER NOT NULL, num_prompt_tokens INTEGER NOT NULL, "
        "num_cached_prompt_tokens INTEGER NOT NULL, PRIMARY KEY(job_id, key)) WITHOUT ROWID",
    ),
    ("ALTER TABLE jobs ADD COLUMN file_sha256 TEXT NOT NULL DEFAULT ''",),  # empty: of an older version
)
_INFO = (
    "SELECT id, path, title, model, options_json, num_chunks, is_done, created_s, used_s, "
    "(SELECT count(*) FROM notes WHERE job_id = id) FROM jobs"
)


@dataclass(frozen=True)
class JobInfo:
    """num_answers: kept ones, of notes, merges and the summary. Times are seconds since 1970."""

    id: str
    path: str
    title: str
    model: str
    options_json: str
    num_chunks: int
    is_done: bool
    created_s: float
    used_s: float
    num_answers: int


@dataclass(frozen=True)
class JobRequest:
    """What a job is about. model_identity: two models that could answer differently have different ones."""

    path: Path
    file_sha256: str
    document: Document
    model: str
    model_identity: str
    options: SummaryOptions | ExtractionOptions

    @property
    def id(self) -> str:
        text_sha256 = hashlib.sha256(self.document.text.encode("utf-8", "surrogatepass")).hexdigest()
        decides = [self.file_sha256, text_sha256, self.document.title, self.model_identity, self.options_json]
        return hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:ID_DIGITS]

    @property
    def options_json(self) -> str:
        return json.dumps(asdict(self.options), sort_keys=True)


class JobStore:
    """The jobs in one file. Any thread; several processes. All methods raise what `Database` raises."""

    def __init__(self, path: Path | None, *, key: bytes | None = None, clock: Callable[[], float] = time.time) -> None:
        """path: None keeps everything in memory. key: of a sealed file."""
        self._clock = clock
        self._database = Database(path, application_id=_APPLICATION_ID, migrations=_MIGRATIONS, key=key)

    def close(self) -> None:
        self._database.close()

    def begin(self, request: JobRequest, *, fresh: bool = False) -> Job:
        """Go on with the job, or begin it. fresh: what was kept of it is forgotten."""
        with self._database.change():
            if fresh:
                self._database.run("DELETE FROM jobs WHERE id = ?", request.id)
            self._insert(request)
            self._database.run("UPDATE jobs SET used_s = ? WHERE id = ?", self._clock(), request.id)
            self._remove_old()
        return Job(self, self._database, request)

    def list(self) -> list[JobInfo]:
        """The one used last first."""
        return [_info(row) for row in self._database.rows(f"{_INFO} ORDER BY used_s DESC, id")]

    def find(self, beginning: str) -> JobInfo:
        """By an id or the beginning of one. Raises NotFoundError, or UsageError if several begin so."""
        found = [job for job in self.list() if job.id.startswith(beginning)]
        if not found or len(beginning) < _LEAST_ID_DIGITS:
            raise NotFoundError(f"there is no job {beginning[:80]!r}; `pocketseek doc jobs` shows them")
        if len(found) > 1:
            raise UsageError(f"{len(found)} jobs begin with {beginning!r}; give more of the id")
        return found[0]

    def remove(self, job_id: str) -> None:
        """Leaves nothing of it in the file or its log."""
        with self._database.change():
            self._database.run("DELETE FROM jobs WHERE id = ?", job_id)
        self._database.forget_log()

    def remove_of(self, sha256s: Sequence[str], paths: Sequence[Path]) -> int:
        """All jobs on files of these bytes, or at these paths; how many there were. Leaves nothing of them."""
        with self._database.change():
            found = {
                str(row[0])
                for column, values in (("file_sha256", sha256s), ("path", [_storable(str(path)) for path in paths]))
                for value in values
                for row in self._database.rows(f"SELECT id FROM jobs WHERE {column} = ?", value)
            }
            for job_id in found:
                self._database.run("DELETE FROM jobs WHERE id = ?", job_id)
        self._database.forget_log()
        return len(found)

    def ensure(self, request: JobRequest) -> None:
        """Inside a change: the job is there, even if somebody removed it meanwhile."""
        if not self._database.rows("SELECT 1 FROM jobs WHERE id = ?", request.id):
            self._insert(request)

    def _insert(self, request: JobRequest) -> None:
        now_s = self._clock()
        values: tuple[Value, ...] = (request.id, str(request.path), request.document.title, request.model)
        self._database.run(
            "INSERT OR IGNORE INTO jobs VALUES (?, ?, ?, ?, ?, 0, 0, ?, ?, ?)",
            *(_storable(value) for value in map(str, values)),
            request.options_json,
            now_s,
            now_s,
            request.file_sha256,
        )

    def _remove_old(self) -> None:
        self._database.run("DELETE FROM jobs WHERE used_s < ?", self._clock() - KEPT_S)
        self._database.run(
            "DELETE FROM jobs WHERE id NOT IN (SELECT id FROM jobs ORDER BY used_s DESC, id LIMIT ?)", KEPT_JOBS
        )


class Job:
    """Keeps the answers of one job: a `Keeper`."""

    def __init__(self, store: JobStore, database: Database, request: JobRequest) -> None:
        self.id = request.id
        self._store = store
        self._database = database
        self._request = request

    def find(self, key: str) -> Note | None:
        rows = self._database.rows(
            "SELECT text, outcome, num_tokens, num_prompt_tokens, num_cached_prompt_tokens FROM notes "
            "WHERE job_id = ? AND key = ?",
            self.id,
            key,
        )
        return _note(rows[0]) if rows else None

    def keep(self, key: str, note: Note) -> None:
        """On the disk when it returns."""
        with self._database.change():
            self._store.ensure(self._request)
            self._database.run(
                "INSERT OR REPLACE INTO notes VALUES (?, ?, ?, ?, ?, ?, ?)",
                self.id,
                key,
                _storable(note.text),
                note.outcome,
                note.num_tokens,
                note.num_prompt_tokens,
                note.num_cached_prompt_tokens,
            )

    def num_answers(self) -> int:
        return _int(self._database.rows("SELECT count(*) FROM notes WHERE job_id = ?", self.id)[0][0])

    def plan(self, num_chunks: int) -> None:
        with self._database.change():
            self._database.run("UPDATE jobs SET num_chunks = ? WHERE id = ?", num_chunks, self.id)

    def finish(self) -> None:
        with self._database.change():
            self._database.run("UPDATE jobs SET is_done = 1 WHERE id = ?", self.id)


def file_sha256(path: Path) -> str:
    """Of a file's bytes. Raises StorageError, NotFoundError."""
    with storage_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _storable(text: str) -> str:
    """Without halves of surrogate pairs and NUL, which no such file can hold."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _note(row: Row) -> Note:
    text, outcome, num_tokens, num_prompt, num_cached = row
    return Note(str(text), cast(Outcome, outcome), _int(num_tokens), _int(num_prompt), _int(num_cached))


def _info(row: Row) -> JobInfo:
    job_id, path, title, model, options_json = map(str, row[:5])
    created_s, used_s = (float(value or 0.0) for value in row[7:9])
    return JobInfo(
        job_id, path, title, model, options_json, _int(row[5]), bool(row[6]), created_s, used_s, _int(row[9])
    )


def _int(value: Value) -> int:
    return value if isinstance(value, int) else 0
