"""SQLite files under a key: opened through SQLCipher, sealed and unsealed whole.

A sealed file is what SQLCipher 4 writes with its defaults and a raw key of 256 bits: every page, of the log too, is
encrypted with AES-256 in CBC mode under a fresh random vector and authenticated with HMAC-SHA512; nothing of it is
plain but a random salt. A plain file begins with SQLite's magic, by which the two are told apart.

    seal(path, key):  plain  -> PATH.sealing, checked, synced -> renamed over PATH -> the old bytes are overwritten
    unseal(path, key): the other way, by the same steps

Both want the file for themselves: a connection to it in another process means BusyError and nothing changed. This
process must have none: the locks of two libraries in one process do not see each other.
A crash at any point leaves the file as it was or as it was to be, and perhaps a PATH.sealing (in the clear, of an
`unseal`), which the next attempt or `sweep` removes. Who opened the old file in the moment of the rename reads garbage
and never writes into what is gone.
Storage that writes elsewhere than over what was there (flash memory) may keep the old bytes for a while.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketseek.errors import BusyError, SealError, StorageError
from pocketseek.libraries import is_termux, load_library
from pocketseek.package.storage import storage_errors, sync_dir

if TYPE_CHECKING:
    from types import ModuleType

KEY_BYTES = 32
_MAGIC = b"SQLite format 3\0"
_WAIT_S = 1.0
_SLAB_BYTES = 1 << 20


def library() -> ModuleType:
    """SQLCipher's DB-API module. Raises UnsupportedError where it is not installed."""
    remedy = "pkg install sqlcipher, then pip install sqlcipher3" if is_termux() else 'pip install "pocketseek[secure]"'
    return load_library("sqlcipher3.dbapi2", remedy, needed_for="a sealed database")


def is_plain(path: Path) -> bool:
    """Whether there is a file that SQLite itself would open."""
    with storage_errors(path), path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def is_sealed(path: Path) -> bool:
    """Whether there is something that SQLite itself would not open; an empty file is neither."""
    with storage_errors(path):
        return path.stat().st_size > 0 and not is_plain(path)


def use_key(connection: Any, key: bytes) -> None:
    """The first thing to be done with a connection to a sealed file. Wrong keys show at the first read."""
    connection.execute("PRAGMA cipher_log_level = NONE")  # it would write to standard error
    connection.execute(f'PRAGMA key = "{_literal(key)}"')


def seal(path: Path, key: bytes) -> None:
    """Make a plain file a sealed one. Raises BusyError, StorageError (the disk is full, ...), UnsupportedError."""
    _rewrite(path, old_key=None, new_key=key)


def unseal(path: Path, key: bytes) -> None:
    """Make a sealed file a plain one. Raises SealError for another key, and what `seal` does."""
    _rewrite(path, old_key=key, new_key=None)


def sweep(path: Path) -> None:
    """Remove what a killed `seal` or `unseal` of that file left. By who knows that none is running. Raises
    StorageError."""
    with storage_errors(path):
        for left in path.parent.glob(f"{glob.escape(path.name)}.sealing*"):
            if not left.is_symlink():
                with left.open("r+b") as file:
                    _overwrite(file.fileno())
            left.unlink()


def _literal(key: bytes) -> str:
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key of {len(key)} bytes, not {KEY_BYTES}")
    return f"x'{key.hex()}'"


def _rewrite(path: Path, old_key: bytes | None, new_key: bytes | None) -> None:
    cipher = library()
    fresh = path.with_name(f"{path.name}.sealing")
    with storage_errors(path):
        fresh.unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        try:
            with _sole_connection(cipher, path, old_key) as connection, path.open("r+b") as old:
                _copy(cipher, connection, fresh, new_key)
                _sync(fresh)
                os.replace(fresh, path)
                sync_dir(path.parent)
                _overwrite(old.fileno())  # before the lock goes: whoever waits for it finds no database
        finally:
            fresh.unlink(missing_ok=True)


@contextmanager
def _sole_connection(cipher: ModuleType, path: Path, key: bytes | None) -> Iterator[Any]:
    """Nobody else has the file open, nor can read it meanwhile; its log is empty and gone."""
    with closing(cipher.connect(path, timeout=_WAIT_S, isolation_level=None)) as connection:
        if key is not None:
            use_key(connection, key)
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            (mode,) = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("COMMIT")
        except cipher.DatabaseError as error:
            raise _explained(cipher, error, path) from error
        if mode != "delete":
            raise BusyError(f"{path} is open in another program; end it (`pocketseek serve`, a chat) and try again")
        yield connection


def _copy(cipher: ModuleType, connection: Any, fresh: Path, key: bytes | None) -> None:
    """Everything into a new file, which is read once more."""
    try:
        connection.execute("ATTACH DATABASE ? AS fresh KEY ?", (str(fresh), "" if key is None else _literal(key)))
        connection.execute("PRAGMA fresh.journal_mode = DELETE")
        connection.execute("SELECT sqlcipher_export('fresh')").fetchall()
        for name in ("application_id", "user_version"):
            (number,) = connection.execute(f"PRAGMA main.{name}").fetchone()
            connection.execute(f"PRAGMA fresh.{name} = {int(number)}")
        (report,) = connection.execute("PRAGMA fresh.integrity_check(1)").fetchone()
        connection.execute("DETACH DATABASE fresh")
    except cipher.DatabaseError as error:
        raise _explained(cipher, error, fresh) from error
    if report != "ok":
        raise StorageError(f"{fresh} came out damaged ({report}); nothing was changed: try again")


def _explained(cipher: ModuleType, error: Exception, path: Path) -> Exception:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (cipher.SQLITE_BUSY, cipher.SQLITE_LOCKED):
        return BusyError(f"{path} is open in another program; end it (`pocketseek serve`, a chat) and try again")
    if code == cipher.SQLITE_NOTADB:
        return SealError(f"{path} is damaged, or not opened by this key; give the passphrase it was sealed with")
    if code == cipher.SQLITE_FULL:
        return StorageError(f"{path}: the disk is full; free some space and try again (nothing was changed)")
    return StorageError(
        f"{path} cannot be read or written ({error}); nothing was changed: check its owner, mode and the storage"
    )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _overwrite(descriptor: int) -> None:
    left = os.fstat(descriptor).st_size
    os.lseek(descriptor, 0, os.SEEK_SET)
    while left > 0:
        left -= os.write(descriptor, os.urandom(min(left, _SLAB_BYTES)))
    os.fsync(descriptor)
