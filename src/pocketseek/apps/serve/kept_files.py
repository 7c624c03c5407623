"""Files that were uploaded by one owner, with what was read from them and what was made of that.

    FOLDER/files.db        name, purpose, size, and what became of each
    FOLDER/file-ID/NAME    the bytes, as they came; sealed: NAME.sealed (sealed_upload.py)
    FOLDER/documents.db    the text, cut into passages (apps/doc/store.py)
    FOLDER/summaries.db    summaries, begun and done (apps/doc/jobs.py)

A file is there once its row is. What a crash leaves without one (half an upload, a text, a summary) goes when the
folder is opened next, an upload that may still be arriving in another process excepted. Deleting takes bytes, text and
summaries; the databases overwrite what they had. With a key the databases are sealed, and so are the bytes, which go as
soon as the text is read.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from pocketseek.apps.conversation import storable
from pocketseek.apps.database import Database, Row
from pocketseek.apps.doc.document_rows import DocumentInfo
from pocketseek.apps.doc.jobs import JobStore
from pocketseek.apps.doc.passage_index import whole_number
from pocketseek.apps.doc.store import DocumentStore
from pocketseek.apps.serve.kept_bytes import PlainBytes, SealedBytes
from pocketseek.errors import BusyError, NotFoundError, UsageError
from pocketseek.package.storage import storage_errors, sync_dir

MAX_FILES = 1000
_MAX_NAME_BYTES = 200
_SUFFIX_CHARS = 12
_ARRIVING_S = 3600.0  # no upload takes longer
_ID_BYTES = 12
_SEVERAL = "several"
_APPLICATION_ID = 0x70736B66  # "pskf"
_MIGRATIONS = (
    (
        "CREATE TABLE files("
        "key INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, purpose TEXT NOT NULL, "
        "num_bytes INTEGER NOT NULL, created_s REAL NOT NULL, status TEXT NOT NULL, problem TEXT NOT NULL)",
    ),
    ("ALTER TABLE files ADD COLUMN problem_code TEXT NOT NULL DEFAULT ''",),
)
_COLUMNS = "id, name, purpose, num_bytes, created_s, status, problem, problem_code"

FileStatus = Literal["uploaded", "processed", "error"]


@dataclass(frozen=True)
class KeptFile:
    """status: "uploaded" until it is read. problem: why it could not be, or not once more; problem_code: for programs.
    created_s: Unix time."""

    id: str
    name: str
    purpose: str
    num_bytes: int
    created_s: float
    status: FileStatus = "uploaded"
    problem: str = ""
    problem_code: str = ""


class FileStore:
    """Any thread. All methods raise what `Database` raises; NotFoundError: there is no such file."""

    def __init__(self, folder: Path, *, key: bytes | None = None, clock: Callable[[], float] = time.time) -> None:
        """key: what is kept is sealed; of a file only the text stays once it is read."""
        self.folder = folder
        self.bytes = PlainBytes() if key is None else SealedBytes(key)
        self._clock = clock
        with storage_errors(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._database = Database(folder / "files.db", application_id=_APPLICATION_ID, migrations=_MIGRATIONS, key=key)
        self.documents = DocumentStore(folder / "documents.db", key=key)
        self.summaries = JobStore(folder / "summaries.db", key=key)
        self._sweep()
        for file in self.list():
            self.bytes.settle(self.path(file))

    def close(self) -> None:
        self.summaries.close()
        self.documents.close()
        self._database.close()

    # -- coming ------------------------------------------------------------------------------------------------------

    def new_place(self, name: str) -> Path:
        """Where to write a file that is to be added. UsageError: there are too many."""
        if whole_number(self._database.rows("SELECT count(*) FROM files")[0][0]) >= MAX_FILES:
            raise UsageError(f"{MAX_FILES} files are kept, which is the most; delete some")
        folder = self.folder / f"file-{secrets.token_hex(_ID_BYTES)}"
        with storage_errors(folder):
            folder.mkdir(mode=0o700)
        return folder / clean_name(name)

    def add(self, path: Path, purpose: str) -> KeptFile:
        """What is at a new place belongs to the files from now on."""
        with storage_errors(path):
            num_bytes = self.bytes.size_of(path)
            sync_dir(path.parent)
            sync_dir(self.folder)
        file = KeptFile(path.parent.name, path.name, purpose, num_bytes, self._clock())
        with self._database.change():
            self._database.run(
                f"INSERT INTO files({_COLUMNS}) VALUES (?, ?, ?, ?, ?, 'uploaded', '', '')",
                file.id,
                storable(file.name),
                storable(purpose),
                num_bytes,
                file.created_s,
            )
        return file

    def reopen(self, file_id: str) -> KeptFile:
        """It is to be read once more. BusyError: it is being read."""
        with self._database.change():
            file = self.get(file_id)
            if file.status == "uploaded":
                raise BusyError(f"{file.name} is still being read; try again in a moment")
            self._database.run(
                "UPDATE files SET status = 'uploaded', problem = '', problem_code = '' WHERE id = ?", file_id
            )
            return self.get(file_id)

    def settle(self, file_id: str, problem: str = "", problem_code: str = "") -> None:
        """It is read, or cannot be; what was read of it before stays. What was read of a file that was deleted
        meanwhile is forgotten."""
        with self._database.change():
            is_there = self.has(file_id)
            if is_there:
                is_read = not problem or self.document(self.get(file_id)) is not None
                self._database.run(
                    "UPDATE files SET status = ?, problem = ?, problem_code = ? WHERE id = ?",
                    "processed" if is_read else "error",
                    storable(problem),
                    problem_code,
                    file_id,
                )
        if not is_there:
            self._forget_work(file_id)
        elif not self.bytes.stay_when_read and not problem:
            self.bytes.drop(self.path(self.get(file_id)))

    def keep_text_only(self) -> None:
        """Of what is read already, too."""
        for file in self.list():
            if file.status == "processed":
                self.bytes.drop(self.path(file))

    def unseal_bytes(self, key: bytes) -> None:
        """After the databases were made plain: what waits to be read has to be readable then. IntegrityError."""
        sealed = SealedBytes(key)
        for file in self.list():
            sealed.unseal(self.path(file))

    # -- being there -------------------------------------------------------------------------------------------------

    def has(self, file_id: str) -> bool:
        return bool(self._database.rows("SELECT 1 FROM files WHERE id = ?", storable(file_id)))

    def list(self) -> list[KeptFile]:
        """The newest first."""
        return [_file(row) for row in self._database.rows(f"SELECT {_COLUMNS} FROM files ORDER BY key DESC")]

    def get(self, file_id: str) -> KeptFile:
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM files WHERE id = ?", storable(file_id))
        if not rows:
            raise NotFoundError(f"there is no file {file_id!r:.60}; upload it, or list the files that are here")
        return _file(rows[0])

    def path(self, file: KeptFile) -> Path:
        return self.folder / file.id / file.name

    @property
    def path_of_several(self) -> Path:
        """Stands for several files, in the jobs that are about them together."""
        return self.folder / _SEVERAL / "files"

    def document(self, file: KeptFile) -> DocumentInfo | None:
        """What was read of it; None: nothing yet."""
        return self.documents.of_path(self.path(file))

    # -- going -------------------------------------------------------------------------------------------------------

    def delete(self, file_id: str) -> None:
        with self._database.change():
            self.get(file_id)
            self._database.run("DELETE FROM files WHERE id = ?", file_id)
        self._database.forget_log()
        self._forget_work(file_id)
        self.discard(self.folder / file_id)

    def discard(self, folder: Path) -> None:
        """The place of a file that is none any more, or has not become one."""
        with storage_errors(folder):
            if folder.exists():
                shutil.rmtree(folder)

    def _forget_work(self, file_id: str) -> None:
        """Text and summaries; also what was made of it together with others."""
        folder = self.folder / file_id
        paths = self.documents.paths(under=folder)
        if paths:
            self.documents.forget(paths)
            self.documents.tidy()
        for job in self.summaries.list():
            if Path(job.path).parent in (folder, self.path_of_several.parent):
                self.summaries.remove(job.id)

    def _sweep(self) -> None:
        """What an interruption has left."""
        known = {file.id for file in self.list()}
        with storage_errors(self.folder):
            for folder in self.folder.glob("file-*"):
                if folder.name not in known and folder.stat().st_mtime < self._clock() - _ARRIVING_S:
                    self.discard(folder)
        worked_on = {path.parent.name for path in self.documents.paths()}
        worked_on |= {Path(job.path).parent.name for job in self.summaries.list()}
        for file_id in worked_on - known - {_SEVERAL}:
            self._forget_work(file_id)


def clean_name(name: str) -> str:
    """The last part of a path as a browser may send it, as a name that any file system takes."""
    last = storable(name).replace("\\", "/").rpartition("/")[2]
    shown = "".join(letter if letter.isprintable() else " " for letter in last).strip(". ")
    stem, dot, suffix = shown.rpartition(".")
    suffix = (dot + suffix)[:_SUFFIX_CHARS] if stem else ""
    stem = (stem or shown).encode()[: _MAX_NAME_BYTES - len(suffix.encode())].decode(errors="ignore")
    return stem + suffix if stem else "file"


def _file(row: Row) -> KeptFile:
    file_id, name, purpose, num_bytes, created_s, status, problem, problem_code = row
    return KeptFile(
        str(file_id),
        str(name),
        str(purpose),
        whole_number(num_bytes),
        float(created_s or 0.0),
        cast(FileStatus, str(status)),
        str(problem),
        str(problem_code),
    )
