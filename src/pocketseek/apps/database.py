"""A SQLite file of the data directory: opening it, bringing its schema up to date, and what SQLite's refusals mean.

The file belongs to its owner alone (mode 0600). A write is one transaction, on the disk when it returns (write-ahead
log, every commit synced), so that kill -9 and power loss leave the state before or after it. Several processes may
use the file: readers wait for nobody, writers for each other, ten seconds at most. Within a process one connection is
shared by all threads, one at a time. What is deleted is overwritten in the file.

With a key the file is sealed: every page of it and of its log is encrypted and authenticated by SQLCipher (library
`sqlcipher3`). A plain file that is opened with a key is sealed first (sealed_database.py), so none stays plain that was
forgotten when the others were sealed; nothing is begun under a key that is not that of the data directory any more.

`migrations[n]` are the statements that lead from schema n to n + 1; the number is in the file (user_version), and so is
whose it is (application_id). A damaged file, somebody else's, or one from a newer version is never written to.
Not covered: a process that forks with the file open, and network file systems without locks.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeAlias

from pocketseek.apps import sealed_database
from pocketseek.errors import (
    BusyError,
    FormatError,
    PocketseekError,
    SealError,
    StorageError,
    UnsupportedError,
    UsageError,
)
from pocketseek.package.sealing.data_seal import DatabaseKey
from pocketseek.package.storage import storage_errors

Value: TypeAlias = "str | int | float | None"
Row: TypeAlias = "tuple[Value, ...]"
Migrations: TypeAlias = "Sequence[Sequence[str]]"

_BUSY_TIMEOUT_S = 10.0
_IN_MEMORY = ":memory:"
_OPENING = threading.Lock()  # a file is made by one thread at a time, see _make_private
_SEALED_HERE: Counter[tuple[int, int]] = Counter()  # open in this process: closing another descriptor takes their locks

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH})
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


class Database:
    """One file, open, or a database in memory. All methods may be called from any thread; a `change` holds the others
    up until it ends."""

    def __init__(
        self, path: Path | None, *, application_id: int, migrations: Migrations, key: bytes | None = None
    ) -> None:
        """path: None keeps everything in memory: nothing of it reaches the disk, and `close` ends it. key: of 32
        bytes, for a sealed file; a plain one is sealed first. Raises FormatError (damaged, not ours), SealError (sealed
        with another key), UnsupportedError (a newer schema; no SQLCipher), StorageError or BusyError."""
        self.path = path or Path(_IN_MEMORY)
        self._lock = threading.RLock()
        self._key = key if path is not None else None
        self._sqlite: Any = sqlite3 if self._key is None else sealed_database.library()
        with _OPENING:
            if path is not None:
                _make_private(path)
            with self._right_to_seal():
                self._open(application_id, migrations)
            self._file_id = _file_id(self.path) if self._key is not None else None
            if self._file_id is not None:
                _SEALED_HERE[self._file_id] += 1

    @contextmanager
    def _right_to_seal(self) -> Iterator[None]:
        """What is not sealed yet is, or may be inside. Raises what `DatabaseKey.standing` does."""
        if self._key is None or _SEALED_HERE[_file_id(self.path)] or sealed_database.is_sealed(self.path):
            yield
            return
        with self._key.standing() if isinstance(self._key, DatabaseKey) else nullcontext():
            if sealed_database.is_plain(self.path):
                sealed_database.seal(self.path, self._key)
            yield

    def _open(self, application_id: int, migrations: Migrations) -> None:
        with self._explained():
            self._connection = self._sqlite.connect(
                self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._connection.text_factory = _decode
            if self._key is not None:
                sealed_database.use_key(self._connection, self._key)
        try:
            if self._key is not None or self.path == Path(_IN_MEMORY):
                self.rows("PRAGMA temp_store = MEMORY")
            self._prepare(application_id, migrations)
        except BaseException:  # also Ctrl-C: the file does not stay open, and it is raised again
            self._connection.close()
            raise

    def close(self) -> None:
        with self._lock, self._explained():
            self._connection.close()
            if self._file_id is not None:
                _SEALED_HERE[self._file_id] -= 1
                self._file_id = None

    def rows(self, statement: str, *values: Value) -> list[Row]:
        """What a statement finds."""
        with self._lock, self._explained():
            found: list[Row] = self._connection.execute(statement, values).fetchall()
            return found

    def run(self, statement: str, *values: Value) -> int:
        """Inside `change`: carry out a statement; the key of the row that it inserted."""
        with self._lock, self._explained():
            return self._connection.execute(statement, values).lastrowid or 0

    @contextmanager
    def change(self) -> Iterator[None]:
        """All that is written inside happens, or nothing of it if an exception leaves. One inside another joins it."""
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            self.run("BEGIN IMMEDIATE")
            try:
                yield
                self.run("COMMIT")
            except BaseException:
                with suppress(self._sqlite.Error):  # a full disk may have rolled it back already
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Everything that is read inside is of one moment. May be inside a `change`."""
        with self._lock:
            is_outermost = not self._connection.in_transaction
            if is_outermost:
                self.run("BEGIN")
            try:
                yield
            finally:
                if is_outermost:
                    self.run("COMMIT")

    def forget_log(self) -> None:
        """Bring the log into the file and empty it, so that nothing that was deleted stays in it, if nobody reads."""
        self.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def has_module(self, name: str) -> bool:
        """Whether this build of SQLite has a kind of virtual table."""
        return bool(self.rows("SELECT 1 FROM pragma_module_list WHERE name = ?", name))

    def _prepare(self, application_id: int, migrations: Migrations) -> None:
        for pragma in ("foreign_keys = ON", "secure_delete = ON", "synchronous = FULL", "trusted_schema = OFF"):
            self.rows(f"PRAGMA {pragma}")
        version = self._checked_version(application_id, len(migrations))
        with suppress(BusyError):  # somebody else is just switching it; where there is no log we go without
            self.rows("PRAGMA journal_mode = WAL")
        if version == len(migrations):
            return
        with self.change():
            for statements in migrations[self._checked_version(application_id, len(migrations)) :]:
                for statement in statements:
                    self.run(statement)
            self.run(f"PRAGMA application_id = {application_id}")
            self.run(f"PRAGMA user_version = {len(migrations)}")

    def _checked_version(self, application_id: int, newest: int) -> int:
        """The file's schema; 0 for an empty one."""
        if not self.rows("SELECT 1 FROM sqlite_schema LIMIT 1"):
            return 0
        if self.rows("PRAGMA application_id") != [(application_id,)]:
            raise FormatError(f"{self.path} is another program's database; move it away and start again")
        version = self.rows("PRAGMA user_version")[0][0]
        if not isinstance(version, int) or not 0 < version <= newest:
            raise UnsupportedError(
                f"{self.path} was written by a newer pocketseek (schema {version}); update pocketseek"
            )
        return version

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except self._sqlite.Error as error:
            raise _explain(error, self.path, is_sealed=self._key is not None) from error
        except UnicodeDecodeError as error:  # Python cannot read what SQLite says about a damaged schema
            raise _damaged(self.path, "its schema is no text") from error


