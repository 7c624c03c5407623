"""Sealing what a data directory holds beside the models: conversations, documents with their index, summaries, files.

    seal:    seal.json is written -> caches go -> every database is sealed -> of uploaded files only the text stays
    unseal:  every database is made plain -> caches go -> seal.json goes

While seal.json is there, whoever opens a database has to have its key, and seals one that is still plain; so a seal
that was interrupted goes on by itself, or by the same command, and an unseal by the same command. A database that
another process has open is left as it is and named. Access tokens are kept as hashes and stay as they are; so do
settings and figures of the device. Of models see package/sealing.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pocketseek.apps.sealed_database import is_plain, library, seal, unseal
from pocketseek.apps.serve.kept_files import FileStore
from pocketseek.errors import BusyError, UsageError
from pocketseek.package.data_seal import DataKeys, new_data_seal, read_data_seal, remove_data_seal
from pocketseek.package.key_slots import Secret
from pocketseek.package.storage import storage_errors
from pocketseek.settings import Settings

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DataReport:
    """num_databases: that were changed now."""

    num_databases: int


def seal_data(settings: Settings, get_secret: Callable[[], Secret], progress: Progress | None = None) -> DataReport:
    """get_secret: what opens it from now on, or what opens it already where sealing goes on. Raises SealError,
    BusyError (a database is open in another program: the others are sealed), StorageError, UnsupportedError."""
    library()  # before anything is written
    found = read_data_seal(settings.home)
    secret = get_secret()
    keys: DataKeys = new_data_seal(settings.home, secret) if found is None else found.open(secret, str(settings.home))
    _forget_caches(settings)
    plain = [path for path in _databases(settings) if is_plain(path)]
    _each(plain, lambda path: seal(path, keys.databases), progress)
    for folder in sorted({path.parent for path in _databases(settings) if path.parent.parent == settings.uploads_dir}):
        with closing(FileStore(folder, key=keys.databases)) as files:
            files.keep_text_only()
    return DataReport(len(plain))


def unseal_data(settings: Settings, secret: Secret, progress: Progress | None = None) -> DataReport:
    """Raises UsageError (it is not sealed), SealError, BusyError, StorageError, UnsupportedError."""
    found = read_data_seal(settings.home)
    if found is None:
        raise UsageError(f"{settings.home} is not sealed; there is nothing to unseal")
    keys = found.open(secret, str(settings.home))
    sealed = [path for path in _databases(settings) if path.stat().st_size and not is_plain(path)]
    _each(sealed, lambda path: unseal(path, keys.databases), progress)
    _forget_caches(settings)
    remove_data_seal(settings.home)
    return DataReport(len(sealed))


def _databases(settings: Settings) -> list[Path]:
    """All that there are."""
    with storage_errors(settings.home):
        own = settings.home.glob("*.db")
        uploaded = settings.uploads_dir.glob("*/*.db")
        return sorted(path for path in (*own, *uploaded) if path.is_file() and not path.is_symlink())


def _each(paths: Sequence[Path], change: Callable[[Path], None], progress: Progress | None) -> None:
    total = sum(path.stat().st_size for path in paths)
    done = 0
    busy: BusyError | None = None
    for path in paths:
        num_bytes = path.stat().st_size
        try:
            change(path)
        except BusyError as error:
            busy = busy or error
        done += num_bytes
        if progress is not None:
            progress(done, total)
    if busy is not None:
        raise busy


def _forget_caches(settings: Settings) -> None:
    """Computed pages and swapped sequences, of which texts could be told."""
    for name in ("prefix", "swap"):
        folder = settings.home / "cache" / name
        with storage_errors(folder):
            if folder.is_dir():
                shutil.rmtree(folder)
