"""Sealing what a data directory holds beside the models: conversations, documents with their index, summaries, files.

    seal:    seal.json is written -> caches go -> every database is sealed -> of uploaded files that were read only the
             text stays, the others are sealed
    unseal:  seal.json says so -> every database is made plain -> uploaded files are -> caches go -> all is looked
             through once more -> seal.json goes

While seal.json is there, whoever opens a database has to have its key, and seals one that is still plain, unless the
directory is being unsealed: then it is refused. So a seal that was interrupted goes on by itself, or by the same
command, and an unseal by the same command (or is taken back by the other). Both hold the lock of seal.json all along,
and who seals on opening holds it while it does. A database that another process has open is left as it is and named.
Access tokens are kept as hashes and stay as they are; so do settings and figures of the device. Of models see
package/sealing/in_place.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pocketseek.apps.sealed_database import is_plain, is_sealed, library, seal, sweep, unseal
from pocketseek.apps.serve.kept_files import FileStore
from pocketseek.errors import BusyError, StorageError, UsageError
from pocketseek.package.sealing.data_seal import (
    DataKeys,
    data_seal_lock,
    mark_data_seal,
    new_data_seal,
    read_data_seal,
    remove_data_seal,
)
from pocketseek.package.sealing.key_slots import Secret
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
    _databases(settings)
    secret = get_secret()
    with data_seal_lock(settings.home):
        key = bytes(_begun(settings.home, secret).databases)  # it stands as long as the lock is held
        _sweep(settings)
        _forget_caches(settings)
        plain = [path for path in _databases(settings) if is_plain(path)]
        _each(plain, lambda path: seal(path, key), progress)
        for folder in _upload_folders(settings):
            with closing(FileStore(folder, key=key)) as files:
                files.keep_text_only()
    return DataReport(len(plain))


def unseal_data(settings: Settings, secret: Secret, progress: Progress | None = None) -> DataReport:
    """Raises UsageError (it is not sealed), SealError, BusyError, IntegrityError, StorageError, UnsupportedError."""
    with data_seal_lock(settings.home):
        found = read_data_seal(settings.home)
        if found is None:
            raise UsageError(f"{settings.home} is not sealed; there is nothing to unseal")
        keys = found.open(secret, str(settings.home))
        mark_data_seal(settings.home, found, is_ending=True)
        _sweep(settings)
        sealed = [path for path in _databases(settings) if is_sealed(path)]
        _each(sealed, lambda path: unseal(path, keys.databases), progress)
        for folder in _upload_folders(settings):  # nobody has their databases open under the key, nor can open them so
            with closing(FileStore(folder)) as files:
                files.unseal_bytes(keys.databases)
        _forget_caches(settings)
        _check_all_plain(settings)
        remove_data_seal(settings.home)
    return DataReport(len(sealed))


def _begun(home: Path, secret: Secret) -> DataKeys:
    """From now on it is sealed, and not being unsealed."""
    found = read_data_seal(home)
    if found is None:
        return new_data_seal(home, secret)
    keys = found.open(secret, str(home))
    mark_data_seal(home, found, is_ending=False)
    return keys


def _sweep(settings: Settings) -> None:
    """Whoever seals or unseals a database holds the lock, so what is half done was left by somebody who was killed."""
    for path in _databases(settings):
        sweep(path)


def _check_all_plain(settings: Settings) -> None:
    """Before the only way to the key goes. Raises BusyError."""
    left = next((path for path in _databases(settings) if is_sealed(path)), None)
    if left is not None:
        raise BusyError(f"{left} was sealed meanwhile; end other programs of pocketseek and run this again")


def _databases(settings: Settings) -> list[Path]:
    """All that there are. Raises StorageError for a link: what it leads to would stay as it is."""
    with storage_errors(settings.home):
        found = [*settings.home.glob("*.db"), *settings.uploads_dir.glob("*/*.db")]
        for path in found:
            if path.is_symlink():
                raise StorageError(f"{path} is a symbolic link, which is not followed here; put the file itself")
        return sorted(path for path in found if path.is_file())


def _upload_folders(settings: Settings) -> list[Path]:
    return sorted({path.parent for path in _databases(settings) if path.parent.parent == settings.uploads_dir})


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