def _damaged(path: Path, reason: str) -> FormatError:
    return FormatError(
        f"{path} is damaged ({reason}); nothing in it was changed: move it away to start afresh, "
        f"`sqlite3 FILE .recover` gets out of it what can be read"
    )


def _explain(error: Exception, path: Path, *, is_sealed: bool) -> PocketseekError:
    code = getattr(error, "sqlite_errorcode", None)  # absent: the sqlite3 module's own complaint, such as "closed"
    if code is None:
        return UsageError(f"{path} cannot be used ({error}); open it again")
    primary = code & 0xFF
    if is_sealed and primary in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return SealError(f"{path} is damaged, or not opened by this key; give the passphrase it was sealed with")
    if primary == sqlite3.SQLITE_NOTADB:
        return _damaged(path, f"{error}, unless it is sealed and the key of this data directory is gone")
    if primary in _DAMAGED:
        return _damaged(path, str(error))
    if primary in _BUSY:
        return BusyError(f"{path} is being written by another process; try again")
    if primary == sqlite3.SQLITE_TOOBIG:
        return UsageError(f"{path}: the text is too long to be kept; shorten it")
    if primary == sqlite3.SQLITE_FULL:
        return StorageError(f"{path}: the disk is full; free some space and try again")
    return StorageError(f"{path} cannot be read or written ({error}); check its owner, mode and the storage")


def _file_id(path: Path) -> tuple[int, int]:
    with storage_errors(path):
        status = path.stat()
    return status.st_dev, status.st_ino


def _make_private(path: Path) -> None:
    """An empty file with mode 0600, or that mode for the one that is there; SQLite gives its log the same.

    Only a file that nobody can have open yet is opened and closed here: closing takes away the locks of this process.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):  # whoever put it there chose where private texts go, and sealing would leave them there
            raise StorageError(f"{path} is a symbolic link, which is not followed here; put the file itself")
        if not stat.S_ISREG(mode):
            raise StorageError(f"{path} is not a regular file; move it away")
        if stat.S_IMODE(mode) & 0o077:
            path.chmod(0o600)


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "replace")  # only a damaged file has something else
