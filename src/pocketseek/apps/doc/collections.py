"""Adding files and folders to the kept documents, and finding what was meant by a name.

Adding is incremental: a file of the same size and time of change is not opened, one of the same bytes is not read
again. A file or folder that cannot be read, or is not there, is told and the others go on. Of a folder, the files are
taken whose names end as documents do; hidden ones are left alone.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pocketseek.apps.doc.document import Document
from pocketseek.apps.doc.document_rows import DocumentInfo
from pocketseek.apps.doc.read import check_kind
from pocketseek.apps.doc.reading_mark import Extra
from pocketseek.apps.doc.store import DocumentStore, FileState
from pocketseek.errors import (
    FormatError,
    MemoryLimitError,
    NotFoundError,
    PocketseekError,
    StorageError,
    UnsupportedError,
    UsageError,
)
from pocketseek.package.storage import storage_errors

DOCUMENT_SUFFIXES = frozenset(
    (".pdf", ".epub", ".docx", ".html", ".htm", ".xhtml", ".txt", ".text", ".md", ".markdown", ".rst")
)
_MAX_NAME_CHARS = 100
FILE_ERRORS = (FormatError, MemoryLimitError, NotFoundError, StorageError, UnsupportedError, UsageError)
"""What is wrong with a file, not with the store."""

ReadDocument = Callable[[Path], Document]


class ShowFile(Protocol):
    """Called before each file."""

    def __call__(self, path: Path, done: int, total: int, /) -> None: ...


@dataclass
class AddReport:
    """What became of the files. gone: were added from this folder once and are there no more."""

    added: list[DocumentInfo] = field(default_factory=list)
    changed: list[DocumentInfo] = field(default_factory=list)
    unchanged: list[Path] = field(default_factory=list)
    failed: list[tuple[Path, PocketseekError]] = field(default_factory=list)
    gone: list[Path] = field(default_factory=list)
    num_other: int = 0  # files of folders that are no documents by their names


def add_paths(
    store: DocumentStore,
    paths: Sequence[Path],
    collection: str | None,
    read: ReadDocument,
    show: ShowFile = lambda path, done, total: None,
    extras: Collection[Extra] = (),
) -> AddReport:
    """collection: None keeps the documents without putting them into one. extras: what `read` brings of them. Raises
    StorageError and the like if nothing can be kept."""
    if collection is not None:
        check_name(collection)
    report = AddReport()
    files = _files(paths, report)
    for done, path in enumerate(files):
        show(path, done, len(files))
        _add(store, path, collection, read, report, extras)
    for folder in filter(os.path.isdir, map(Path.absolute, paths)):
        report.gone += (path for path in store.paths(under=folder) if not os.path.exists(path))
    if report.changed:
        store.tidy()
    return report


def add_file(store: DocumentStore, path: Path, read: ReadDocument, extras: Collection[Extra] = ()) -> DocumentInfo:
    """The document of one file, read if it is new or has changed, in the collections that it was in."""
    report = AddReport()
    _add(store, path.absolute(), None, read, report, extras)
    if report.failed:
        raise report.failed[0][1]
    if report.changed:
        store.tidy()
    return (report.added + report.changed or [_of_path(store, path.absolute())])[0]


def check_name(collection: str) -> None:
    if not collection.strip() or len(collection) > _MAX_NAME_CHARS or not collection.isprintable():
        raise UsageError(f"{collection!r:.60} is no name for a collection; use up to {_MAX_NAME_CHARS} letters")


def check_collection(store: DocumentStore, name: str | None) -> None:
    """Raises NotFoundError if there is none of this name. None: it is about all documents."""
    if name is not None and name not in [one.name for one in store.collections()]:
        raise NotFoundError(f"there is no collection {name!r:.60}; `pocketseek doc list` shows which there are")


def paths_meant(store: DocumentStore, name: str) -> list[Path]:
    """Of kept files: by path (of a folder: all below it), by the number of a document, or by its whole title."""
    given = Path(name).expanduser().absolute()
    found = store.paths(under=given)
    if found:
        return found
    documents = store.documents()
    numbered = [info for info in documents if name.isdecimal() and info.id == int(name)]
    meant = numbered or [info for info in documents if info.title.casefold() == name.casefold()]
    if not meant:
        raise NotFoundError(f"no document {name!r:.100} is kept; `pocketseek doc list` shows which are")
    if len(meant) > 1:
        numbers = ", ".join(str(info.id) for info in meant)
        raise UsageError(f"several documents are called {name!r:.60}; give one of the numbers {numbers}")
    return store.paths_of(meant[0].id)


def _files(paths: Sequence[Path], report: AddReport) -> list[Path]:
    found: dict[Path, None] = {}
    for path in map(Path.absolute, paths):
        if not os.path.isdir(path):  # Path.is_dir would raise where the way to it is closed
            found[path] = None  # also what is not there: that is told when its turn comes
            continue
        for file in _below(path, report):
            if file.suffix.lower() in DOCUMENT_SUFFIXES:
                found[file] = None
            else:
                report.num_other += 1
    return list(found)


def _below(folder: Path, report: AddReport) -> Iterator[Path]:
    """Files in it and its folders, in order; links to folders are not followed."""
    try:
        with storage_errors(folder):
            entries = sorted(folder.iterdir())
        if not os.access(folder, os.X_OK):
            raise StorageError(f"{folder} does not let its files be read; change its mode (chmod u+x)")
    except StorageError as error:
        report.failed.append((folder, error))
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and not entry.is_symlink():
            yield from _below(entry, report)
        elif entry.is_file():
            yield entry


def _add(
    store: DocumentStore,
    path: Path,
    collection: str | None,
    read: ReadDocument,
    report: AddReport,
    extras: Collection[Extra],
) -> None:
    """What is wrong with the file goes into the report, what is wrong with the store leaves."""
    before = store.of_path(path)
    try:
        state = _state(path)
        is_current = store.is_current(path, state, extras)
        if not is_current:
            check_kind(path)  # before gigabytes of something else are hashed
        digest = "" if is_current else _digest(path)
        document = None if is_current or store.has_bytes(digest, extras) else _read(path, state, read)
    except FILE_ERRORS as error:
        report.failed.append((path, error))
        return
    info = before if is_current else store.put(path, state, digest, document, extras)
    if before is None and info is not None:
        report.added.append(info)
    elif info is not None and not is_current and (document is not None or info != before):
        report.changed.append(info)
    else:
        report.unchanged.append(path)
    if collection is not None:
        store.join(collection, path)


def _read(path: Path, state: FileState, read: ReadDocument) -> Document:
    document = read(path)
    if _state(path) != state:
        raise StorageError(f"{path} changed while it was read; add it again")
    if not document.blocks:
        raise FormatError(f"{path} has no text in it; if its pages are pictures, --ocr reads them")
    return document


def _state(path: Path) -> FileState:
    """Raises NotFoundError, StorageError, and UsageError for a pipe or a device, which would block or never end."""
    with storage_errors(path):
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError(f"{path} does not exist; check the path") from None
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{path} is no ordinary file; save it to one and give that")
    return FileState(status.st_size, status.st_mtime_ns)


def _digest(path: Path) -> str:
    with storage_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _of_path(store: DocumentStore, path: Path) -> DocumentInfo:
    found = store.of_path(path)
    if found is None:
        raise NotFoundError(f"{path} was removed meanwhile; add it again")
    return found
